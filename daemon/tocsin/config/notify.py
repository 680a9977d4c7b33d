"""Whom to tell, and how: [notify] of the job file. The addresses are secrets.

Apprise is looked for and not imported: it takes memory that only the notifier needs.
"""

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tocsin import files
from tocsin.config import secrets
from tocsin.config.secrets import SecretError
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import NotifyTable
from tocsin.jobfile.urls import check_url
from tocsin.redact import SHORTEST_PART
from tocsin.wordlike import is_words

Style = Literal["auto", "healthchecks", "uptime-kuma", "betterstack", "plain"]

HOW = "needs Apprise: pip install 'tocsin[notify]'"
FILE_SIZE = 64 * 1024  # bytes of a file of addresses: more is some other file
MOST = 50  # addresses: each has a thread while it is written to
SHORTEST_NAME = 8  # letters of a part that is hidden: "hook" would be taken out of every line
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]+")
_SHOWN_HOST = re.compile(r"localhost|[0-9.]+|\[.*\]|(?:[a-z0-9-]+\.)+[a-z]{2,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notify:
    """`urls` are Apprise's. Two are equal when the same people are told in the same way."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    gather: float = 30.0
    max_per_hour: int = 20
    page_url: str = ""
    heartbeat_url: str = field(default="", repr=False)
    ping_style: Style = "auto"
    file: Path | None = field(default=None, compare=False)  # that holds the addresses

    @property
    def hidden(self) -> Iterator[str]:
        """What must show up nowhere."""
        for url in (*self.urls, self.heartbeat_url):
            yield from parts(url)


def parts(url: str) -> Iterator[str]:
    """The address, and what of it gives it away: passwords, tokens, topics; in Slack's and others' addresses the host
    is a token as well."""
    if not url:
        return
    yield url
    try:
        split = urlsplit(url)
        given = [*split.path.split("/"), *(value for _, value in parse_qsl(split.query)), split.fragment]
        password = split.password or ""
    except ValueError:
        return
    yield from (one for one in {password, unquote(password)} if len(one) >= SHORTEST_PART)
    user, at, host = split.netloc.rpartition("@")
    host = re.sub(r":[0-9]*$", "", host)
    given += [host, *host.split(":")]  # tgram://NUMBER:TOKEN/
    given += [user] if at and not password else []
    for one in given:
        for form in {one, unquote(one)}:
            if len(form) >= (SHORTEST_NAME if form.isalpha() else SHORTEST_PART) and not is_words(form):
                yield from () if _SHOWN_HOST.fullmatch(form) else (form,)


def read(reader: Reader, written: dict[str, Any] | None, *, pings: bool) -> Notify | None:
    """None without the table, unless jobs have pings; and after a fault. No fault repeats an address."""
    if written is None and not pings:
        return None
    table, faulty = reader.read(NotifyTable, written or {}, "notify")
    before = len(reader.faults)
    urls = _urls(table, reader)
    heartbeat = address(table.heartbeat_url_env, "notify", "heartbeat_url_env", reader)
    if not (table.urls_env or table.urls_file or table.heartbeat_url_env or pings or faulty):
        reader.fault("notify", "", _NOBODY)
    if len(reader.faults) > before:
        return None
    page_url, file = table.page_url.rstrip("/"), reader.file.parent / table.urls_file if table.urls_file else None
    return Notify(urls, table.gather, table.max_per_hour, page_url, heartbeat, table.ping_style, file)


_NOBODY = "names nobody to tell: set urls_env, urls_file or heartbeat_url_env"


def address(variable: str, table: str, key: str, reader: Reader) -> str:
    """The http(s) URL that a variable holds; "" where none is named, or after a fault."""
    if not variable or variable in reader.unknown:
        return ""
    try:
        return check_url(secrets.from_environment(variable, "none", reader.environment).value)
    except SecretError as error:
        reader.fault(table, key, str(error).replace(_MAKE_ONE, ""))
    except ValueError as error:
        reader.fault(table, key, f"environment variable {variable} {error}")
    return ""


_MAKE_ONE = "; make one with: openssl rand -hex 32"


def _urls(table: NotifyTable, reader: Reader) -> tuple[str, ...]:
    key = "urls_file" if table.urls_file else "urls_env"
    if table.urls_env and table.urls_file:
        reader.fault("notify", "urls_file", "cannot be combined with urls_env: use only one of them")
        return ()
    if not table.urls_env and not table.urls_file:
        return ()
    if not table.urls_file and table.urls_env in reader.unknown:
        return ()
    if importlib.util.find_spec("apprise") is None:
        reader.fault("notify", key, HOW)
        return ()
    try:
        source, text = _text(table, reader)
    except SecretError as error:
        reader.fault("notify", key, str(error))
        return ()
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    urls = tuple(dict.fromkeys(url for line in lines for url in line.split()))
    if not urls:
        reader.fault("notify", key, f"{source} holds no address")
    if len(urls) > MOST:
        reader.fault("notify", key, f"{source} holds {len(urls)} addresses; at most {MOST}")
    for number, url in enumerate(urls, 1):
        if not _ADDRESS.fullmatch(url):
            why = "is not one of Apprise's, for example mailto://, slack:// or ntfy://, in plain ASCII"
            reader.fault("notify", key, f"address {number} of {source} {why}")
    return urls


def _text(table: NotifyTable, reader: Reader) -> tuple[str, str]:
    """Where the addresses are, and the text that holds them. Raises SecretError."""
    if table.urls_file:
        file = reader.file.parent / table.urls_file
        try:
            return str(file), files.read(file, FILE_SIZE, "addresses").decode("ascii", errors="replace")
        except OSError as error:
            raise SecretError(f"cannot read {file}: {error.strerror}") from None
    name = table.urls_env
    if name not in reader.environment:
        named = f"environment variable {name}" if name.isupper() else "the environment variable it names"
        raise SecretError(f"{named} is not set (set it, or put it into .env)")
    return f"environment variable {name}", reader.environment[name]

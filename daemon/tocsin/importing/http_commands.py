"""What a call of curl or wget asks for. Options that only change what is printed are passed over; one that is not
known makes the whole command unclear, so that nothing is lost in silence.

Sources: curl(1) 8, wget(1) 1.21.
"""

import getopt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from tocsin.importing.shell import MARK, Unclear

_CURL_QUIET = (  # print more, less or elsewhere; or ask for what Tocsin does anyhow
    *("silent", "show-error", "fail", "fail-with-body", "fail-early", "verbose", "include", "no-buffer"),
    *(
        "progress-bar",
        "no-progress-meter",
        "compressed",
        "http1.1",
        "http2",
        "ipv4",
        "ipv6",
        "disable",
        "styled-output",
    ),
    *("tlsv1.2", "tlsv1.3", "proto-default=", "write-out=", "stderr=", "dump-header=", "cookie-jar="),
    *(
        "retry-connrefused",
        "retry-all-errors",
        "retry-delay=",
        "retry-max-time=",
        "max-redirs=",
        "append",
    ),
)
_CURL_MEANT = (
    *("request=", "header=", "data=", "data-ascii=", "data-raw=", "data-binary=", "data-urlencode=", "json=", "get"),
    *("max-time=", "connect-timeout=", "retry=", "user=", "oauth2-bearer=", "user-agent=", "referer=", "cookie="),
    *("url=", "globoff", "location", "insecure", "head", "output=", "remote-name"),
)
_CURL_SHORT = {
    **dict.fromkeys("sSfivN#46q", "silent"),
    "g": "globoff",
    "O": "remote-name",
    "X": "request",
    "H": "header",
    "d": "data",
    "m": "max-time",
    "u": "user",
    "A": "user-agent",
    "e": "referer",
    "b": "cookie",
    "o": "output",
    "w": "write-out",
    "D": "dump-header",
    "c": "cookie-jar",
    "L": "location",
    "k": "insecure",
    "G": "get",
    "I": "head",
}
_WGET_QUIET = (
    *("quiet", "verbose", "no-verbose", "output-file=", "append-output=", "server-response"),
    *(
        "delete-after",
        "no-cache",
        "no-cookies",
        "inet4-only",
        "inet6-only",
        "no-hsts",
        "content-on-error",
        "max-redirect=",
    ),
    *("auth-no-challenge", "no-dns-cache", "waitretry=", "retry-connrefused", "background"),
    *("show-progress", "no-config", "read-timeout=", "dns-timeout="),
)
_WGET_MEANT = (
    *("method=", "header=", "post-data=", "body-data=", "timeout=", "connect-timeout=", "tries=", "user=", "password="),
    *("http-user=", "http-password=", "user-agent=", "referer=", "no-check-certificate", "spider"),
    *("output-document=", "directory-prefix="),
)
_WGET_SHORT = {
    **dict(zip("qvS46b", ("quiet",) * 6, strict=True)),
    "O": "output-document",
    "o": "output-file",
    "a": "append-output",
    "P": "directory-prefix",
    "T": "timeout",
    "t": "tries",
    "U": "user-agent",
}
_WGET_TWO_LETTERS = frozenset({"-nv", "-nc", "-nd", "-nH", "-np"})
MOST_RETRIES = 20  # of a job
NOWHERE = ("/dev/null", "-")  # for output
TO_A_FILE = "its output went to a file; Tocsin's runs are in its log and in `tocsin history`"
_FORM = "application/x-www-form-urlencoded"
_IPV6_HOST = re.compile(r"^(https?://)?\[[0-9a-f.]*:[0-9a-f.:]*\]", re.IGNORECASE)


@dataclass(slots=True)
class Call:
    """One request. Texts may hold variable marks; seconds are floats, None where nothing was said."""

    url: str = ""
    method: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str | None = None
    content_type: str = ""
    user: str = ""  # user:password
    bearer: str = ""
    timeout: float | None = None
    connect_timeout: float | None = None
    retries: int | None = None
    remarks: list[str] = field(default_factory=list)


def curl(words: list[str], stdin: str | None) -> Call:
    """The request of `curl WORDS`; `stdin` is what it can read as @-. Raises Unclear."""
    call = Call(headers=[])
    urls: list[str] = []
    data: list[str] = []
    in_query = False
    patterns = "[]{}"  # curl's, for several addresses at once
    for name, value in _options(words, _CURL_SHORT, (*_CURL_QUIET, *_CURL_MEANT), urls.append):
        match name:
            case "request":
                call.method = value
            case "header":
                call.headers.append(_header(value))
            case "data" | "data-ascii" | "data-binary" | "json" if value.startswith("@"):
                if value != "@-" or stdin is None:
                    raise Unclear(f"--{name} reads a file")
                data.append(stdin if name == "data-binary" else stdin.replace("\n", ""))
            case "data" | "data-ascii" | "data-raw" | "data-binary":
                data.append(value)
            case "data-urlencode":
                data.append(_urlencoded(value))
            case "json":
                data = ["&".join(data) + value]
            case "get":
                in_query = True
            case "max-time":
                call.timeout = _seconds(name, value)
            case "connect-timeout":
                call.connect_timeout = _seconds(name, value)
            case "retry":
                call.retries = _count(name, value)
                call.remarks.append(
                    "--retry: curl also tries again after a timeout or a 5xx, Tocsin if retry_on says so"
                )
            case "user":
                call.user = value
            case "oauth2-bearer":
                call.bearer = value
            case "cookie" if "=" not in value and not MARK.search(value):
                raise Unclear("-b reads cookies from a file")
            case "output" if value not in NOWHERE:
                call.remarks.append(TO_A_FILE)
            case "remote-name":
                call.remarks.append(TO_A_FILE)
            case "user-agent" | "referer" | "cookie":
                call.headers.append((name.title(), value))
            case "url":
                urls.append(value)
            case "globoff":
                patterns = ""
            case "location":
                call.remarks.append("-L: curl followed redirects, Tocsin never does; give the address they lead to")
            case "insecure":
                call.remarks.append("-k: curl took any certificate, Tocsin checks it; name yours in [target] ca_file")
            case "head":
                raise Unclear("asks with HEAD")
        if name == "json":
            call.content_type = "application/json"
    if call.content_type and not any(name.lower() == "accept" for name, _ in call.headers):
        call.headers.append(("Accept", "application/json"))
    call.url = _one(urls)
    if any(char in _IPV6_HOST.sub("", call.url) for char in patterns):
        raise Unclear("the address is a pattern for several")
    if data and in_query:
        call.url += ("&" if "?" in call.url else "?") + "&".join(data)
    elif data:
        call.body = "&".join(data)
        call.content_type = call.content_type or _FORM
    call.method = call.method or ("GET" if call.body is None else "POST")
    return call


def wget(words: list[str], _stdin: str | None) -> Call:
    """The request of `wget WORDS`. Raises Unclear."""
    call = Call(remarks=["wget followed redirects, Tocsin never does; give the address they lead to"])
    urls: list[str] = []
    user, password = "", ""
    words = [word for word in words if word not in _WGET_TWO_LETTERS]
    for name, value in _options(words, _WGET_SHORT, (*_WGET_QUIET, *_WGET_MEANT), urls.append):
        match name:
            case "method":
                call.method = value.upper()
            case "header":
                call.headers.append(_header(value))
            case "post-data" | "body-data":
                call.body = value
            case "timeout":
                call.timeout = _seconds(name, value)
                call.remarks.append("--timeout: wget's is for each silence, Tocsin's for the whole call")
            case "connect-timeout":
                call.connect_timeout = _seconds(name, value)
            case "tries" if not _count(name, value):
                call.retries = MOST_RETRIES
                call.remarks.append(f"-t 0: wget tried for ever, Tocsin tries at most {MOST_RETRIES} times more")
            case "tries":
                call.retries = _count(name, value) - 1
            case "output-document" if value not in NOWHERE:
                call.remarks.append(TO_A_FILE)
            case "directory-prefix":
                call.remarks.append(TO_A_FILE)
            case "user" | "http-user":
                user = value
            case "password" | "http-password":
                password = value
            case "user-agent" | "referer":
                call.headers.append((name.title(), value))
            case "no-check-certificate":
                call.remarks.append("wget took any certificate, Tocsin checks it; name yours in [target] ca_file")
            case "spider":
                call.remarks.append("--spider: wget asked with HEAD first, Tocsin asks with GET")
    call.url = _one(urls)
    if user or password:
        call.user = f"{user}:{password}"
    if call.body is not None:
        call.content_type = _FORM
    call.method = call.method or ("GET" if call.body is None else "POST")
    return call


def _options(
    words: list[str], short: dict[str, str], long: tuple[str, ...], positional: Callable[[str], None]
) -> list[tuple[str, str]]:
    """The options by their long names; other words go to `positional`. Options and words may mix."""
    letters = "".join(letter + ":" * (f"{name}=" in long) for letter, name in short.items())
    found: list[tuple[str, str]] = []
    rest = words
    while rest:
        try:
            options, rest = getopt.getopt(rest, letters, list(long))
        except getopt.GetoptError as error:
            option = f"-{error.opt}" if len(error.opt) == 1 else f"--{error.opt}"
            why = "lacks its value" if "requires" in error.msg else "is not understood"
            raise Unclear(
                f"the option {option[:30] if option.isascii() and option.isprintable() else '?'} {why}"
            ) from None
        found += [(name[2:] if name.startswith("--") else short[name[1:]], value) for name, value in options]
        if rest:
            positional(rest[0])
            rest = rest[1:]
    return found


def _one(urls: list[str]) -> str:
    if len(urls) != 1 or not urls[0]:
        raise Unclear("calls several addresses" if urls else "names no address")
    return urls[0]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not value.strip() or MARK.search(name):
        raise Unclear("a header that is not NAME: VALUE")
    return name.strip(), value.strip()


def _urlencoded(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        name, value = "", text
    if "@" in name or (not equals and "@" in value) or MARK.search(text):
        raise Unclear("--data-urlencode of a file or a variable")
    return (f"{name}=" if name else "") + quote_plus(value)  # curl writes a space as +


def _seconds(name: str, text: str) -> float | None:
    """None for 0, which means no limit to both programs."""
    try:
        seconds = float(text) if len(text) < 20 else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 366 * 86400:
        raise Unclear(f"--{name} is no number of seconds")
    return seconds or None


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Unclear(f"--{name} is no number")
    return int(text)

"""The secret a job shows to its endpoint: where it comes from, how it is sent, and how it stays out of sight."""

import base64
import contextlib
import errno
import functools
import html.entities
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

SHORT = 16  # characters: a shorter secret can be guessed over the network
SECRET_FILE_SIZE = 4096  # bytes: more is not a secret but some other file
REDACTED = "[redacted]"
SIGNING_PREFIX = "whsec_"
SHORTEST_PART = 4  # characters of a part of a secret that is hidden wherever it stands: less would garble texts
_SECRET_NAME = re.compile(
    r"secret(?!ar)|token(?!s\b|[-_]?(limit|type|count))|passw|apikey|authorization|credential|signature(?![-_]?version)"
    r"|session(?!s\b)|cookie|(^|[-_.])(pass|pwd|pw|auth|sig)$|^code$"  # ?code= is how Azure Functions take their keys
    r"|^(?!(mon|tur|hoc|whis|.*(cache|sort|partition|primary|foreign|idempotency)[-_]?)key$).*key$",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"[A-Za-z0-9_-]{20,}")


class SecretError(ValueError):
    """The secret cannot be used; says why without repeating it."""


@dataclass(frozen=True, slots=True)
class Secret:
    """`sent` is "header:NAME", "bearer", "authorization", "query:NAME" or "signature" (it is not sent, but signs);
    `source` names the variable or file."""

    value: str = field(repr=False)
    sent: str
    source: str
    file: Path | None = None

    def reread(self) -> "Secret":
        """The secret as its file holds it now (rotation); itself when it came from the environment."""
        if self.file is None:
            return self
        return Secret(read_secret_file(self.file), self.sent, self.source, self.file)

    def header(self) -> tuple[str, str] | None:
        """The request header that carries the secret, if one does."""
        match self.sent.partition(":"):
            case "header", _, name:
                return name, self.value
            case "bearer", _, _:
                return "Authorization", f"Bearer {self.value}"
            case "authorization", _, _:
                return "Authorization", self.value
        return None

    def parts(self) -> Iterator[str]:
        """What gives it away: all of it, and what an Authorization header consists of."""
        yield self.value.removeprefix(SIGNING_PREFIX) or self.value
        if self.sent == "authorization":
            scheme, _, credentials = self.value.partition(" ")
            given = [credentials]
            if scheme.lower() == "basic":
                with contextlib.suppress(ValueError):  # not what it says
                    given.append(base64.b64decode(credentials, validate=True).decode().partition(":")[2])
            yield from (one for one in given if len(one) >= SHORTEST_PART)

    def into_query(self, target: str) -> str:
        """The request target (path and query) with the secret added, if that is how it is sent."""
        kind, _, name = self.sent.partition(":")
        if kind != "query":
            return target
        return f"{target}{'&' if '?' in target else '?'}{quote(name, safe='')}={quote(self.value, safe='')}"


def from_environment(variable: str, sent: str, environment: Mapping[str, str]) -> Secret:
    if not variable:
        raise SecretError('names no variable; to send none, write send_secret = "none"')
    if variable not in environment:  # one in small letters may be the secret itself, written there by mistake
        named = f"environment variable {variable}" if variable.isupper() else "the environment variable it names"
        raise SecretError(f"{named} is not set (set it, or put it into .env)")
    try:
        return Secret(check(environment[variable]), sent, variable)
    except SecretError as error:
        raise SecretError(f"environment variable {variable} {error}") from None


def for_signing(variable: str, environment: Mapping[str, str]) -> Secret:
    """The key of Standard Webhooks signatures: base64 of 24 to 64 bytes, as a rule after "whsec_"."""
    secret = from_environment(variable, "signature", environment)
    try:
        key = base64.b64decode(secret.value.removeprefix(SIGNING_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        make = 'echo "whsec_$(openssl rand -base64 32)"'
        raise SecretError(f"environment variable {variable} is no base64 of 24 to 64 bytes; make one with: {make}")
    return secret


def from_file(file: Path, sent: str) -> Secret:
    return Secret(read_secret_file(file), sent, str(file), file)


def read_secret_file(file: Path) -> str:
    """The secret in a file, without the one newline that editors add. Raises SecretError."""
    try:
        raw = read_file(file, SECRET_FILE_SIZE + 1)
    except OSError as error:
        raise SecretError(f"cannot read {file}: {error.strerror}") from None
    if len(raw) > SECRET_FILE_SIZE:
        raise SecretError(f"{file} is larger than {SECRET_FILE_SIZE} bytes; is it the secret?")
    try:
        return check(raw.decode("ascii", errors="replace").removesuffix("\n").removesuffix("\r"))
    except SecretError as error:
        raise SecretError(f"{file} {error}") from None


def read_file(file: Path, most: int) -> bytes:
    """At most so many bytes of a file that can be read again later. Raises OSError, also for a pipe: the daemon would
    wait for a writer."""
    with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        return stream.read(most)


def check(value: str) -> str:
    """The value itself if it can serve as a secret. Raises SecretError, which does not repeat it."""
    if not value.strip():
        raise SecretError("is empty")
    if value.strip().lower() in ("undefined", "null", "none"):
        raise SecretError(f'holds the word "{value.strip()}", not a secret')
    if "\n" in value or "\r" in value:
        raise SecretError("holds a line break")
    if not value.isascii() or not value.isprintable():
        raise SecretError("holds characters that are not printable ASCII")
    if value != value.strip():
        raise SecretError("begins or ends with a space")
    return value


def looks_random(segment: str) -> bool:
    """Whether part of a path may be a secret by itself, as in https://hc-ping.com/<uuid>."""
    return bool(_RANDOM.fullmatch(segment)) and sum(char.isdigit() for char in segment) >= 3


def is_unlike_words(value: str) -> bool:
    """Whether hiding it wherever it stands garbles nothing else: no word, no number, no year."""
    return len(value) >= 8 and any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def names_a_secret(name: str) -> bool:
    """Whether a header, parameter or key of this name likely carries a secret."""
    return bool(_SECRET_NAME.search(name))


class Redactor:
    """Takes secrets out of texts. The last line of defence: nothing should put one in."""

    def __init__(self) -> None:
        self._hidden: dict[str, str] = {}  # secret -> a part of it that no disguise changes
        self.longest = 0  # characters that one of them may take

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Hide these too; what was hidden before stays hidden (an old secret may still be valid)."""
        self.hide(part for secret in secrets for part in secret.parts())

    def hide(self, texts: Iterable[str]) -> None:
        """Hide these too, in whatever they stand."""
        for value in set(texts) - self._hidden.keys():
            self._hidden[value] = max(_PLAIN.findall(value), key=len, default="")
            self.longest = max(self.longest, sum(1 if char.isalnum() else LONGEST_DISGUISE for char in value))
        self._hidden = dict(sorted(self._hidden.items(), key=lambda one: len(one[0]), reverse=True))

    def __call__(self, text: str) -> str:
        for value, part in self._hidden.items():
            if part in text:
                text = _disguises(value).sub(REDACTED, text)
        return text


_PLAIN = re.compile("[A-Za-z0-9]+")  # what nobody escapes
_ENTITIES: dict[str, list[str]] = {}
for _name, _char in html.entities.html5.items():
    if len(_char) == 1 and _char.isascii() and _name.endswith(";"):
        _ENTITIES.setdefault(_char, []).append(_name)
LONGEST_DISGUISE = 24  # characters that one may take, as "&amp;DiacriticalGrave;"


@functools.cache  # made when it is needed: a thousand jobs may have a thousand secrets
def _disguises(value: str) -> re.Pattern[str]:
    return re.compile("".join(map(_disguised, value)))


def _disguised(char: str) -> str:
    """A pattern for the character as it may stand in a text: plain, in a URL, in JSON (of any writer), in HTML."""
    if char.isalnum():
        return char
    code = f"{ord(char):02x}"
    hexadecimal = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
    numbers = f"#0{{0,8}}{ord(char)};", f"#[xX]0{{0,8}}{hexadecimal};"  # bounded: else a long text would take for ever
    entities = "|".join((*map(re.escape, _ENTITIES.get(char, ())), *numbers))
    forms = [
        rf"\\{{0,16}}{re.escape(char)}",
        rf"\\{{1,16}}u00{hexadecimal}",
        f"%(?:25)?{hexadecimal}",
        f"&(?:amp;)?(?:{entities})",
    ]
    return f"(?:{'|'.join([*forms, *([r'[+]'] if char == ' ' else [])])})"


redact = Redactor()  # one for each process; children inherit what the parent learned

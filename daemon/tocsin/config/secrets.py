"""The secret that a job sends to its endpoint: where it comes from, how it is sent, and how it is hidden."""

import base64
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tocsin import files
from tocsin.redact import SHORTEST_PART

SHORT = 16  # characters: a shorter secret can be guessed over the network
SECRET_FILE_SIZE = 4096  # bytes: a larger file does not hold a secret
SIGNING_PREFIX = "whsec_"


class SecretError(ValueError):
    """The secret cannot be used. Says why without repeating it."""


@dataclass(frozen=True, slots=True)
class Secret:
    """`sent` is "header:NAME", "bearer", "authorization", "query:NAME" or "signature" (it is not sent, but signs).
    `source` names the variable or file."""

    value: str = field(repr=False)
    sent: str
    source: str
    file: Path | None = None

    def reread(self) -> "Secret":
        """Read the secret's file again (it may have been rotated). Returns itself if it came from the environment."""
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
        """The texts to hide: the whole secret, and the parts of an Authorization header."""
        yield self.value.removeprefix(SIGNING_PREFIX) or self.value
        if self.sent == "authorization":
            scheme, _, credentials = self.value.partition(" ")
            given = [credentials]
            if scheme.lower() == "basic":
                with contextlib.suppress(ValueError):  # not base64 after all
                    given.append(base64.b64decode(credentials, validate=True).decode().partition(":")[2])
            yield from (one for one in given if len(one) >= SHORTEST_PART)

    def into_query(self, target: str) -> str:
        """Add the secret to the request target (path and query), if it is sent in the query."""
        kind, _, name = self.sent.partition(":")
        if kind != "query":
            return target
        return f"{target}{'&' if '?' in target else '?'}{quote(name, safe='')}={quote(self.value, safe='')}"


def from_environment(variable: str, sent: str, environment: Mapping[str, str]) -> Secret:
    if not variable:
        raise SecretError('names no variable; to send no secret, set send_secret = "none"')
    if variable not in environment:  # a name in lower case may be the secret itself, written there by mistake
        named = f"environment variable {variable}" if variable.isupper() else "the environment variable it names"
        raise SecretError(f"{named} is not set (set it, or put it into .env)")
    try:
        return Secret(check(environment[variable]), sent, variable)
    except SecretError as error:
        raise SecretError(f"environment variable {variable} {error}") from None


def for_signing(variable: str, environment: Mapping[str, str]) -> Secret:
    """Read the key of Standard Webhooks signatures: base64 of 24 to 64 bytes, usually after "whsec_"."""
    secret = from_environment(variable, "signature", environment)
    try:
        key = base64.b64decode(secret.value.removeprefix(SIGNING_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        make = 'echo "whsec_$(openssl rand -base64 32)"'
        raise SecretError(f"environment variable {variable} is not base64 of 24 to 64 bytes; make one with: {make}")
    return secret


def from_file(file: Path, sent: str) -> Secret:
    return Secret(read_secret_file(file), sent, str(file), file)


def read_secret_file(file: Path) -> str:
    """Read the secret in a file, without the newline that editors add. Raises SecretError."""
    try:
        raw = files.read(file, SECRET_FILE_SIZE, "a secret")
    except OSError as error:
        raise SecretError(f"cannot read {file}: {error.strerror}") from None
    try:
        return check(raw.decode("ascii", errors="replace").removesuffix("\n").removesuffix("\r"))
    except SecretError as error:
        raise SecretError(f"{file} {error}") from None


def check(value: str) -> str:
    """Return the value if it can be a secret. Raises SecretError, which does not repeat it."""
    if not value.strip():
        raise SecretError("is empty; make one with: openssl rand -hex 32")
    if value.strip().lower() in ("undefined", "null", "none"):
        raise SecretError(f'holds the word "{value.strip()}", not a secret')
    if "\n" in value or "\r" in value:
        raise SecretError("holds a line break")
    if not value.isascii() or not value.isprintable():
        raise SecretError("holds characters that are not printable ASCII")
    if value != value.strip():
        raise SecretError("begins or ends with a space")
    return value

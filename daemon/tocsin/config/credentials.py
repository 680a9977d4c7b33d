"""A token or a user with a password, as clients of the exporter show them."""

import base64
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from tocsin.config.secrets import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    bearer: Secret | None = None
    user: str = ""
    password: Secret | None = None

    def __bool__(self) -> bool:
        return bool(self.bearer or self.password)

    @property
    def challenge(self) -> str:
        """The WWW-Authenticate header that asks for them, or "" if there are none."""
        basic = 'Basic realm="Tocsin", charset="UTF-8"' if self.password else ""
        bearer = 'Bearer realm="Tocsin"' if self.bearer else ""
        return ", ".join(filter(None, (basic, bearer)))

    @property
    def secrets(self) -> Iterator[Secret]:
        """Texts that must never be shown, also in the form in which they are sent."""
        if self.bearer:
            yield self.bearer
        if self.password:
            yield self.password
            sent = base64.b64encode(_pair(self.user, self.password)).decode()
            yield Secret(sent, "authorization", self.password.source)

    def name(self, authorization: str) -> str | None:
        """Whose the Authorization header is: the user, or where the token comes from. None if it is not right."""
        scheme, _, shown = authorization.partition(" ")
        match scheme.lower():
            case "bearer" if self.bearer:
                if hmac.compare_digest(_octets(shown), _octets(self.bearer.value)):
                    return f"token {self.bearer.source}"[:100]
            case "basic" if self.password:
                try:
                    pair = base64.b64decode(_octets(shown), validate=True)
                except ValueError:
                    return None
                if hmac.compare_digest(pair, _pair(self.user, self.password)):
                    return self.user
        return None


def _pair(user: str, password: Secret) -> bytes:
    return f"{user}:{password.value}".encode()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # the reverse of aiohttp's decoding

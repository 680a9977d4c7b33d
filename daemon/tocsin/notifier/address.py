"""The addresses of [notify], without Apprise, which takes a second to load."""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Address:
    """`label` is what people see: the address's number and kind, because the rest may be secret. `key` identifies the
    address in the state folder."""

    url: str = field(repr=False)
    key: str
    number: int
    plugin: object = None
    loaded: bool = False
    why: str = ""  # why it cannot be used
    threads: set[threading.Thread] = field(default_factory=set)  # attempts that have not ended

    @property
    def kind(self) -> str:
        return self.url.partition("://")[0].lower()

    @property
    def label(self) -> str:
        return f"address {self.number} ({self.kind})"


def of(urls: Iterable[str]) -> list[Address]:
    return [Address(url, hashlib.sha256(url.encode()).hexdigest()[:16], number) for number, url in enumerate(urls, 1)]

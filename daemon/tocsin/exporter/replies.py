"""Requests and replies as the routes see them, and what a reply may need first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tocsin.exporter import tags
from tocsin.exporter.refusals import Refusal
from tocsin.exporter.tags import Had
from tocsin.ipc.actions import Action
from tocsin.ipc.history import Actions, Question

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
NOT_KEPT = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str = ""
    host: str = ""  # the Host header
    accept: str = ""
    authorization: str = field(default="", repr=False)
    peer: str = ""  # the client's address
    origin: str = ""
    fetch_site: str = ""  # the Sec-Fetch-Site header
    content_type: str = ""
    repeated: str = ""  # a header that may occur only once, but occurs more often
    by_proxy: bool = False  # whether a proxy says that it passes the request on
    if_none_match: str = ""
    takes_parts: bool = False  # page.js asks for the changed rows of a page only

    @property
    def had(self) -> Had:
        return tags.read(self.if_none_match, takes_parts=self.takes_parts)


@dataclass(frozen=True, slots=True)
class Reply:
    """`refused` is the reason if the reply is a refusal to be counted."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: NOT_KEPT)
    refused: Refusal | None = None
    more: tuple[bytes, ...] = ()  # of the body: what is long is not joined


class ReadBody(NamedTuple):
    """Read the request's body: at most `most` bytes, within `seconds`."""

    most: int
    seconds: float


Body = bytes | int  # the body, or the HTTP status that says why it was not read


@dataclass(frozen=True, slots=True)
class Wanted:
    """The reply needs something first: an answer of the ledger's process or of the parent, or the request's body."""

    question: Question | Actions | Action | ReadBody
    then: Callable[[Any], "Reply | Wanted"]

"""One attempt of a run: what its time went to, what was sent and what came back."""

from typing import Annotated

import msgspec

from tocsin.ipc.types import ATTEMPT_LENGTH, HEAD_LENGTH, REPLY_LENGTH, Count, Instant, Outcome

Head = Annotated[str, msgspec.Meta(max_length=HEAD_LENGTH)]


class Parts(msgspec.Struct, frozen=True, array_like=True):
    """Where the time of an attempt went, in microseconds, which are short on a channel and in a ledger. None: the
    attempt had no such part, or did not get there. If it failed in a part, that part is how long it tried."""

    lookup: Count | None = None  # the host's name
    connect: Count | None = None
    tls: Count | None = None  # its handshake
    first_byte: Count | None = None  # request sent to the first byte of the reply
    whole: Count | None = None  # request sent to reply judged
    ahead: bool = False  # whether the first three were over before the instant, because the request was armed


class Tried(msgspec.Struct, frozen=True, array_like=True):
    """What became of one attempt. Request and reply are kept as the job says, without secrets."""

    outcome: Outcome
    detail: Annotated[str, msgspec.Meta(max_length=ATTEMPT_LENGTH)] = ""
    status: int | None = None
    sent: Instant | None = None  # when its request was sent; None: never
    parts: Parts = Parts()
    request: Head = ""  # first line and headers
    body_size: Count = 0  # bytes of the request's body
    head: Head = ""  # first line and headers of the reply
    reply: Annotated[str, msgspec.Meta(max_length=REPLY_LENGTH)] = (
        ""  # the beginning of the body; the last attempt's is in the run
    )


_WORDS = {
    "lookup": "name lookup",
    "connect": "connect",
    "tls": "TLS handshake",
    "first_byte": "first byte",
    "whole": "whole",
}


def parts_in_words(parts: Parts) -> list[tuple[str, float]]:
    """Return the parts that there were, in order: a name for people, and seconds."""
    before = dict.fromkeys(("lookup", "connect", "tls"), " (before it was due)") if parts.ahead else {}
    values = ((name, words, getattr(parts, name)) for name, words in _WORDS.items())
    return [(words + before.get(name, ""), value / 1e6) for name, words, value in values if value is not None]

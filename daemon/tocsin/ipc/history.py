"""What the exporter asks the ledger's process about the past, and the answers. They go over a socket pair of their own,
past the parent, which makes it and hands one end to each of the two.

An asker waits a few seconds at most. Then it stops listening for the answer, and a question that is as old as that is
not answered any more: either side may have died, and its successor finds what the old one left in the socket.
"""

from collections.abc import Callable
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from tocsin.ipc.fates import FAILURES, Fate
from tocsin.ipc.types import Count, Instant, Message, NotRunReason, Outcome, Trigger

PATIENCE = 3.0  # seconds that an asker waits for an answer
AT_MOST = 500  # rows of one question

Running = Literal["running"]
Failed = Literal["failed"]  # any failure, and missed slots
Wanted = Outcome | NotRunReason | Running | Failed

FAILED: frozenset[Fate] = FAILURES | {"missed"}
WANTED: tuple[str, ...] = (*get_args(Outcome), *get_args(NotRunReason), *get_args(Running), *get_args(Failed))
TRIGGERS: tuple[str, ...] = get_args(Trigger)


class Place(Struct, frozen=True, array_like=True):
    """Where a row stands in the history: newest first, and rows of one instant by job and attempt."""

    due: Instant
    job: str
    attempt: Count


class Slots(Message, frozen=True):
    """Which slots are wanted, newest first: those before `before`, due at `since` or later, `limit` of them."""

    job: str | None = None
    outcome: Wanted | None = None
    trigger: Trigger | None = None
    node: str | None = None
    since: Instant | None = None
    before: Place | None = None
    limit: int = 50


class OneRun(Message, frozen=True):
    """Every delivery of one run. (There are several where it was cut off and repeated.)"""

    run_id: str


class Row(Struct, frozen=True):
    """A slot, or `count` slots in a row from `due` to `last` that one reason kept from running."""

    job: str
    due: Instant
    last: Instant
    count: Count
    fate: Outcome | NotRunReason | Running
    attempt: Count = 0
    detail: str = ""
    run_id: str | None = None
    trigger: Trigger | None = None
    node: str = ""
    status: int | None = None
    started: Instant | None = None
    finished: Instant | None = None
    lateness: float | None = None
    duration: float | None = None
    reported: dict[str, float] = {}
    reply: str = ""  # what was kept of it, where one run is asked for

    @property
    def place(self) -> Place:
        return Place(self.due, self.job, self.attempt)


class Ask(Message, frozen=True):
    """Exporter to ledger. Nobody waits for the answer after Unix time `until`."""

    number: Count
    until: Instant
    question: Slots | OneRun


class Rows(Message, frozen=True):
    """Ledger to exporter. `more`: ask again from there for what did not fit, or was not reached in time; None: there
    is no more."""

    number: Count
    rows: tuple[Row, ...]
    more: Place | None = None


class NoAnswer(Message, frozen=True):
    """The history cannot be read now, and why."""

    number: Count
    why: str


Question = Slots | OneRun
Answer = Rows | NoAnswer

decode_question: Callable[[bytes], Ask] = msgspec.json.Decoder(Ask).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode

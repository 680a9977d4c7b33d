"""The exporter's questions to the ledger's process about the past, and the answers.

They use their own socket pair. The parent creates it and gives one end to each process, but reads none of it. Whoever
asks waits a few seconds at most. A question that is older than that gets no answer: either side may have died, and its
successor finds in the socket what the old one left.
"""

from collections.abc import Callable
from typing import Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tocsin.ipc.actions import Acted
from tocsin.ipc.fates import FAILURES, Fate
from tocsin.ipc.tried import Parts, Tried
from tocsin.ipc.types import ATTEMPT_LENGTH, OUTCOMES, Count, Instant, Message, NotRunReason, Outcome, Trigger

PATIENCE = 3.0  # seconds to wait for an answer
ACTIONS_AT_MOST = 50  # actions in one answer: their reasons fit into one message
AT_MOST = 500  # rows that one question may ask for

Running = Literal["running"]
Failed = Literal["failed"]  # any failure, and missed slots
Wanted = Outcome | NotRunReason | Running | Failed

FAILED: frozenset[Fate] = FAILURES | {"missed"}
WANTED: tuple[str, ...] = (*get_args(Outcome), *get_args(NotRunReason), *get_args(Running), *get_args(Failed))
TRIGGERS: tuple[str, ...] = get_args(Trigger)


class Place(Struct, frozen=True, array_like=True):
    """The place of a row in the history. Rows are ordered by instant, newest first, then by job and attempt."""

    due: Instant
    job: str
    attempt: Count


class Slots(Message, frozen=True):
    """Asks for `limit` slots, newest first, that come before `before` and are due at `since` or later."""

    job: str | None = None
    outcome: Wanted | None = None
    trigger: Trigger | None = None
    node: str | None = None
    since: Instant | None = None
    before: Place | None = None
    limit: int = 50


class OneRun(Message, frozen=True):
    """Asks for every delivery of one run. There are several if it was lost and delivered again."""

    run_id: str


class Actions(Message, frozen=True):
    """Asks for `limit` actions of people, newest first, from before `before` and since `since`."""

    job: str | None = None
    since: Instant | None = None
    before: Instant | None = None
    limit: int = 50


class Row(Struct, frozen=True):
    """A slot, or a series of `count` slots from `due` to `last` that did not run for the same reason."""

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
    # only in answers about one run:
    tries: Count = 0  # attempts that it took; 0: not known
    parts: Parts | None = None  # of the last attempt
    attempts: tuple[Tried, ...] = ()  # if there were several, or one was kept
    reply: str = ""  # the part of the last reply that was kept

    @property
    def place(self) -> Place:
        return Place(self.due, self.job, self.attempt)

    @property
    def tried(self) -> tuple[Tried, ...]:
        """What is known of its attempts, the first one first. Of a single one the row itself says what there is."""
        if self.attempts:
            return (*self.attempts[:-1], replace(self.attempts[-1], reply=self.reply))
        if self.parts is None or self.tries != 1 or self.fate not in OUTCOMES:
            return ()
        whole = None if self.duration is None else int(self.duration * 1e6)
        parts = replace(self.parts, whole=whole)
        return (Tried(self.fate, self.detail[:ATTEMPT_LENGTH], self.status, self.started, parts),)


class Ask(Message, frozen=True):
    """Exporter to ledger. `until` is Unix time: after it nobody waits for the answer."""

    number: Count
    until: Instant
    question: Slots | OneRun | Actions


class Rows(Message, frozen=True):
    """Ledger to exporter. `more` is the place from which to ask again for rows that did not fit or were not reached in
    time. None: there are no more."""

    number: Count
    rows: tuple[Row, ...]
    more: Place | None = None


class ActionRows(Message, frozen=True):
    """Ledger to exporter. If `more` is not None, ask again with it in `before`."""

    number: Count
    actions: tuple[Acted, ...]
    more: Instant | None = None


class NoAnswer(Message, frozen=True):
    """The history cannot be read now; this says why."""

    number: Count
    why: str


Question = Slots | OneRun
Answer = Rows | ActionRows | NoAnswer

decode_question: Callable[[bytes], Ask] = msgspec.json.Decoder(Ask).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode

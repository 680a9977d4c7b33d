"""The rows of jobs and slots on PostgreSQL, as `books.py` works with them and `statements.py` reads and writes them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tocsin.ipc.job import Ask, Finished
from tocsin.ipc.record import JobRecord

Key = tuple[str, float, int]  # job, due, attempt


class Taken(NamedTuple):
    """What is known of a slot that has a row."""

    state: str
    outcome: str | None = None
    run_id: str | None = None


@dataclass(slots=True)
class JobRow:
    schedule: str | None = None  # None: not enrolled; the row is there for an unfinished run
    generation: int = 0
    owner: str | None = None
    record: JobRecord | None = None
    open: Ask | None = None  # the unfinished run
    why: str | None = None  # why its slots did not run while nobody owned it
    forgotten: bool = False
    extra: dict[str, Any] = field(default_factory=dict)  # what a newer version of Tocsin remembers of the job


@dataclass(slots=True)
class SlotRow:
    job: str
    due: float
    attempt: int
    last: float
    count: int
    state: str
    reason: str | None = None
    trigger: str | None = None
    run_id: str | None = None
    started: float | None = None
    finished: float | None = None
    lateness: float | None = None
    duration: float | None = None
    outcome: str | None = None
    status: int | None = None
    detail: str = ""
    reported: str | None = None
    lookup_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    armed: int | None = None
    tries: int | None = None

    @property
    def key(self) -> Key:
        return self.job, self.due, self.attempt


def lost(run: Ask, detail: str, now: float) -> Finished:
    return Finished(run.job, run.due, run.run_id, run.trigger, run.attempt, "lost", detail, finished=now)


def storable(text: str) -> str:
    """Replace what PostgreSQL cannot store as text: NUL and lone surrogates."""
    return text.replace("\0", "␀").encode(errors="replace").decode()

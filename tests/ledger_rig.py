"""A ledger on real files, and what it is told."""

import itertools
import socket
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tocsin.ipc.channel import AnyChannel
from tocsin.ipc.job import Ask, Finished, Grant, Skipped
from tocsin.ipc.ledger import Body, Enroll, Entry, JobHistory
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import NotRunReason, Outcome, Trigger
from tocsin.ledger import main
from tocsin.ledger.answers import Answers
from tocsin.ledger.sqlite import SqliteLedger
from tocsin.ledger.sqlite_reader import SqliteReader
from tocsin.ledger.store import Reader

T = 1_800_000_000
FOR_EVER = 1e12  # seconds that rows are kept


def serve(
    channel: AnyChannel, folder: Path, session: str, keep: float = FOR_EVER, store: SqliteLedger | None = None
) -> None:
    """What the ledger's process does, in this one; with this store, where it is open already."""
    asker, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with asker, asked:
        answers = Answers(asked, lambda: SqliteReader(folder))
        main.main(channel, lambda: store or SqliteLedger(folder, session, keep), answers)


def history(folder: Path, **filters: Any) -> list[dict[str, Any]]:
    return SqliteReader(folder).history(**filters)


class Ledger:
    """A ledger and the number of its next entry. `opened` opens its store for a session, `reader` reads it."""

    ledger: Any  # a tocsin.ledger.store.Store; some tests look into SQLite's

    def __init__(self, folder: Path, session: str = "s1") -> None:
        self.folder = folder
        self.session = session
        self.ledger = self.opened(session)
        self._seq = itertools.count(1)
        self.last: list[Entry] = []

    def put(self, *bodies: Body) -> list[Any]:
        """Commit in one transaction."""
        self.last = [Entry(next(self._seq), body) for body in bodies]
        return self.commit(self.last)

    def commit(self, entries: list[Entry]) -> list[Any]:
        """What the ledger says; when its grants end is on no test's mind but those that look for it themselves."""
        return [replace(one, until=None) if isinstance(one, Grant) else one for one in self.ledger.commit(entries)]

    def opened_again(self) -> "Ledger":
        """The next process of the same daemon."""
        other = self.reopened(self.session)
        other._seq = self._seq
        return other

    def opened(self, session: str) -> Any:
        return SqliteLedger(self.folder, session, FOR_EVER)

    def reader(self) -> Reader:
        return SqliteReader(self.folder, "here")

    def reopened(self, session: str) -> "Ledger":
        return type(self)(self.folder, session)

    @staticmethod
    def storable(text: str) -> str:
        """As the store can hold it."""
        return text

    def rows(self, **filters: Any) -> list[dict[str, Any]]:
        return self.reader().history(**{"limit": 1000, **filters})

    def brief(self) -> list[tuple[float, str, str | None, int]]:
        return [(row["due"] - T, row["state"], row["outcome"] or row["reason"], row["count"]) for row in self.rows()]

    def past(
        self, job: str = "a", schedule: str = "* * * * * UTC", generation: int = 1, now: float = T + 0.5
    ) -> JobRecord:
        (past,) = self.put(Enroll(job, schedule, generation, now))
        assert isinstance(past, JobHistory)
        return past.record

    def close(self) -> None:
        self.ledger._db.close()


def ask(due: float = T, attempt: int = 0, trigger: Trigger = "schedule", owner: str = "s1/1", job: str = "a") -> Ask:
    return Ask(job, due, f"run-{due}-{attempt}", trigger, attempt, owner)


def finished(
    due: float = T, outcome: Outcome = "success", attempt: int = 0, job: str = "a", at: float = T + 1
) -> Finished:
    return Finished(job, due, f"run-{due}-{attempt}", "schedule", attempt, outcome, f"it was {outcome}", finished=at)


def skipped(
    first: float,
    last: float,
    count: int,
    reason: NotRunReason = "missed",
    detail: str = "",
    trigger: Trigger = "schedule",
) -> Skipped:
    return Skipped("a", first, last, count, reason, detail, trigger)

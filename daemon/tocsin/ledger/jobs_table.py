"""The table `jobs`: a record for each job. It is also kept in memory, because only this process writes it."""

import sqlite3
from collections.abc import Iterator
from typing import Any

from msgspec.json import Decoder, encode
from msgspec.structs import astuple

from tocsin.ipc import record as records
from tocsin.ipc.fates import Fate
from tocsin.ipc.job import Ask, Finished, Pause, Release, Skipped
from tocsin.ipc.ledger import Enroll
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Count
from tocsin.schedule import same

_READ = (
    "SELECT job, schedule, last_due, since, paused, last_outcome, last_detail, last_run, last_success,"
    " consecutive_failures, unreachable, paused_since, paused_until, paused_why, paused_by, missed_at, counts, totals"
    " FROM jobs"
)
_WRITE = (  # the fields of JobRecord, in their order
    "UPDATE jobs SET last_due = ?, since = ?, paused = ?, last_outcome = ?, last_detail = ?, last_run = ?,"
    " last_success = ?, consecutive_failures = ?, unreachable = ?, paused_since = ?, paused_until = ?,"
    " paused_why = ?, paused_by = ?, missed_at = ?, counts = ?, totals = ? WHERE job = ?"
)
_counts = Decoder(dict[Fate, Count])
_totals = Decoder(dict[str, float])


class JobsTable:
    """In a transaction call `begin`, then any other method, then `write`. If it fails, the next `begin` reads the table
    again."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._schedules: dict[str, str] = {}
        self._records: dict[str, JobRecord] = {}
        self._changed: set[str] = set()
        self._as_stored = False

    def begin(self) -> None:
        if not self._as_stored:
            self._changed.clear()
            self._schedules, self._records = {}, {}
            for job, schedule, *row in self._db.execute(_READ):
                self._schedules[job] = schedule
                self._records[job] = _record(*row)
        self._as_stored = False

    def all(self) -> Iterator[tuple[str, str, JobRecord]]:
        """Job, schedule and record of each, as stored."""
        self.begin()
        for job, record in self._records.items():
            yield job, self._schedules[job], record

    def write(self) -> None:
        """Write what changed, with one statement for each job."""
        if self._changed:
            self._db.executemany(_WRITE, [(*_row(self._records[job]), job) for job in self._changed])
            self._changed.clear()

    def committed(self) -> None:
        self._as_stored = True

    def apply(self, event: Ask | Finished | Skipped | Release | Pause) -> None:
        """Apply an event to the job's record, if the job is enrolled."""
        job = event.job
        if before := self._records.get(job):
            after = records.after(before, event)
            if after is not before:
                self._records[job] = after
                self._changed.add(job)

    def enroll(self, body: Enroll) -> JobRecord:
        before = self._records.get(body.job)
        kept = before is not None and same(self._schedules[body.job], body.schedule)
        record = records.enrolled(before, body.now, same_schedule=kept)
        self._db.execute(
            "INSERT INTO jobs (job, schedule, roster, last_due, since) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET schedule = excluded.schedule, roster = excluded.roster",
            (body.job, body.schedule, body.generation, record.accounted, record.since),
        )
        self._schedules[body.job], self._records[body.job] = body.schedule, record
        if before is not None and record is not before:
            self._changed.add(body.job)
        return record

    def forget_others(self, generation: int) -> None:
        """Delete the jobs that this generation did not name."""
        for (job,) in self._db.execute("DELETE FROM jobs WHERE roster != ? RETURNING job", (generation,)).fetchall():
            del self._schedules[job], self._records[job]
            self._changed.discard(job)


def _row(record: JobRecord) -> tuple[Any, ...]:
    *fields, counts, totals = astuple(record)
    return *fields, encode(counts).decode(), encode(totals).decode()


def _record(last_due: float, since: float, paused: int, *rest: Any) -> JobRecord:
    *others, counts, totals = rest
    others[5] = bool(others[5])  # whether the app was unreachable
    return JobRecord(int(last_due), since, bool(paused), *others, _counts.decode(counts), _totals.decode(totals))  # type: ignore[call-arg]

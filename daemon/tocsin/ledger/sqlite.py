"""The ledger in SQLite: one row for each slot, or for a series of slots that did not run for the same reason.

One process writes it, in WAL mode with synchronous=FULL: committed entries survive a power cut
(sqlite.org/pragma.html#pragma_synchronous). `tocsin history` reads it at the same time.
"""

import contextlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never

from tocsin import log
from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import Leave, Roster, Yield
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, Enrolled, Entry, JobHistory, LedgerRoom, Told
from tocsin.ledger import actions, room, slots
from tocsin.ledger.files import Files, abandoned, make_ready, passing, what_to_do
from tocsin.ledger.jobs_table import JobsTable
from tocsin.ledger.schema import MIGRATIONS, SCHEMA, VERSION
from tocsin.ledger.store import Moved, Passing, Unusable
from tocsin.timestamps import began

FILE = "ledger.sqlite"
BUSY_TIMEOUT = 5.0  # seconds to wait for a reader's lock (a backup, a checkpoint)
PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}  # worth a retry
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
STEP = 0.05  # seconds: if `began` differs by more, the clock was set
PRUNE_AT_ONCE = 2000  # rows deleted in one transaction: a few milliseconds
PRUNE_EVERY = 600.0  # seconds between deletions of rows older than `retention`
LOOK_EVERY = 5.0  # seconds between checks of the files while there is nothing to commit


class SqliteLedger:
    """A `tocsin.ledger.store.Store`. `retention` and `replies` are in seconds: older rows are deleted."""

    def __init__(self, folder: Path, session: str, retention: float, replies: float = 7 * 86400.0) -> None:
        self.file = folder / FILE
        self.session = session
        self.before: str | None = None
        self._retention = retention
        self._replies = min(retention, replies)
        self._next_prune = 0.0
        self._copied = 0  # changes that the last checkpoint copied
        try:
            make_ready(self.file)
            self._db = sqlite3.connect(self.file, timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=64)
            try:
                set_up(self._db, self.file)
                self.seq = self._resume()
                self._files = Files(self.file)
                self._jobs = JobsTable(self._db)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in PASSING:
                raise passing(self.file, error) from error
            why = f"{error} (may this user write to {folder}?)"
            raise Unusable(f"cannot open the ledger {self.file}: {why}") from error
        except sqlite3.DatabaseError as error:
            raise Unusable(what_to_do(self.file, error)) from error
        except OSError as error:  # perhaps the file belongs to another user
            why = f"{error.strerror}{' (may this user write it?)' * isinstance(error, PermissionError)}"
            raise Unusable(f"cannot open the ledger {error.filename or self.file}: {why}") from error

    @property
    def name(self) -> str:
        return str(self.file)

    def _resume(self) -> int:
        session, seq, stopped, before = self._db.execute("SELECT session, seq, stopped, began FROM progress").fetchone()
        self._same_clock = before is not None and abs(before - began()) < STEP
        if session == self.session:
            return int(seq)
        self.before = "the daemon was stopped" if stopped else "the daemon had died" if session else None
        self._db.execute("UPDATE progress SET session = ?, seq = 0, stopped = NULL", (self.session,))
        return 0

    def stopped(self, now: float) -> None:
        with self._transaction():
            self._db.execute("UPDATE progress SET stopped = ?", (now,))

    def close(self) -> None:
        """Close the database. SQLite then removes its -wal and -shm files, so that one file is left to copy."""
        if self._db not in abandoned:
            self._db.close()

    epoch = 0  # only one daemon uses it

    def beat(self, now: float) -> tuple[list[Told], float]:  # noqa: ARG002
        return [], math.inf

    # ---- while there is nothing to commit

    def idle(self, now: float) -> float:
        self.look()
        if self._db.total_changes != self._copied:
            room.checkpoint(self._db)
            self._copied = self._db.total_changes
        if now >= self._next_prune or now < self._next_prune - PRUNE_EVERY:  # the clock was set back
            pruned = 0
            try:
                kept, replies = now - self._retention, now - self._replies
                pruned = max(
                    self.prune(kept), self.prune_replies(replies), actions.prune(self._db, kept, PRUNE_AT_ONCE)
                )
            except sqlite3.DatabaseError as error:  # even damage: new entries may still be fine
                log.warning("cannot delete old rows of the ledger", why=str(error))
            self._next_prune = now + PRUNE_EVERY
            if pruned == PRUNE_AT_ONCE:
                self._next_prune = now
                return 0.0
        return min(LOOK_EVERY, self._next_prune - now)

    def look(self) -> None:
        """Raise Moved if the database's files were deleted or replaced: nobody could find new entries."""
        if not self._files.are_there():
            abandoned.append(self._db)
            raise Moved(f"{self.file} (or its -wal or -shm file) was deleted or replaced while it was in use")

    def room(self) -> LedgerRoom:
        self.look()
        try:
            return room.measured(self.file)
        except OSError as error:  # deleted since that look, or the volume does not answer
            raise Passing(f"{self.file}: {error.strerror}") from error

    # ---- writing

    def recover(self, now: float) -> list[Finished]:
        """Record unfinished runs as lost. A slot whose instant is still to come is free again if the clock was not set.

        Jobs ask up to two seconds ahead. After a crash these slots would count as lost, and jobs that were never called
        would fail. But if the clock was set back, a slot that was called may seem to be still to come, and would be
        called twice.
        """
        detail = "the daemon died while it ran; whether the app did the work is unknown"
        lost = []
        with self._transaction():
            rows = self._db.execute(
                "SELECT job, due, attempt, run_id, trigger, owner FROM slots"
                " WHERE state = 'started' AND substr(owner, 1, ?) != ?",
                (len(self.session) + 1, f"{self.session}/"),
            ).fetchall()
            for job, due, attempt, run_id, trigger, owner in rows:
                if due > now and self._same_clock and trigger == "schedule" and not attempt:
                    self._release(Release(job, due, attempt, owner))
                else:
                    lost.append(Finished(job, due, run_id, trigger, attempt, "lost", detail, finished=now))
                    self._finish(lost[-1])
        return lost

    def commit(self, entries: Sequence[Entry]) -> list[Told]:
        self.look()
        try:
            answers = self._write(entries)
        except Passing as error:
            if not room.made_after(error, self._db):
                raise
            answers = self._write(entries)
        if room.is_short(self.file):
            room.give_back(self._db)
        return answers

    def _write(self, entries: Sequence[Entry]) -> list[Told]:
        answers: list[Told] = []
        with self._transaction():
            for entry in entries:
                answer = self._apply(entry.body, new=entry.seq > self.seq)
                if answer:
                    answers.append(answer)
            seq = max(self.seq, entries[-1].seq)
            self._db.execute(
                "UPDATE progress SET seq = :seq, began = CASE WHEN abs(began - :began) < :step THEN began"
                " WHEN EXISTS (SELECT 1 FROM slots WHERE state = 'started') THEN NULL ELSE :began END",
                {"seq": seq, "began": began(), "step": STEP},
            )
        self.seq = seq
        return answers

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._jobs.begin()
            yield
            self._jobs.write()
            self._db.execute("COMMIT")
            self._jobs.committed()
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
                raise Unusable(what_to_do(self.file, error)) from error
            if isinstance(error, sqlite3.OperationalError):
                raise passing(self.file, error) from error
            raise

    def prune(self, before: float) -> int:
        """Delete rows of slots that ended before this Unix time. Returns how many. PRUNE_AT_ONCE means that more may be
        left."""
        return self._db.execute(
            "DELETE FROM slots WHERE (job, due, attempt) IN (SELECT job, due, attempt FROM slots"
            " WHERE due < :before AND last < :before AND state != 'started' LIMIT :most)",
            {"before": before, "most": PRUNE_AT_ONCE},
        ).rowcount

    def prune_replies(self, before: float) -> int:
        """Delete replies like `prune`."""
        return self._db.execute(
            "DELETE FROM replies WHERE (job, due, attempt) IN"
            " (SELECT job, due, attempt FROM replies WHERE finished < ? LIMIT ?)",
            (before, PRUNE_AT_ONCE),
        ).rowcount

    def _apply(self, body: Body, *, new: bool) -> Grant | Deny | JobHistory | None:
        match body:
            case Ask():
                return self._ask(body, new=new)
            case Enroll():
                return JobHistory(body.job, self._jobs.enroll(body))
            case _ if not new:
                return None
            case Finished():
                self._finish(body)
            case Skipped():
                slots.skip(self._db, body)
                self._jobs.apply(body)
            case Release():
                self._release(body)
            case Pause():
                self._jobs.apply(body)
            case Acted():
                actions.add(self._db, body)
            case Enrolled(generation=generation):
                self._jobs.forget_others(generation)
            case Roster() | Yield() | Leave():
                pass  # one daemon owns every job
            case _:
                assert_never(body)
        return None

    def _ask(self, ask: Ask, *, new: bool) -> Grant | Deny:
        """Grant or deny a slot. An entry that was applied before is only answered: its slot may be free again."""
        if new and slots.take(self._db, ask):
            self._jobs.apply(ask)
        elif why := slots.why_not(self._db, ask):
            return Deny(ask.job, ask.due, ask.attempt, why)
        return Grant(ask.job, ask.due, ask.attempt)

    def _finish(self, run: Finished) -> None:
        slots.finish(self._db, run)
        if run.reply or run.attempts:
            slots.keep_reply(self._db, run)
        self._jobs.apply(run)

    def _release(self, body: Release) -> None:
        if slots.release(self._db, body):
            self._jobs.apply(body)


def set_up(db: sqlite3.Connection, file: Path) -> None:
    """Create or upgrade the tables. Raises Unusable when a newer Tocsin made them."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {room.WAL_KEPT}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise Unusable(f"{file} was written by a newer Tocsin (schema {version}, this one knows {VERSION})")
    if version == 0:
        db.executescript(f"BEGIN EXCLUSIVE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    for old in range(version or VERSION, VERSION):
        db.executescript(f"BEGIN EXCLUSIVE; {MIGRATIONS[old]} PRAGMA user_version = {old + 1}; COMMIT;")

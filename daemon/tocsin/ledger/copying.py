"""Copies a ledger in SQLite to PostgreSQL, in one transaction: all of it is copied, or nothing.

Whoever calls this holds the state folder, so no daemon writes the source. A daemon that opens the target meanwhile
waits for the transaction, because both take the same advisory lock.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from psycopg import Connection

from tocsin.config.ledger import Postgres
from tocsin.ipc.job import Ask, Finished
from tocsin.ledger import actions, pg_schema, sqlite, times
from tocsin.ledger.books import NEVER_ENDED
from tocsin.ledger.files import what_to_do
from tocsin.ledger.jobs_table import JobsTable
from tocsin.ledger.link import Link
from tocsin.ledger.pg_replies import Replies
from tocsin.ledger.place import place_of
from tocsin.ledger.rows import JobRow, SlotRow, storable
from tocsin.ledger.statements import Statements
from tocsin.ledger.store import Absent, Held, Unusable

T = TypeVar("T")

AT_ONCE = 2000  # rows in one statement: a few megabytes
_SLOT = (
    "job, due, attempt, last, count, state, reason, trigger, run_id, started, finished, lateness, duration, outcome,"
    f" status, detail, reported, {', '.join(times.COLUMNS)}"
)
_ACTIONS = "SELECT at, what, job, actor, way, address, why, until, run_id FROM actions ORDER BY id"


@dataclass(frozen=True, slots=True)
class Copied:
    jobs: int
    slots: int  # rows
    replies: int
    already: bool = False  # by an earlier call


def copy(folder: Path, ledger: Postgres, node: str) -> Copied:
    """Copy the ledger in this state folder. `node` is the name of the machine where its slots ran.

    Raises Absent, Held, Passing, Unusable and OSError; then nothing was copied.
    """
    file = folder / sqlite.FILE
    if not file.exists():
        raise Absent(str(file))
    link = Link(ledger)
    try:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as source:
            sqlite.set_up(source, file)
            with link.transaction(patient=True) as target:
                return _copied(source, target, ledger, node, place_of(folder))
    except sqlite3.Error as error:
        raise Unusable(what_to_do(file, error)) from error
    finally:
        link.close()


def _copied(source: sqlite3.Connection, target: Connection[Any], ledger: Postgres, node: str, place: str) -> Copied:
    s = f'"{ledger.schema}"'
    target.execute("SELECT pg_advisory_xact_lock(%s)", (pg_schema.LOCK,))
    pg_schema.set_up(target, ledger.schema)
    session, stopped, began = source.execute("SELECT session, stopped, began FROM progress").fetchone()
    live = f"SELECT node FROM {s}.nodes WHERE state IN ('live', 'leaving') AND lease_until > clock_timestamp()"
    if row := target.execute(live).fetchone():
        raise Held(f"the daemon on node {row[0]} uses schema {ledger.schema} of {ledger}: stop it first")
    counts = (
        f"SELECT (SELECT count(*) FROM {s}.jobs), (SELECT count(*) FROM {s}.slots), (SELECT count(*) FROM {s}.replies)"
    )
    before = target.execute(counts).fetchone() or (0, 0, 0)
    if any(before):
        if target.execute(f"SELECT 1 FROM {s}.nodes WHERE session = %s", (session,)).fetchone():
            return Copied(before[0], before[1], before[2], already=True)
        raise Unusable(
            f"schema {ledger.schema} of {ledger} already has a ledger ({before[0]} jobs, {before[1]} rows of slots):"
            " only an empty one can be filled; set ledger_schema to the name of another"
        )
    sql = Statements(ledger.schema)
    under_way = _under_way(source)
    jobs = _jobs(source, {run.job: run for run in under_way})
    sql.make_jobs(target, [name for name, _ in jobs])
    sql.write_jobs(target, jobs)
    for rows in _batches(_slots(source, under_way)):
        sql.write_slots(target, node, rows)
    for done in _batches(actions.acted(*row) for row in source.execute(_ACTIONS)):
        sql.write_actions(target, node, done)
    replies = Replies(ledger.schema)
    for kept in _batches(_replies(source)):
        replies.keep(target, kept)
    if session:
        target.execute(
            f"INSERT INTO {s}.nodes (session, node, state, lease_until, place, began)"
            " VALUES (%s, %s, %s, clock_timestamp(), %s, %s)",
            (session, node, "dead" if stopped is None else "left", place, began),
        )
    made = _counts(target, s)
    (expected,) = source.execute("SELECT count(*) FROM slots").fetchone()
    running = sum(job.open is not None for _, job in jobs)
    if made[1] + running != expected:
        raise Unusable(f"{made[1] + running} of {expected} rows of slots arrived; nothing was copied")
    return Copied(*made)


def _counts(target: Connection[Any], s: str) -> tuple[int, int, int]:
    """Count the jobs, the rows of slots, and the replies."""
    jobs, slots, replies = (
        target.execute(f"SELECT count(*) FROM {s}.{table}").fetchone() or (0,) for table in ("jobs", "slots", "replies")
    )
    return jobs[0], slots[0], replies[0]


def _under_way(source: sqlite3.Connection) -> list[Ask]:
    """Return the runs that a killed daemon left open, the latest of a job last. The next daemon reports them as
    lost."""
    rows = source.execute(
        "SELECT job, due, run_id, trigger, attempt, owner FROM slots WHERE state = 'started' ORDER BY due, attempt"
    )
    return [Ask(job, due, run_id, trigger, attempt, owner) for job, due, run_id, trigger, attempt, owner in rows]


def _jobs(source: sqlite3.Connection, runs: dict[str, Ask]) -> list[tuple[str, JobRow]]:
    """Return each job with its record and its unfinished run. `runs` may have one of a removed job."""
    known = JobsTable(source).all()
    jobs = {name: JobRow(schedule=schedule, record=record, open=runs.get(name)) for name, schedule, record in known}
    return sorted(({name: JobRow(open=run) for name, run in runs.items()} | jobs).items())


def _slots(source: sqlite3.Connection, under_way: list[Ask]) -> Iterator[SlotRow]:
    """Yield all rows except the unfinished run of each job, which is in the job's row on PostgreSQL."""
    latest = {run.job: (run.due, run.attempt) for run in under_way}
    for row in source.execute(f"SELECT {_SLOT} FROM slots ORDER BY due, job, attempt"):
        slot = SlotRow(*row)
        if slot.state == "started":
            if latest[slot.job] == (slot.due, slot.attempt):
                continue
            slot.state, slot.outcome, slot.detail = "finished", "lost", NEVER_ENDED
        slot.detail = storable(slot.detail)
        yield slot


def _replies(source: sqlite3.Connection) -> Iterator[Finished]:
    rows = source.execute("SELECT job, due, attempt, finished, reply, attempts FROM replies ORDER BY finished")
    for job, due, attempt, finished, reply, attempts in rows:
        kept = times.attempts(attempts)
        yield Finished(job, due, "", "schedule", attempt, "success", finished=finished, reply=reply, attempts=kept)


def _batches(rows: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(itertools.islice(rows, AT_ONCE)):
        yield batch

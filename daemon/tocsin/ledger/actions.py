"""The table `actions`: a row for each thing that people did."""

import sqlite3
from typing import Any

from tocsin.ipc.actions import Acted, Actor
from tocsin.ipc.history import Actions
from tocsin.ipc.types import Verb, Way

FIRST_VERSION = 7  # of the tables that has this one


def add(db: sqlite3.Connection, one: Acted) -> None:
    db.execute(
        "INSERT INTO actions (at, what, job, actor, way, address, why, until, run_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (one.at, one.what, one.job, one.by.name, one.by.way, one.by.address, one.why, one.until, one.run_id),
    )


def find(db: sqlite3.Connection, asked: Actions) -> list[Acted]:
    """Newest first, and one more than asked for. None in a ledger of an earlier version, which has no such table."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version < FIRST_VERSION:
        return []
    conditions = {"job = :job": asked.job, "at >= :since": asked.since, "at < :before": asked.before}
    where = " AND ".join(["1", *(text for text, value in conditions.items() if value is not None)])
    rows = db.execute(
        "SELECT at, what, job, actor, way, address, why, until, run_id FROM actions"
        f" WHERE {where} ORDER BY at DESC, id DESC LIMIT :most",
        {"job": asked.job, "since": asked.since, "before": asked.before, "most": asked.limit + 1},
    )
    return [acted(*row) for row in rows]


def acted(at: float, what: Verb, job: str, actor: str, way: Way, address: str, *rest: Any) -> Acted:
    """Return the action that these columns of a row hold."""
    why, until, run_id = rest
    return Acted(at, what, job, Actor(actor, way, address), why, until, run_id)


def prune(db: sqlite3.Connection, before: float, most: int) -> int:
    """How many of those from before then were deleted."""
    return db.execute(
        "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE at < ? LIMIT ?)", (before, most)
    ).rowcount

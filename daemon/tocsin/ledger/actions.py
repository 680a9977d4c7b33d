"""The table `actions`: a row for each thing that people did."""

import sqlite3

from tocsin.ipc.actions import Acted


def add(db: sqlite3.Connection, one: Acted) -> None:
    db.execute(
        "INSERT INTO actions (at, what, job, actor, way, address, why, until, run_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (one.at, one.what, one.job, one.by.name, one.by.way, one.by.address, one.why, one.until, one.run_id),
    )


def prune(db: sqlite3.Connection, before: float, most: int) -> int:
    """How many of those from before then were deleted."""
    return db.execute(
        "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE at < ? LIMIT ?)", (before, most)
    ).rowcount

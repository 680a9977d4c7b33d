"""Reads the table `actions` of a ledger on PostgreSQL. Those of every node are there."""

from typing import Any

from psycopg import Connection

from tocsin.ipc.actions import Acted
from tocsin.ipc.history import Actions
from tocsin.ledger.actions import acted


def find(db: Connection[Any], schema: str, asked: Actions) -> list[Acted]:
    """Newest first, and one more than asked for. None in tables of an earlier version, which lack this one."""
    (there,) = db.execute("SELECT to_regclass(%s) IS NOT NULL", (f'"{schema}".actions',)).fetchone() or (False,)
    if not there:
        return []
    conditions = {"job = %(job)s": asked.job, "at >= %(since)s": asked.since, "at < %(before)s": asked.before}
    where = " AND ".join(["true", *(text for text, value in conditions.items() if value is not None)])
    rows = db.execute(
        "SELECT at, what, job, actor, way, address, why, until, run_id"
        f' FROM "{schema}".actions WHERE {where} ORDER BY at DESC, id DESC LIMIT %(most)s',
        {"job": asked.job, "since": asked.since, "before": asked.before, "most": asked.limit + 1},
    )
    return [acted(*row) for row in rows.fetchall()]

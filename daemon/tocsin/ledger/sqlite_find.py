"""Finds slots in a ledger in SQLite, newest first.

A question may have any filter. An index serves a filter by job, by time, or for whatever is not a success. For other
filters it looks through the rows for a limited time. Then the answer says where to continue.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from typing import Any, get_args

from tocsin.ipc.history import AT_MOST, FAILED, OneRun, Place, Question, Row, Slots
from tocsin.ipc.types import NotRunReason
from tocsin.ledger.store import Found
from tocsin.ledger.times import with_times

LOOK_THROUGH = 0.05  # seconds: the page must be there within 0.1
AT_ONCE = 2_000  # rows between looks at the clock

_COLUMNS = (
    "job, due, last, count, coalesce(outcome, reason, 'running') AS fate, attempt, detail, run_id, trigger, status,"
    " started, finished, lateness, duration, reported"
)
_OF_ONE = (
    f"SELECT {_COLUMNS}, lookup_us, connect_us, tls_us, first_byte_us, armed, tries, coalesce(reply, '') AS reply,"
    " coalesce(attempts, '') AS attempts"
    " FROM slots LEFT JOIN (SELECT job, due, attempt, reply, attempts FROM replies) USING (job, due, attempt)"
)
_TROUBLE = "state != 'started' AND outcome IS NOT 'success'"  # as in the indexes `slots_trouble…`
_RUN_ORDER = "ORDER BY job DESC, due DESC, attempt DESC"  # the order of the index `slots_run`
_ORDER = "ORDER BY due DESC, job DESC, attempt DESC"


def find(db: sqlite3.Connection, question: Question, node: str, clock: Callable[[], float] = time.monotonic) -> Found:
    """Find slots. `node` is the name of the machine, which is the same for all rows. Raises sqlite3.Error."""
    db.row_factory = sqlite3.Row
    if isinstance(question, OneRun):
        rows = db.execute(
            f"{_OF_ONE} WHERE run_id = ? {_RUN_ORDER} LIMIT ?",
            (question.run_id, AT_MOST),
        ).fetchall()
        return Found([with_times(dict(zip(row.keys(), row, strict=True)), node=node) for row in rows])
    if question.node not in (None, node):
        return Found([])
    return _slots(db, question, node, clock() + LOOK_THROUGH, clock)


def _slots(db: sqlite3.Connection, wanted: Slots, node: str, ends: float, clock: Callable[[], float]) -> Found:
    limit = max(1, min(wanted.limit, AT_MOST))
    indexed, others = _conditions(wanted)
    values = {name: getattr(wanted, name) for name in ("job", "since", "trigger", "outcome")}
    rows: list[Row] = []
    before = wanted.before
    while True:
        here = [*indexed, *_before(before)]
        place = _place(before)
        edge = None
        if others:  # the last row that is looked at this time
            edge = db.execute(
                f"SELECT due, job, attempt FROM slots WHERE {' AND '.join(here)} {_ORDER} LIMIT 1 OFFSET {AT_ONCE - 1}",
                values | place,
            ).fetchone()
        if edge:
            until = ["(due, job, attempt) >= (:to_due, :to_job, :to_attempt)", "due >= :to_due"]
            place |= {f"to_{name}": edge[name] for name in ("due", "job", "attempt")}
        else:
            until = []
        found = db.execute(
            f"SELECT {_COLUMNS} FROM slots WHERE {' AND '.join([*here, *until, *others])} {_ORDER} LIMIT :limit",
            values | place | {"limit": limit + 1 - len(rows)},
        ).fetchall()
        rows += [_row(row, node) for row in found]
        if len(rows) > limit:
            return Found(rows[:limit], rows[limit - 1].place)
        if not edge:
            return Found(rows)
        before = Place(edge["due"], edge["job"], edge["attempt"])
        if clock() >= ends:
            return Found(rows, before)


def _conditions(wanted: Slots) -> tuple[list[str], list[str]]:
    """Split the conditions into those that an index serves and the others."""
    indexed, others = ["1"], []
    if wanted.job is not None:
        indexed.append("job = :job")
    if wanted.since is not None:
        indexed.append("due >= :since")
    if wanted.trigger is not None:
        others.append("trigger = :trigger")
    match wanted.outcome:
        case None:
            pass
        case "running":
            indexed.append("state = 'started'")
        case "success":
            others.append("outcome = 'success'")
        case "failed":
            indexed.append(_TROUBLE)
            failed = ", ".join(f"'{one}'" for one in sorted(FAILED))
            others.append(f"coalesce(outcome, reason) IN ({failed})")
        case reason if reason in get_args(NotRunReason):
            indexed.append(_TROUBLE)
            others.append("reason = :outcome")
        case _:
            indexed.append(_TROUBLE)
            others.append("outcome = :outcome")
    return indexed, others


def _before(place: Place | None) -> list[str]:
    """Return the conditions for the rows before this place. With a job, the index uses the comparison of `due`."""
    return ["(due, job, attempt) < (:at_due, :at_job, :at_attempt)", "due <= :at_due"] if place else []


def _place(place: Place | None) -> dict[str, Any]:
    return {"at_due": place.due, "at_job": place.job, "at_attempt": place.attempt} if place else {}


def _row(row: sqlite3.Row, node: str) -> Row:
    values = dict(zip(row.keys(), row, strict=True))
    reported = values.pop("reported")
    return Row(**values, reported=json.loads(reported) if reported else {}, node=node)

"""Finds slots in a ledger on PostgreSQL, newest first, unfinished runs included."""

from collections.abc import Mapping
from typing import Any, get_args

from psycopg import Connection

from tocsin.ipc.history import AT_MOST, FAILED, OneRun, Question, Row, Slots
from tocsin.ipc.types import NotRunReason
from tocsin.ledger import times
from tocsin.ledger.store import Found

COLUMNS = (
    "job", "due", "attempt", "last", "count", "state", "reason", "trigger", "run_id", "owner", "node", "started",
    "finished", "lateness", "duration", "outcome", "status", "detail", "reported",
)  # fmt: skip
KEY = ("job", "due", "attempt")
_NAMES = ", ".join(COLUMNS)
_ORDER = "ORDER BY due DESC, job DESC, attempt DESC LIMIT %(limit)s"
TROUBLE = "outcome IS DISTINCT FROM 'success'"  # as in the index `slots_trouble`


def rows(db: Connection[Any], schema: str, wanted: list[str], values: dict[str, Any]) -> list[dict[str, Any]]:
    """Select the columns above for which all the conditions hold: `limit` rows, newest first."""
    s, where = f'"{schema}"', " AND ".join(["true", *wanted])
    slots = f"SELECT {_NAMES} FROM (SELECT *, NULL AS owner FROM {s}.slots) AS slots WHERE {where} {_ORDER}"
    under_way = (
        f"SELECT {_NAMES} FROM (SELECT jobs.job, open_due AS due, open_attempt AS attempt, open_due AS last,"
        " 1 AS count, 'started' AS state, NULL AS reason, open_trigger AS trigger, open_run AS run_id,"
        " open_by AS owner, node, NULL::float8 AS started, NULL::float8 AS finished, NULL::float8 AS lateness,"
        " NULL::float8 AS duration, NULL AS outcome, NULL::int4 AS status, '' AS detail, NULL::jsonb AS reported"
        f" FROM {s}.jobs LEFT JOIN {s}.nodes ON session = split_part(open_by, '/', 1) WHERE open_by IS NOT NULL)"
        f" AS under_way WHERE {where}"
    )
    found = db.execute(f"({slots}) UNION ALL ({under_way}) {_ORDER}", values).fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def places(db: Connection[Any], schema: str) -> dict[str, float]:
    """Return the due instant of the latest slot of each job."""
    s = f'"{schema}"'
    latest = (
        f"SELECT job, coalesce((SELECT max(due) FROM {s}.slots WHERE slots.job = jobs.job), open_due) FROM {s}.jobs"
    )
    return {job: due for job, due in db.execute(latest).fetchall() if due is not None}


def after(
    db: Connection[Any], schema: str, known: Mapping[str, float], since: float, limit: int
) -> list[dict[str, Any]]:
    """Return the rows of each job from its place on, else from `since`, oldest first. Runs that are under way are not
    among them."""
    s = f'"{schema}"'
    names = sorted({*known, *(job for (job,) in db.execute(f"SELECT job FROM {s}.jobs").fetchall())})
    found = db.execute(
        f"SELECT {_NAMES} FROM unnest(%s::text[], %s::float8[]) AS place (of, at) CROSS JOIN LATERAL"
        f" (SELECT *, NULL AS owner FROM {s}.slots WHERE job = place.of AND due >= place.at) AS slots"
        " ORDER BY due, job, attempt LIMIT %s",
        (names, [float(known.get(name, since)) for name in names], limit),
    ).fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def find(db: Connection[Any], schema: str, question: Question) -> Found:
    if isinstance(question, OneRun):
        return Found(_one_run(db, schema, question.run_id))
    limit = max(1, min(question.limit, AT_MOST))
    values = {name: getattr(question, name) for name in ("job", "since", "trigger", "outcome", "node")}
    values |= {"limit": limit + 1, "failed": sorted(FAILED)}
    if before := question.before:
        values |= {"at_due": before.due, "at_job": before.job, "at_attempt": before.attempt}
    found = rows(db, schema, _conditions(question), values)
    made = [_row(one) for one in found[:limit]]
    return Found(made, made[-1].place if len(found) > limit else None)


def _one_run(db: Connection[Any], schema: str, run_id: str) -> list[Row]:
    s = f'"{schema}"'
    found = rows(db, schema, ["run_id = %(run)s"], {"run": run_id, "limit": AT_MOST})
    names = (*KEY, *times.COLUMNS, "reply", "attempts")
    more = db.execute(
        f"SELECT {', '.join(names)} FROM {s}.slots LEFT JOIN (SELECT {', '.join(KEY)}, reply, attempts"
        f" FROM {s}.replies) AS kept USING (job, due, attempt) WHERE run_id = %s",
        (run_id,),
    ).fetchall()
    known = {row[: len(KEY)]: dict(zip(names, row, strict=True)) for row in more}
    nothing = dict.fromkeys(names)
    made = []
    for one in found:
        of_it = known.get(tuple(one[name] for name in KEY), nothing)
        kept = {name: of_it[name] or "" for name in ("reply", "attempts")}
        made.append(times.with_times(_values(one) | {name: of_it[name] for name in times.COLUMNS} | kept))
    return made


def _conditions(wanted: Slots) -> list[str]:
    conditions = []
    if wanted.job is not None:
        conditions.append("job = %(job)s")
    if wanted.since is not None:
        conditions.append("due >= %(since)s")
    if wanted.trigger is not None:
        conditions.append("trigger = %(trigger)s")
    if wanted.node is not None:
        conditions.append("node = %(node)s")
    if wanted.before:
        conditions.append("(due, job, attempt) < (%(at_due)s, %(at_job)s, %(at_attempt)s)")
    match wanted.outcome:
        case None:
            pass
        case "running":
            conditions.append("state = 'started'")
        case "success":
            conditions.append("outcome = 'success'")
        case "failed":
            conditions += [TROUBLE, "coalesce(outcome, reason) = ANY(%(failed)s)"]
        case reason if reason in get_args(NotRunReason):
            conditions += [TROUBLE, "reason = %(outcome)s"]
        case _:
            conditions += [TROUBLE, "outcome = %(outcome)s"]
    return conditions


def _row(one: dict[str, Any]) -> Row:
    return Row(**_values(one))


def _values(one: dict[str, Any]) -> dict[str, Any]:
    kept = ("job", "due", "last", "count", "attempt", "detail", "run_id", "trigger", "status", "started", "finished",
            "lateness", "duration")  # fmt: skip
    return {name: one[name] for name in kept} | {
        "fate": one["outcome"] or one["reason"] or "running",
        "reported": one["reported"] or {},
        "node": one["node"] or "",
    }

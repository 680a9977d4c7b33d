"""The SQL statements of the ledger on PostgreSQL: a few for a thousand entries. Each names the tables' schema."""

from collections.abc import Collection, Iterable
from typing import Any, cast

from msgspec import convert
from msgspec.json import encode
from msgspec.structs import asdict
from psycopg import Connection, Cursor

from tocsin.ipc.actions import Acted
from tocsin.ipc.job import Ask
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Trigger
from tocsin.ledger.books import JobRow, Key, SlotRow, storable

LEASE = "interval '3 seconds'"  # by the server's clock: after that another session may give this one up

_SLOT = {  # column -> type
    "job": "text", "due": "float8", "attempt": "int4", "last": "float8", "count": "int4", "state": "text",
    "reason": "text", "trigger": "text", "run_id": "text", "started": "float8", "finished": "float8",
    "lateness": "float8", "duration": "float8", "outcome": "text", "status": "int4", "detail": "text",
    "reported": "jsonb", "lookup_us": "int4", "connect_us": "int4", "tls_us": "int4", "first_byte_us": "int4",
    "armed": "int4", "tries": "int4",
}  # fmt: skip
_KEY = {name: _SLOT[name] for name in ("job", "due", "attempt")}
_LONGER = {name: _SLOT[name] for name in ("job", "due", "attempt", "last", "count")}
_JOB = {
    "job": "text", "schedule": "text", "generation": "int8", "owner": "text",
    "last_due": "float8", "since": "float8", "paused": "bool", "last_outcome": "text", "last_detail": "text",
    "last_run": "float8", "last_success": "float8", "failures": "int4",
    "more": "jsonb",
    "open_by": "text", "open_due": "float8", "open_attempt": "int4", "open_run": "text", "open_trigger": "text",
}  # fmt: skip
_RECORD = {  # column -> field of JobRecord; the column `more` has the others, so that a new field needs no column
    "last_due": "accounted", "since": "since", "paused": "paused", "last_outcome": "last_outcome",
    "last_detail": "last_detail", "last_run": "last_run", "last_success": "last_success",
    "failures": "consecutive_failures",
}  # fmt: skip
_ACTION = {
    "at": "float8", "what": "text", "job": "text", "actor": "text", "way": "text", "address": "text", "why": "text",
    "until": "float8", "run_id": "text",
}  # fmt: skip
_UNKNOWN = JobRecord(0)  # for the row of a job that is not enrolled


class Statements:
    def __init__(self, schema: str) -> None:
        s = f'"{schema}"'
        slot, job = ", ".join(_SLOT), ", ".join(_JOB)
        self.fence = (
            f"SELECT seq FROM {s}.nodes WHERE session = %s AND epoch = %s AND state IN ('live', 'leaving') FOR UPDATE"
        )
        self.renew = (
            f"UPDATE {s}.nodes SET lease_until = clock_timestamp() + {LEASE}, seq = greatest(seq, %(seq)s),"
            " began = CASE WHEN abs(began - %(began)s) < %(step)s THEN began"
            f" WHEN EXISTS (SELECT 1 FROM {s}.jobs WHERE open_by IS NOT NULL) THEN NULL ELSE %(began)s END"
            " WHERE session = %(session)s"
        )
        self.beat = (
            f"UPDATE {s}.nodes SET lease_until = clock_timestamp() + {LEASE}"
            " WHERE session = %s AND epoch = %s AND state IN ('live', 'leaving') RETURNING seq"
        )
        self.leave = f"UPDATE {s}.nodes SET state = 'left', lease_until = clock_timestamp() WHERE session = %s"
        self.nodes = (
            "SELECT session, node, epoch, state, place, began, seq, lease_until < clock_timestamp()"
            f" FROM {s}.nodes ORDER BY joined FOR UPDATE"
        )
        self.give_up = f"UPDATE {s}.nodes SET state = 'dead', epoch = epoch + 1 WHERE session = %s"
        self.join = (
            f"INSERT INTO {s}.nodes (session, node, state, lease_until, version, place, began)"
            f" VALUES (%s, %s, 'live', clock_timestamp() + {LEASE}, %s, %s, %s)"
        )
        self.bury = (
            f"DELETE FROM {s}.nodes WHERE state IN ('left', 'dead') AND lease_until < clock_timestamp() - interval '1h'"
        )
        self._jobs = f"SELECT {job} FROM {s}.jobs"
        self._taken = (
            f"SELECT job, due, attempt, state FROM {s}.slots JOIN unnest({_arrays(_KEY)})"
            " AS asked (job, due, attempt) USING (job, due, attempt)"
        )
        self._newest = (
            f"SELECT newest.* FROM unnest(%s::text[]) AS named (job) CROSS JOIN LATERAL (SELECT {slot}"
            f" FROM {s}.slots WHERE slots.job = named.job ORDER BY due DESC, attempt DESC LIMIT 1) newest"
        )
        self._insert_slots = (
            f"INSERT INTO {s}.slots ({slot}, node) SELECT {_cast(_SLOT, 'made')}, %s"
            f" FROM unnest({_arrays(_SLOT)}) AS made ({slot})"
            " ON CONFLICT DO NOTHING"
        )
        self._continue_slots = (
            f"UPDATE {s}.slots SET last = longer.last, count = longer.count"
            f" FROM unnest({_arrays(_LONGER)}) AS longer ({', '.join(_LONGER)})"
            " WHERE (slots.job, slots.due, slots.attempt) = (longer.job, longer.due, longer.attempt)"
        )
        self._insert_jobs = (
            f"INSERT INTO {s}.jobs ({job}) SELECT {_cast(_JOB, 'made')} FROM unnest({_arrays(_JOB)}) AS made ({job})"
        )
        sets = f"({job}) = ROW ({_cast(_JOB, 'changed')})"
        self._update_jobs = (
            f"UPDATE {s}.jobs SET {sets} FROM unnest({_arrays(_JOB)}) AS changed ({job}) WHERE jobs.job = changed.job"
        )
        self._delete_jobs = f"DELETE FROM {s}.jobs WHERE job = ANY(%s)"
        self._insert_actions = (
            f"INSERT INTO {s}.actions ({', '.join(_ACTION)}, node)"
            f" SELECT made.*, %s FROM unnest({_arrays(_ACTION)}) AS made"
        )
        self._prune_actions = f"DELETE FROM {s}.actions WHERE id IN (SELECT id FROM {s}.actions WHERE at < %s LIMIT %s)"
        self._prune = (
            f"WITH gone AS (DELETE FROM {s}.slots WHERE id IN (SELECT id FROM {s}.slots WHERE due < %s AND last < %s"
            " LIMIT %s) RETURNING 1) SELECT count(*) FROM gone"
        )
        self._pruned = f"UPDATE {s}.meta SET pruned_at = clock_timestamp()"

    # ---- reading (in a pipeline: the answers come when the rows are fetched)

    def jobs(self, db: Connection[Any], names: Collection[str] | None) -> Cursor[Any]:
        """Select the jobs of these names, or all if None, and all jobs with an unfinished run."""
        if names is None:
            return db.execute(self._jobs)
        return db.execute(f"{self._jobs} WHERE job = ANY(%s)", (list(names),))

    def open_jobs(self, db: Connection[Any]) -> Cursor[Any]:
        return db.execute(f"{self._jobs} WHERE open_by IS NOT NULL ORDER BY open_due FOR UPDATE")

    def taken(self, db: Connection[Any], keys: Collection[Key]) -> Cursor[Any]:
        return db.execute(self._taken, _columns(keys, _KEY))

    def newest(self, db: Connection[Any], names: Collection[str]) -> Cursor[Any]:
        return db.execute(self._newest, (list(names),))

    # ---- writing

    def write_slots(
        self, db: Connection[Any], node: str, new: Collection[SlotRow], continued: Collection[SlotRow]
    ) -> None:
        if new:
            rows = [tuple(getattr(row, name) for name in _SLOT) for row in new]
            db.execute(self._insert_slots, [node, *_columns(rows, _SLOT)])
        if continued:
            longer = [(row.job, row.due, row.attempt, row.last, row.count) for row in continued]
            db.execute(self._continue_slots, _columns(longer, _LONGER))

    def write_jobs(self, db: Connection[Any], changed: Iterable[tuple[str, JobRow]]) -> None:
        made: list[tuple[Any, ...]] = []
        updated: list[tuple[Any, ...]] = []
        gone: list[str] = []
        for name, job in changed:
            if job.forgotten:
                gone.append(name)
            else:
                (updated if job.stored else made).append(_job_values(name, job))
        if gone:
            db.execute(self._delete_jobs, (gone,))
        if updated:
            db.execute(self._update_jobs, _columns(updated, _JOB))
        if made:
            db.execute(self._insert_jobs, _columns(made, _JOB))

    def write_actions(self, db: Connection[Any], node: str, acted: Collection[Acted]) -> None:
        if acted:
            rows = [
                (
                    *(one.at, one.what, one.job, storable(one.by.name), one.by.way, storable(one.by.address)),
                    *(storable(one.why), one.until, one.run_id),
                )
                for one in acted
            ]
            db.execute(self._insert_actions, [node, *_columns(rows, _ACTION)])

    def prune(self, db: Connection[Any], before: float, most: int) -> int:
        """Delete rows of slots that ended before this Unix time. Returns how many."""
        (gone,) = db.execute(self._prune, (before, before, most)).fetchone() or (0,)
        db.execute(self._prune_actions, (before, most))
        db.execute(self._pruned)
        return int(gone)


def job_row(row: tuple[Any, ...]) -> tuple[str, JobRow]:
    one = dict(zip(_JOB, row, strict=True))
    name, schedule, by = one["job"], one["schedule"], one["open_by"]
    record = under_way = None
    if schedule is not None:
        known = {field: one[column] for column, field in _RECORD.items()} | {"accounted": int(one["last_due"])}
        record = convert(known | one["more"], JobRecord)
    if by is not None:
        trigger = cast(Trigger, one["open_trigger"])
        under_way = Ask(name, one["open_due"], one["open_run"], trigger, one["open_attempt"], by)
    return name, JobRow(schedule, one["generation"], one["owner"], record, under_way, stored=True)


def _job_values(name: str, job: JobRow) -> tuple[Any, ...]:
    known = asdict(job.record or _UNKNOWN)
    known |= {field: storable(known[field]) for field in ("last_detail", "paused_why", "paused_by")}
    columns = [known.pop(field) for field in _RECORD.values()]
    run = job.open
    under_way = (run.owner, run.due, run.attempt, run.run_id, run.trigger) if run else (None,) * 5
    return name, job.schedule, job.generation, job.owner, *columns, encode(known).decode(), *under_way


def _arrays(types: dict[str, str]) -> str:
    """The parameters of `unnest`. JSON is sent as text."""
    return ", ".join(f"%s::{'text' if kind == 'jsonb' else kind}[]" for kind in types.values())


def _cast(types: dict[str, str], source: str) -> str:
    """The columns that `unnest` returns."""
    return ", ".join(f"{source}.{name}{'::jsonb' * (kind == 'jsonb')}" for name, kind in types.items())


def _columns(rows: Iterable[tuple[Any, ...]], types: dict[str, str]) -> list[list[Any]]:
    """Turn rows into one array for each column. psycopg does not accept an array that mixes integers and floats."""
    columns = list(map(list, zip(*rows, strict=True)))
    for number, kind in enumerate(types.values()):
        if kind == "float8":
            columns[number] = [None if value is None else float(value) for value in columns[number]]
    return columns

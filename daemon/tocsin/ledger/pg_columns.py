"""The columns of the tables on PostgreSQL, and how jobs, slots and actions become their values and are read back."""

from collections.abc import Iterable
from typing import Any, cast

from msgspec import convert
from msgspec.json import encode
from msgspec.structs import asdict

from tocsin.ipc.actions import Acted
from tocsin.ipc.job import Ask
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Trigger
from tocsin.ledger.rows import JobRow, Key, SlotRow, Taken, storable

SLOT = {  # column -> type
    "job": "text", "due": "float8", "attempt": "int4", "last": "float8", "count": "int4", "state": "text",
    "reason": "text", "trigger": "text", "run_id": "text", "started": "float8", "finished": "float8",
    "lateness": "float8", "duration": "float8", "outcome": "text", "status": "int4", "detail": "text",
    "reported": "jsonb", "lookup_us": "int4", "connect_us": "int4", "tls_us": "int4", "first_byte_us": "int4",
    "armed": "int4", "tries": "int4",
}  # fmt: skip
KEY = {name: SLOT[name] for name in ("job", "due", "attempt")}
LONGER = {name: SLOT[name] for name in ("job", "due", "attempt", "last", "count")}
JOB = {
    "job": "text", "schedule": "text", "generation": "int8", "owner": "text",
    "last_due": "float8", "since": "float8", "paused": "bool", "last_outcome": "text", "last_detail": "text",
    "last_run": "float8", "last_success": "float8", "failures": "int4",
    "more": "jsonb",
    "open_by": "text", "open_due": "float8", "open_attempt": "int4", "open_run": "text", "open_trigger": "text",
    "why": "text",
}  # fmt: skip
_RECORD = {  # column -> field of JobRecord; the column `more` has the others, so that a new field needs no column
    "last_due": "accounted", "since": "since", "paused": "paused", "last_outcome": "last_outcome",
    "last_detail": "last_detail", "last_run": "last_run", "last_success": "last_success",
    "failures": "consecutive_failures",
}  # fmt: skip
ACTION = {
    "at": "float8", "what": "text", "job": "text", "actor": "text", "way": "text", "address": "text", "why": "text",
    "until": "float8", "run_id": "text",
}  # fmt: skip
_UNKNOWN = JobRecord(0)  # for the row of a job that is not enrolled


def job_row(row: tuple[Any, ...]) -> tuple[str, JobRow]:
    one = dict(zip(JOB, row, strict=True))
    name, schedule, by = one["job"], one["schedule"], one["open_by"]
    record = under_way = None
    extra = {field: value for field, value in one["more"].items() if field not in JobRecord.__struct_fields__}
    if schedule is not None:
        known = {field: one[column] for column, field in _RECORD.items()} | {"accounted": int(one["last_due"])}
        record = convert(known | one["more"], JobRecord)
    if by is not None:
        trigger = cast(Trigger, one["open_trigger"])
        under_way = Ask(name, one["open_due"], one["open_run"], trigger, one["open_attempt"], by)
    return name, JobRow(schedule, one["generation"], one["owner"], record, under_way, one["why"], extra=extra)


def taken(rows: Iterable[tuple[Any, ...]]) -> dict[Key, Taken]:
    return {(job, due, attempt): Taken(*known) for job, due, attempt, *known in rows}


def job_values(name: str, job: JobRow) -> tuple[Any, ...]:
    known = asdict(job.record or _UNKNOWN)
    known |= {field: storable(known[field]) for field in ("last_detail", "paused_why", "paused_by")}
    columns = [known.pop(field) for field in _RECORD.values()]
    run = job.open
    under_way = (run.owner, run.due, run.attempt, run.run_id, run.trigger) if run else (None,) * 5
    return (
        name,
        job.schedule,
        job.generation,
        job.owner,
        *columns,
        encode(known | job.extra).decode(),
        *under_way,
        job.why,
    )


def slot_values(row: SlotRow) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in SLOT)


def action_values(one: Acted) -> tuple[Any, ...]:
    by = storable(one.by.name), one.by.way, storable(one.by.address)
    return one.at, one.what, one.job, *by, storable(one.why), one.until, one.run_id


def arrays(types: dict[str, str]) -> str:
    """The parameters of `unnest`. JSON is sent as text."""
    return ", ".join(f"%s::{'text' if kind == 'jsonb' else kind}[]" for kind in types.values())


def cast_to(types: dict[str, str], source: str) -> str:
    """The columns that `unnest` returns."""
    return ", ".join(f"{source}.{name}{'::jsonb' * (kind == 'jsonb')}" for name, kind in types.items())


def to_columns(rows: Iterable[tuple[Any, ...]], types: dict[str, str]) -> list[list[Any]]:
    """Turn rows into one array for each column. psycopg does not accept an array that mixes integers and floats."""
    columns = list(map(list, zip(*rows, strict=True)))
    for number, kind in enumerate(types.values()):
        if kind == "float8":
            columns[number] = [None if value is None else float(value) for value in columns[number]]
    return columns

"""The SQL statements of the ledger on PostgreSQL: a few for a thousand entries. Each names the tables' schema."""

from collections.abc import Collection, Iterable
from typing import Any, cast

from msgspec import convert
from msgspec.json import encode
from msgspec.structs import asdict, replace
from psycopg import Connection, Cursor

from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import Roster
from tocsin.ipc.job import Ask, Pause
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Trigger
from tocsin.ledger.rows import JobRow, Key, SlotRow, Taken, storable

LEASE = "interval '3 seconds'"  # of `peers.LEASE`, by the server's clock
AGAIN = "interval '10 seconds'"  # of news that are read again: a row may show up later than one with a higher number

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
    "why": "text",
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
        self.schema = schema
        s = f'"{schema}"'
        slot, job = ", ".join(_SLOT), ", ".join(_JOB)
        here = "session = %(session)s AND epoch = %(epoch)s AND state <> 'dead'"
        self.fence = f"SELECT seq FROM {s}.nodes WHERE {here} FOR UPDATE"
        self.renew = (
            f"UPDATE {s}.nodes SET lease_until = clock_timestamp() + {LEASE}, seq = greatest(seq, %(seq)s),"
            " began = CASE WHEN abs(began - %(began)s) < %(step)s THEN began"
            f" WHEN EXISTS (SELECT 1 FROM {s}.jobs WHERE open_by IS NOT NULL) THEN NULL ELSE %(began)s END"
            f", clock_off = coalesce(%(clock_off)s, clock_off) WHERE {here}"
        )
        self.say = (
            f"UPDATE {s}.nodes SET state = coalesce(%(state)s, state), roster = coalesce(%(roster)s, roster)"
            f" WHERE {here}"
        )
        self.leave = f"UPDATE {s}.nodes SET state = 'left', lease_until = clock_timestamp() WHERE session = %s"
        self.nodes = (
            "SELECT session, node, epoch, state, place, began, seq,"
            " extract(epoch FROM lease_until - clock_timestamp())::float8, version, roster, clock_off"
            f" FROM {s}.nodes ORDER BY joined, session"
        )
        self.give_up = (
            f"UPDATE {s}.nodes SET state = 'dead', epoch = epoch + 1 WHERE session = %s AND epoch = %s"
            " AND state IN ('live', 'leaving') AND lease_until < clock_timestamp() RETURNING node"
        )
        self.bury = f"UPDATE {s}.nodes SET state = 'dead', epoch = epoch + 1 WHERE session = %s AND state <> 'dead'"
        self.join = (
            f"INSERT INTO {s}.nodes (session, node, epoch, state, lease_until, version, place, began)"
            " VALUES (%(session)s, %(node)s, %(epoch)s, 'live', "
            f"clock_timestamp() + {LEASE}, %(version)s, %(place)s, %(began)s)"
            " ON CONFLICT (session) DO UPDATE SET state = 'live', lease_until = excluded.lease_until"
            f" WHERE {s}.nodes.state = 'dead' RETURNING epoch"
        )
        self.sweep = (
            f"DELETE FROM {s}.nodes WHERE state IN ('left', 'dead') AND lease_until < clock_timestamp() - interval '1h'"
        )
        self.sweep_rosters = (
            f"DELETE FROM {s}.rosters WHERE hash NOT IN (SELECT roster FROM {s}.nodes WHERE roster IS NOT NULL)"
            " AND told < clock_timestamp() - interval '1h'"
        )
        self.sweep_news = f"DELETE FROM {s}.news WHERE at < clock_timestamp() - interval '1h'"
        self._roster = (
            f"INSERT INTO {s}.rosters (hash, job, definition)"
            " SELECT %s, job, definition FROM unnest(%s::text[], %s::text[]) AS told (job, definition)"
            " ON CONFLICT (hash, job) DO UPDATE SET told = clock_timestamp()"
        )
        self.roster = f"SELECT job, definition FROM {s}.rosters WHERE hash = %s ORDER BY job"
        self._news = (
            f"INSERT INTO {s}.news (session, what) SELECT %s, what::jsonb FROM unnest(%s::text[]) AS told (what)"
        )
        self.news = (
            f"SELECT id, what FROM {s}.news WHERE session <> %s"
            f" AND at > coalesce(to_timestamp(%s), clock_timestamp()) - {AGAIN}"
            " ORDER BY id"
        )
        self.paused = f"SELECT job, paused FROM {s}.jobs WHERE job = ANY(%s)"
        self.clock = f"SELECT extract(epoch FROM clock_timestamp())::float8, schema, oldest_reader FROM {s}.meta"
        rosters = (  # of the newest session of each node, also of one that is away
            f"SELECT rosters.job FROM {s}.rosters JOIN (SELECT DISTINCT ON (node) roster FROM {s}.nodes"
            " ORDER BY node, joined DESC) newest ON hash = roster"
        )
        mine = "schedule IS NOT NULL AND (owner IS NULL OR owner = %s)"
        self.unnamed = f"SELECT job FROM {s}.jobs WHERE {mine} AND job NOT IN ({rosters})"
        self.rest = (  # disabled on every node that has it: none of its slots is due, whatever its schedule becomes
            f"UPDATE {s}.jobs SET schedule = '' WHERE {mine} AND schedule <> '' AND job IN ({rosters})"
            f" AND job NOT IN ({rosters} WHERE definition <> '')"
        )
        self.claimable = f"SELECT job FROM {s}.jobs WHERE job = ANY(%s) AND (owner IS NULL OR owner = %s)"
        self._make_jobs = f"INSERT INTO {s}.jobs (job) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
        self._jobs = f"SELECT {job} FROM {s}.jobs WHERE job = ANY(%s) ORDER BY job FOR UPDATE"  # one order: no deadlock
        live = f"FROM {s}.nodes WHERE state IN ('live', 'leaving')"
        owner_over = f"owner IS NOT NULL AND owner NOT IN (SELECT session || ':' || epoch {live})"
        run_over = f"open_by IS NOT NULL AND split_part(open_by, '/', 1) NOT IN (SELECT session {live})"
        self.disown = f"UPDATE {s}.jobs SET owner = NULL, why = %s WHERE {owner_over}"
        self._orphans = (
            f"SELECT {job}, {owner_over}, {run_over} FROM {s}.jobs WHERE ({owner_over}) OR ({run_over})"
            " ORDER BY job FOR UPDATE"
        )
        self._taken = (
            f"SELECT job, due, attempt, state, outcome, run_id FROM {s}.slots JOIN unnest({_arrays(_KEY)})"
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
        changed = ", ".join(f"{name} = made.{name}" for name in _SLOT if name not in _KEY)
        self._replace_slots = (
            f"UPDATE {s}.slots SET {changed.replace('made.reported', 'made.reported::jsonb')}, node = %s"
            f" FROM unnest({_arrays(_SLOT)}) AS made ({slot})"
            " WHERE (slots.job, slots.due, slots.attempt) = (made.job, made.due, made.attempt)"
        )
        self._continue_slots = (
            f"UPDATE {s}.slots SET last = longer.last, count = longer.count"
            f" FROM unnest({_arrays(_LONGER)}) AS longer ({', '.join(_LONGER)})"
            " WHERE (slots.job, slots.due, slots.attempt) = (longer.job, longer.due, longer.attempt)"
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
        self._prunes = (
            f"UPDATE {s}.meta SET pruned_at = to_timestamp(%(now)s) WHERE %(going_on)s"
            " OR pruned_at NOT BETWEEN to_timestamp(%(now)s - %(every)s) AND to_timestamp(%(now)s) RETURNING 1"
        )

    # ---- reading (in a pipeline: the answers come when the rows are fetched)

    def jobs(self, db: Connection[Any], names: Collection[str]) -> Cursor[Any]:
        """Of these names; nobody else changes them until this transaction ends."""
        return db.execute(self._jobs, (list(names),))

    def orphans(self, db: Connection[Any]) -> Cursor[Any]:
        """The jobs of sessions that are over: those they own, and those of which they have a run under way."""
        return db.execute(self._orphans)

    def taken(self, db: Connection[Any], keys: Collection[Key]) -> Cursor[Any]:
        return db.execute(self._taken, _columns(keys, _KEY))

    def newest(self, db: Connection[Any], names: Collection[str]) -> Cursor[Any]:
        return db.execute(self._newest, (list(names),))

    # ---- writing

    def make_jobs(self, db: Connection[Any], names: Collection[str]) -> None:
        """Rows of jobs that have none: two nodes may do so at once."""
        db.execute(self._make_jobs, (sorted(names),))

    def write_roster(self, db: Connection[Any], part: Roster) -> None:
        db.execute(self._roster, (part.hash, list(part.jobs), list(part.jobs.values())))

    def write_news(self, db: Connection[Any], session: str, news: Collection[Pause]) -> None:
        plain = [replace(one, why=storable(one.why), by=storable(one.by)) for one in news]
        db.execute(self._news, (session, [encode(one).decode() for one in plain]))

    def write_slots(
        self,
        db: Connection[Any],
        node: str,
        new: Collection[SlotRow],
        replaced: Collection[SlotRow] = (),
        continued: Collection[SlotRow] = (),
    ) -> None:
        for rows, statement in ((new, self._insert_slots), (replaced, self._replace_slots)):
            if rows:
                values = [tuple(getattr(row, name) for name in _SLOT) for row in rows]
                db.execute(statement, [node, *_columns(values, _SLOT)])
        if continued:
            longer = [(row.job, row.due, row.attempt, row.last, row.count) for row in continued]
            db.execute(self._continue_slots, _columns(longer, _LONGER))

    def write_jobs(self, db: Connection[Any], changed: Iterable[tuple[str, JobRow]]) -> None:
        updated: list[tuple[Any, ...]] = []
        gone: list[str] = []
        for name, job in changed:
            if job.forgotten:
                gone.append(name)
            else:
                updated.append(_job_values(name, job))
        if gone:
            db.execute(self._delete_jobs, (gone,))
        if updated:
            db.execute(self._update_jobs, _columns(updated, _JOB))

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

    def may_prune(self, db: Connection[Any], now: float, every: float, *, going_on: bool) -> bool:
        """Whether no node has deleted old rows in the `every` seconds before `now`, or this one is still at it."""
        values = {"now": now, "every": every, "going_on": going_on}
        return db.execute(self._prunes, values).fetchone() is not None

    def prune(self, db: Connection[Any], before: float, most: int) -> int:
        """Delete rows of slots that ended before this Unix time. Returns how many."""
        for sweep in (self.sweep, self.sweep_rosters, self.sweep_news):
            db.execute(sweep)
        (gone,) = db.execute(self._prune, (before, before, most)).fetchone() or (0,)
        db.execute(self._prune_actions, (before, most))
        return int(gone)


def job_row(row: tuple[Any, ...]) -> tuple[str, JobRow]:
    one = dict(zip(_JOB, row, strict=True))
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


def _job_values(name: str, job: JobRow) -> tuple[Any, ...]:
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

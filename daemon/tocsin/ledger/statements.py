"""The SQL statements of the ledger on PostgreSQL: a few for a thousand entries. Each names the tables' schema."""

from collections.abc import Collection, Iterable
from typing import Any

from msgspec.json import encode
from msgspec.structs import replace
from psycopg import Connection, Cursor

from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import Roster
from tocsin.ipc.job import Pause
from tocsin.ledger.pg_columns import (
    ACTION,
    JOB,
    KEY,
    LONGER,
    SLOT,
    action_values,
    arrays,
    cast_to,
    job_values,
    slot_values,
    to_columns,
)
from tocsin.ledger.rows import JobRow, Key, SlotRow, storable

LEASE = "interval '3 seconds'"  # `peers.LEASE`, by the server's clock
AGAIN = "interval '10 seconds'"  # news of this time are read again: a row may appear after one with a higher number


class Statements:
    def __init__(self, schema: str) -> None:
        self.schema = schema
        s = f'"{schema}"'
        slot, job = ", ".join(SLOT), ", ".join(JOB)
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
        self.away = (  # a page of the jobs that this node does not own, by name
            "SELECT job, coalesce(node, ''), last_outcome, left(last_detail, %s), last_run, last_success, failures"
            f" FROM {s}.jobs LEFT JOIN {s}.nodes ON session || ':' || epoch = owner AND state IN ('live', 'leaving')"
            " WHERE job > %s AND schedule IS NOT NULL AND owner IS DISTINCT FROM %s ORDER BY job LIMIT %s"
        )
        self.clock = f"SELECT extract(epoch FROM clock_timestamp())::float8, schema, oldest_reader FROM {s}.meta"
        rosters = (  # of the newest session of each node, also if that has ended
            f"SELECT rosters.job FROM {s}.rosters JOIN (SELECT DISTINCT ON (node) roster FROM {s}.nodes"
            " ORDER BY node, joined DESC) newest ON hash = roster"
        )
        mine = "schedule IS NOT NULL AND (owner IS NULL OR owner = %s)"
        self.unnamed = f"SELECT job FROM {s}.jobs WHERE {mine} AND job NOT IN ({rosters})"
        self.rest = (  # disabled on every node that has it: none of its slots is due, even if its schedule changes
            f"UPDATE {s}.jobs SET schedule = '' WHERE {mine} AND schedule <> '' AND job IN ({rosters})"
            f" AND job NOT IN ({rosters} WHERE definition <> '')"
        )
        self.claimable = f"SELECT job FROM {s}.jobs WHERE job = ANY(%s) AND (owner IS NULL OR owner = %s)"
        self._make_jobs = f"INSERT INTO {s}.jobs (job) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING RETURNING job"
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
            f"SELECT job, due, attempt, state, outcome, run_id FROM {s}.slots JOIN unnest({arrays(KEY)})"
            " AS asked (job, due, attempt) USING (job, due, attempt)"
        )
        self._newest = (
            f"SELECT newest.* FROM unnest(%s::text[]) AS named (job) CROSS JOIN LATERAL (SELECT {slot}"
            f" FROM {s}.slots WHERE slots.job = named.job ORDER BY due DESC, attempt DESC LIMIT 1) newest"
        )
        self._insert_slots = (
            f"INSERT INTO {s}.slots ({slot}, node) SELECT {cast_to(SLOT, 'made')}, %s"
            f" FROM unnest({arrays(SLOT)}) AS made ({slot})"
            " ON CONFLICT DO NOTHING"
        )
        changed = ", ".join(f"{name} = made.{name}" for name in SLOT if name not in KEY)
        self._replace_slots = (
            f"UPDATE {s}.slots SET {changed.replace('made.reported', 'made.reported::jsonb')}, node = %s"
            f" FROM unnest({arrays(SLOT)}) AS made ({slot})"
            " WHERE (slots.job, slots.due, slots.attempt) = (made.job, made.due, made.attempt)"
        )
        self._continue_slots = (
            f"UPDATE {s}.slots SET last = longer.last, count = longer.count"
            f" FROM unnest({arrays(LONGER)}) AS longer ({', '.join(LONGER)})"
            " WHERE (slots.job, slots.due, slots.attempt) = (longer.job, longer.due, longer.attempt)"
        )
        sets = f"({job}) = ROW ({cast_to(JOB, 'changed')})"
        self._update_jobs = (
            f"UPDATE {s}.jobs SET {sets} FROM unnest({arrays(JOB)}) AS changed ({job}) WHERE jobs.job = changed.job"
        )
        self._delete_jobs = f"DELETE FROM {s}.jobs WHERE job = ANY(%s)"
        self._insert_actions = (
            f"INSERT INTO {s}.actions ({', '.join(ACTION)}, node)"
            f" SELECT made.*, %s FROM unnest({arrays(ACTION)}) AS made"
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
        """Read the rows of these jobs. Nobody else can change them until this transaction ends."""
        return db.execute(self._jobs, (list(names),))

    def orphans(self, db: Connection[Any]) -> Cursor[Any]:
        """Read the jobs that belong to ended sessions, as their owner or by an unfinished run."""
        return db.execute(self._orphans)

    def taken(self, db: Connection[Any], keys: Collection[Key]) -> Cursor[Any]:
        return db.execute(self._taken, to_columns(keys, KEY))

    def newest(self, db: Connection[Any], names: Collection[str]) -> Cursor[Any]:
        return db.execute(self._newest, (list(names),))

    # ---- writing

    def make_jobs(self, db: Connection[Any], names: Collection[str]) -> set[str]:
        """Make rows for jobs without one. Two nodes may do so at once: returns the jobs whose rows are this one's."""
        return {name for (name,) in db.execute(self._make_jobs, (sorted(names),)).fetchall()}

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
                db.execute(statement, [node, *to_columns(map(slot_values, rows), SLOT)])
        if continued:
            longer = [(row.job, row.due, row.attempt, row.last, row.count) for row in continued]
            db.execute(self._continue_slots, to_columns(longer, LONGER))

    def write_jobs(self, db: Connection[Any], changed: Iterable[tuple[str, JobRow]]) -> None:
        updated: list[tuple[Any, ...]] = []
        gone: list[str] = []
        for name, job in changed:
            if job.forgotten:
                gone.append(name)
            else:
                updated.append(job_values(name, job))
        if gone:
            db.execute(self._delete_jobs, (gone,))
        if updated:
            db.execute(self._update_jobs, to_columns(updated, JOB))

    def write_actions(self, db: Connection[Any], node: str, acted: Collection[Acted]) -> None:
        if acted:
            db.execute(self._insert_actions, [node, *to_columns(map(action_values, acted), ACTION)])

    def may_prune(self, db: Connection[Any], now: float, every: float, *, going_on: bool) -> bool:
        """Whether no node has deleted old rows in the `every` seconds before `now`, or this node is still deleting."""
        values = {"now": now, "every": every, "going_on": going_on}
        return db.execute(self._prunes, values).fetchone() is not None

    def prune(self, db: Connection[Any], before: float, most: int) -> int:
        """Delete rows of slots that ended before this Unix time. Returns how many."""
        for sweep in (self.sweep, self.sweep_rosters, self.sweep_news):
            db.execute(sweep)
        (gone,) = db.execute(self._prune, (before, before, most)).fetchone() or (0,)
        db.execute(self._prune_actions, (before, most))
        return int(gone)

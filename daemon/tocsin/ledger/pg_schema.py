"""The tables of the ledger on PostgreSQL, which several nodes share.

An unfinished run is kept in its job's row. Its row in `slots` is written once, when it ends. Statements name the schema
of each table, because a pooler in transaction mode keeps no search_path. A change only adds to the tables, and is a new
version. `meta.oldest_reader` is the oldest version that a program must know to use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tocsin.ledger.store import Unusable

if TYPE_CHECKING:  # psycopg is an extra
    from psycopg import Connection

VERSION = 2
LOCK = 0x70C51D  # of pg_advisory_xact_lock: one session at a time creates tables or opens the ledger

_REPLIES = (
    """
CREATE TABLE IF NOT EXISTS {s}.replies (                  -- what is kept of runs, for a shorter time than their slots
    job text NOT NULL, due double precision NOT NULL, attempt integer NOT NULL,
    finished double precision NOT NULL, reply text NOT NULL,
    attempts text NOT NULL DEFAULT '',      -- what was sent and what came back, as JSON (tocsin.ipc.tried)
    PRIMARY KEY (job, due, attempt)
)""",
    "CREATE INDEX IF NOT EXISTS replies_finished ON {s}.replies (finished)",
)

_ACTIONS = (
    """
CREATE TABLE IF NOT EXISTS {s}.actions (                  -- what people did: fire, pause, resume, reload
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at double precision NOT NULL, what text NOT NULL,
    job text NOT NULL,                      -- '' for a reload
    actor text NOT NULL,                    -- a user, or where a token comes from
    way text NOT NULL, address text NOT NULL, why text NOT NULL,
    until double precision,                 -- the end of a pause
    run_id text,                            -- of a fire
    node text NOT NULL                      -- whose daemon was asked
)""",
    "CREATE INDEX IF NOT EXISTS actions_at ON {s}.actions (at)",
    "CREATE INDEX IF NOT EXISTS actions_of ON {s}.actions (job, at)",
)

_SCHEMA = (
    """
CREATE TABLE {s}.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema integer NOT NULL,
    oldest_reader integer NOT NULL,
    pruned_at timestamptz NOT NULL DEFAULT clock_timestamp()
)""",
    """
CREATE TABLE {s}.nodes (
    session text PRIMARY KEY,               -- one life of a daemon
    node text NOT NULL,
    epoch integer NOT NULL DEFAULT 1,       -- how often it was given up, plus one
    state text NOT NULL CHECK (state IN ('live', 'leaving', 'left', 'dead')),
    lease_until timestamptz NOT NULL,       -- by this server's clock
    seq bigint NOT NULL DEFAULT 0,          -- entries of this session up to here are applied
    roster text,                            -- the `rosters` of its job file
    version text NOT NULL DEFAULT '',
    clock_off double precision,
    place text NOT NULL DEFAULT '',         -- the boot and the state folder, which one daemon at a time locks
    began double precision,                 -- boot time of that machine, by its clock; NULL if the clock was set
    joined timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 20)""",
    "CREATE UNIQUE INDEX nodes_node ON {s}.nodes (node) WHERE state IN ('live', 'leaving')",
    """
CREATE TABLE {s}.jobs (
    job text PRIMARY KEY,
    schedule text,                          -- NULL: not enrolled, only kept for an unfinished run
    generation bigint NOT NULL DEFAULT 0,   -- the last load of the job file that named it
    owner text,                             -- session:epoch
    last_due double precision NOT NULL DEFAULT 0,
    paused boolean NOT NULL DEFAULT false,
    since double precision NOT NULL DEFAULT 0,
    open_by text,                           -- session/child that was granted the unfinished run
    open_due double precision, open_attempt integer, open_run text, open_trigger text,
    why text,                               -- what keeps its slots from running while it has no owner
    last_outcome text, last_detail text NOT NULL DEFAULT '',
    last_run double precision, last_success double precision,
    failures integer NOT NULL DEFAULT 0,
    more jsonb NOT NULL DEFAULT '{{}}'      -- the other fields of JobRecord
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)""",
    """
CREATE TABLE {s}.slots (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    job text NOT NULL,
    due double precision NOT NULL,          -- Unix time; of a series of slots, the first
    attempt integer NOT NULL DEFAULT 0,
    last double precision NOT NULL,         -- of a series of slots, the last; else = due
    count integer NOT NULL DEFAULT 1,
    state text NOT NULL CHECK (state IN ('finished', 'skipped', 'missed')),
    reason text, trigger text, run_id text, node text,
    started double precision, finished double precision, lateness double precision, duration double precision,
    outcome text, status integer, detail text NOT NULL DEFAULT '', reported jsonb,
    lookup_us integer, connect_us integer, tls_us integer, first_byte_us integer, armed integer,
    tries integer,                          -- attempts; the times are those of the last one
    PRIMARY KEY (job, due, attempt)
)""",
    "CREATE INDEX slots_due ON {s}.slots (due, job, attempt)",  # the history is read newest first
    "CREATE INDEX slots_run ON {s}.slots (run_id) WHERE run_id IS NOT NULL",
    "CREATE INDEX slots_trouble ON {s}.slots (due, job, attempt) WHERE outcome IS DISTINCT FROM 'success'",
    *_REPLIES,
    *_ACTIONS,
    """
CREATE TABLE {s}.rosters (
    hash text NOT NULL,                     -- of a job file: of the names and definitions of its jobs
    job text NOT NULL,
    definition text NOT NULL,               -- its hash; '' if the job is disabled
    told timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (hash, job)
)""",
    """
CREATE TABLE {s}.news (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    session text NOT NULL,                  -- who told it
    what jsonb NOT NULL                     -- a message to the others: a job was paused or resumed
)""",
    "INSERT INTO {s}.meta (schema, oldest_reader) VALUES (2, 1)",
)

MIGRATIONS: dict[int, tuple[str, ...]] = {  # by the version that each starts from; they only add
    1: (
        "ALTER TABLE {s}.slots ADD COLUMN lookup_us integer, ADD COLUMN connect_us integer,"
        " ADD COLUMN tls_us integer, ADD COLUMN first_byte_us integer,"
        " ADD COLUMN armed integer, ADD COLUMN tries integer",
        *_REPLIES,
        *_ACTIONS,
        "ALTER TABLE {s}.replies ADD COLUMN IF NOT EXISTS attempts text NOT NULL DEFAULT ''",
    ),
}


def set_up(db: Connection[Any], schema: str) -> None:
    """Create or upgrade the tables, in a transaction that holds LOCK. Raises Unusable."""
    (encoding,) = _row(db, "SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise Unusable(f"the database has the encoding {encoding}: make one with ENCODING 'UTF8'")
    quoted = f'"{schema}"'
    (there,) = _row(db, "SELECT to_regnamespace(%s) IS NOT NULL", schema)
    if not there:
        db.execute(f"CREATE SCHEMA {quoted}")
    (made,) = _row(db, "SELECT to_regclass(%s) IS NOT NULL", f"{quoted}.meta")
    if not made:
        for statement in _SCHEMA:
            db.execute(statement.format(s=quoted))
        return
    check(db, schema)
    (version,) = _row(db, f"SELECT schema FROM {quoted}.meta")
    for old in range(version, VERSION):
        for statement in MIGRATIONS[old]:
            db.execute(statement.format(s=quoted))
        db.execute(f"UPDATE {quoted}.meta SET schema = %s", (old + 1,))


def check(db: Connection[Any], schema: str) -> None:
    """Raise Unusable if a newer Tocsin made the tables and this one cannot use them."""
    judge(schema, *_row(db, f'SELECT schema, oldest_reader FROM "{schema}".meta'))


def judge(schema: str, version: int, oldest: int) -> None:
    """Raise Unusable if this program is older than `oldest`, the first version that can use these tables."""
    if oldest > VERSION:
        raise Unusable(
            f"the tables in schema {schema} were made by a newer Tocsin (version {version}, for programs from"
            f" {oldest} on, and this one knows {VERSION})"
        )


def _row(db: Connection[Any], sql: str, *values: object) -> tuple[Any, ...]:
    row = db.execute(sql, values).fetchone()
    assert row is not None
    return tuple(row)


def size(db: Connection[Any], schema: str) -> int:
    """The bytes of the schema's tables and their indexes."""
    sizes = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM pg_class"
    (found,) = _row(db, f"{sizes} WHERE relkind = 'r' AND relnamespace = to_regnamespace(%s)", f'"{schema}"')
    return int(found)

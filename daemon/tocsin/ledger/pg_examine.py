"""Looks at a ledger on PostgreSQL for `tocsin doctor`: the link, the role, the server's clock."""

import time
from typing import Any

from psycopg import Connection

from tocsin.ledger import pg_schema
from tocsin.ledger.link import Link
from tocsin.ledger.store import Concern, Examined, Passing, Unusable

SLOW = 0.3  # seconds of one answer: a slot is asked for one to two seconds ahead, which is a few answers
CLOCK_OFF = 1.0  # seconds between the server's clock and this machine's
_FACTS = (
    "SELECT coalesce((SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
    " WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind = 'r'), 0)::int8,"
    " current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8, pg_backend_pid(),"
    " pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,"
    " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_user,"
    " coalesce((SELECT string_agg(c.relname, ', ') FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s)"
    " AND c.relkind = 'r' AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')"
    " AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))), ''),"
    " (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))::int4"
)


def examine(link: Link) -> Examined:
    ledger = link.ledger
    s = f'"{ledger.schema}"'
    began = time.monotonic()
    try:
        with link.transaction(read_only=True) as db:
            connected = time.monotonic()
            (there,) = db.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{s}.meta",)).fetchone() or (False,)
            asked, wall = time.monotonic(), time.time()
            facts: tuple[Any, ...] | None = db.execute(_FACTS, {"schema": s}).fetchone()
            assert facts
            size, version, clock, pid, read_only, is_super, role, refused, standbys = facts
            took, off = time.monotonic() - asked, float(clock) - (wall + time.time()) / 2
            pooled, encrypted = pid != db.info.backend_pid, db.pgconn.ssl_in_use
            succeeded = _succeeded(db, ledger.schema) if there else frozenset()
    except (Passing, Unusable) as error:
        return Examined("unusable", f"cannot be used: {error}", "is the server up, and may this user use it?")
    finally:
        link.close()
    detail = (
        f"PostgreSQL {version}{' through a pooler' * pooled}, {'' if encrypted else 'not '}encrypted, role {role},"
        f" connected in {(connected - began) * 1000:.0f} ms, answers in {took * 1000:.0f} ms, its clock {off:+.1f} s"
        f" from this machine's{f', {standbys} synchronous standby' * bool(standbys)}"
    )
    grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {ledger.schema} TO {role}"
    clock_advice = "set up NTP on the one that is wrong"
    concerns = [
        (read_only, Concern("takes no writes: it is a standby or was made read-only", "name the primary in `ledger`")),
        (is_super, Concern(f"the role {role} is a superuser", "make a role for Tocsin alone: see docs/deploy.md")),
        (
            refused,
            Concern(f"the role {role} may not write the tables {refused}", grant),
        ),
        (took > SLOW, Concern(f"answers in {took:.1f} s, so slots may start late", "use a server that is nearer")),
        (
            abs(off) > CLOCK_OFF,
            Concern(f"its clock is {off:+.1f} s from this machine's", clock_advice),
        ),
    ]
    found = tuple(concern for is_so, concern in concerns if is_so)
    if not there:
        why = f"has no tables in schema {ledger.schema} yet; the daemon creates them at its first start; {detail}"
        return Examined("absent", why, concerns=found)
    return Examined("sound", detail, "", int(size), succeeded, found)


def _succeeded(db: Connection[Any], schema: str) -> frozenset[str]:
    """Raises Unusable."""
    pg_schema.check(db, schema)
    rows = db.execute(f"SELECT job FROM \"{schema}\".jobs WHERE last_outcome = 'success'").fetchall()
    return frozenset(name for (name,) in rows)

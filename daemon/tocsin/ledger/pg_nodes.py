"""Reads from PostgreSQL which nodes share the ledger, and how their job files differ."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from tocsin.config.ledger import Postgres
from tocsin.ledger import pg_schema
from tocsin.ledger.link import Link
from tocsin.ledger.store import Absent, Passing, Unreadable, Unusable


@dataclass(frozen=True, slots=True)
class Node:
    """`silent` is seconds since the lease ended, 0 while it lasts. The last three name jobs where the job file differs
    from the one that most live nodes have."""

    name: str
    state: str
    jobs: int  # that it owns
    version: str
    clock_off: float | None  # seconds that its clock is ahead of the server's
    joined: float
    silent: float
    job_file: str
    lacks: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return self.state == "live" and not self.silent


@dataclass(frozen=True, slots=True)
class Nodes:
    nodes: list[Node]
    unowned: list[str]  # jobs that a live node has enabled, and none owns


def read(ledger: Postgres) -> Nodes:
    """Raises Absent and Unreadable."""
    link = Link(ledger)
    try:
        with link.transaction(read_only=True) as db:
            (there,) = db.execute("SELECT to_regclass(%s) IS NOT NULL", (f'"{ledger.schema}".nodes',)).fetchone() or (
                0,
            )
            if not there:
                raise Absent(f"schema {ledger.schema} of {ledger}")
            pg_schema.check(db, ledger.schema)
            return _read(db, f'"{ledger.schema}"')
    except (Passing, Unusable) as error:
        raise Unreadable(str(error)) from error
    finally:
        link.close()


def _read(db: Connection[Any], s: str) -> Nodes:
    rows = db.execute(
        f"SELECT DISTINCT ON (node) node, state, (SELECT count(*) FROM {s}.jobs"
        " WHERE split_part(owner, ':', 1) = session)::int4, version, clock_off, extract(epoch FROM joined)::float8,"
        " greatest(0, extract(epoch FROM clock_timestamp() - lease_until))::float8, coalesce(roster, '')"
        f" FROM {s}.nodes ORDER BY node, joined DESC, session"
    ).fetchall()
    owned = db.execute(
        f"SELECT job FROM {s}.jobs JOIN {s}.nodes ON session = split_part(owner, ':', 1) WHERE state <> 'dead'"
    ).fetchall()
    files: dict[str, dict[str, str]] = defaultdict(dict)
    for hash_, job, definition in db.execute(f"SELECT hash, job, definition FROM {s}.rosters").fetchall():
        files[hash_][job] = definition
    found = [Node(*row) for row in rows]
    live = Counter(one.job_file for one in found if one.is_live and one.job_file)
    most = max(live, key=lambda hash_: (live[hash_], len(files[hash_]), hash_), default="")
    wanted = {job for hash_ in live for job, definition in files[hash_].items() if definition}
    compared = [_compared(one, files[most], files[one.job_file]) if one.job_file else one for one in found]
    return Nodes(compared, sorted(wanted - {job for (job,) in owned}))


def _compared(node: Node, most: dict[str, str], its: dict[str, str]) -> Node:
    node.lacks.extend(sorted(job for job, one in most.items() if one and not its.get(job)))
    node.more.extend(sorted(job for job, one in its.items() if one and not most.get(job)))
    node.differs.extend(sorted(job for job, one in its.items() if one and most.get(job) not in ("", None, one)))
    return node

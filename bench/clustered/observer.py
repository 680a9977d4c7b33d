"""What the database saw: who owned a job, who was granted a run, and who was given up, each with its instant there.

Triggers write it down in a schema of the bench's own, in the transaction of the change.
"""

import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psycopg

SAMPLE = 0.2  # seconds between counts of the connections

_SET_UP = """
CREATE SCHEMA seen;
CREATE TABLE seen.owners (at float8, job text, session text);
CREATE TABLE seen.grants (at float8, job text, run text, session text);
CREATE TABLE seen.nodes (at float8, session text, node text, state text, epoch int);
CREATE FUNCTION seen.job() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE now float8 := extract(epoch FROM clock_timestamp());
BEGIN
    IF TG_OP = 'INSERT' OR OLD.owner IS DISTINCT FROM NEW.owner THEN
        INSERT INTO seen.owners VALUES (now, NEW.job, split_part(NEW.owner, ':', 1));
    END IF;
    IF NEW.open_run IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.open_run IS DISTINCT FROM NEW.open_run) THEN
        INSERT INTO seen.grants VALUES (now, NEW.job, NEW.open_run, split_part(NEW.open_by, '/', 1));
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION seen.node() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO seen.nodes VALUES
        (extract(epoch FROM clock_timestamp()), NEW.session, NEW.node, NEW.state, NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER seen_job AFTER INSERT OR UPDATE ON tocsin.jobs FOR EACH ROW EXECUTE FUNCTION seen.job();
CREATE TRIGGER seen_node AFTER UPDATE ON tocsin.nodes FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state OR OLD.epoch <> NEW.epoch) EXECUTE FUNCTION seen.node();
CREATE TRIGGER seen_new_node AFTER INSERT ON tocsin.nodes FOR EACH ROW EXECUTE FUNCTION seen.node();
INSERT INTO seen.nodes SELECT extract(epoch FROM joined), session, node, state, epoch FROM tocsin.nodes;
INSERT INTO seen.owners SELECT extract(epoch FROM clock_timestamp()), job, split_part(owner, ':', 1) FROM tocsin.jobs;
INSERT INTO seen.grants SELECT extract(epoch FROM clock_timestamp()), job, open_run, split_part(open_by, '/', 1)
    FROM tocsin.jobs WHERE open_run IS NOT NULL;
"""


@dataclass
class Seen:
    owners: list[tuple[float, str, str | None]]  # when, job, session or None
    grants: list[tuple[float, str, str, str]]  # when, job, run, session
    nodes: list[tuple[float, str, str, str, int]]  # when, session, node, state, epoch
    rows: list[dict[str, Any]]  # of slots
    open: list[tuple[str, str]]  # job and run that are under way


@dataclass
class Observer:
    url: str
    most: int = 0  # connections of the role at once
    _over: Event = field(default_factory=Event)

    def set_up(self) -> None:
        with psycopg.connect(self.url) as db:
            db.execute(_SET_UP)

    def count(self, user: str) -> None:
        """From now on, in a thread."""
        Thread(target=self._count, args=(user,), daemon=True).start()

    def _count(self, user: str) -> None:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
        while not self._over.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as db:
                    while not self._over.wait(SAMPLE):
                        (many,) = db.execute(sql, (user,)).fetchone() or (0,)
                        self.most = max(self.most, many)
            except psycopg.Error:
                time.sleep(SAMPLE)  # the server is away

    def read(self) -> Seen:
        self._over.set()
        with psycopg.connect(self.url) as db:
            owners, grants, nodes = (
                db.execute(f"SELECT * FROM seen.{table} ORDER BY at").fetchall()
                for table in ("owners", "grants", "nodes")
            )
            cursor = db.execute(
                "SELECT job, due, attempt, last, count, state, reason, run_id, outcome, node, detail FROM tocsin.slots"
            )
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            running = db.execute("SELECT job, open_run FROM tocsin.jobs WHERE open_run IS NOT NULL").fetchall()
        return Seen(owners, grants, nodes, rows, running)

    def owned(self) -> dict[str, str]:
        """job -> the node that owns it, where that is alive."""
        with psycopg.connect(self.url) as db:
            rows = db.execute(
                "SELECT job, node FROM tocsin.jobs JOIN tocsin.nodes ON session = split_part(owner, ':', 1)"
                " WHERE state = 'live'"
            ).fetchall()
        return dict(rows)

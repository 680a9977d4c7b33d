"""`tocsin ledger copy`: all of a ledger in SQLite on a PostgreSQL server, and nothing called twice on the way."""

import os
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness import SECRET, TOCSIN, Daemon, Endpoint, until
from ledger_rig import Ledger, T, ask, finished, skipped
from postgres_ledger import OnPostgres
from postgres_rig import USER, Server
from test_postgres_daemon import TWO, account, runs
from tocsin.config.ledger import Postgres, parse
from tocsin.config.secrets import Secret
from tocsin.ipc.actions import Acted, Actor
from tocsin.ipc.history import Actions, OneRun
from tocsin.ipc.job import Pause
from tocsin.ipc.tried import Parts, Tried

pytestmark = pytest.mark.system
JOB_FILE = '[daemon]\nledger = "${DATABASE_URL}"\nledger_schema = "SCHEMA"\nnode = "here"\n[target]\nbase_url = "http://127.0.0.1:1"\n'
TIMES = Parts(1, 2, 3, 4, None, True)
TWICE: dict[str, Any] = {
    "retries": 1,
    "parts": TIMES,
    "attempts": (Tried("timeout", "late", parts=TIMES), Tried("http_error")),
}
Copy = Callable[..., "subprocess.CompletedProcess[str]"]


class Site:
    """A folder with a job file whose ledger is on PostgreSQL, and a state folder."""

    def __init__(self, folder: Path, server: Server, schema: str) -> None:
        self.folder, self.server, self.schema = folder, server, schema
        self.state = folder / "var"
        self.state.mkdir(mode=0o700)
        (folder / "tocsin.toml").write_text(JOB_FILE.replace("SCHEMA", schema) + TWO)
        self.environment = {**os.environ, "DATABASE_URL": server.url_of(USER), "CRON_SECRET": SECRET}

    def begin(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [TOCSIN, "ledger", "copy"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def copy(self) -> tuple[int, str]:
        with self.begin() as process:
            out, err = process.communicate(timeout=60)
        assert self.server.password not in out + err
        return process.returncode, out + err

    def opened(self, session: str = "s9") -> OnPostgres:
        parameters, password, _ = parse(self.server.url_of(USER))
        kept = Postgres(tuple(parameters.items()), self.schema, Secret(password, "password", "a test"), password)
        return OnPostgres(self.state, session, kept)


@pytest.fixture
def site(tmp_path: Path, postgres_server: Server, new_schema: Callable[[], str]) -> Site:
    return Site(tmp_path, postgres_server, new_schema())


def filled(folder: Path, *, running: bool = True) -> Ledger:
    one = Ledger(folder)
    one.past()
    one.past("b", "*/5 * * * * UTC")
    one.put(ask(), replace(finished(outcome="http_error"), reply="it said\0 no", reported={"x": 2.5}, **TWICE))
    one.put(skipped(T + 1, T + 50, 50, "missed", "it was away\0"), Pause("b", True, T + 51.0))
    one.put(ask(T + 52, job="b", trigger="manual"), finished(T + 52, job="b"))
    one.put(ask(T + 60), finished(T + 60, "lost"), ask(T + 60, attempt=1))
    if not running:
        one.put(finished(T + 60, attempt=1))
    return one


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("owner", "node")} for row in rows]


def test_all_of_it_arrives(site: Site) -> None:
    source = filled(site.state)
    rows = compared(source.rows())
    source.close()
    code, said = site.copy()
    assert code == 0, said
    assert "2 jobs, 4 rows of slots, 1 replies" in said
    assert "ledger.sqlite is now ledger.sqlite.copied" in said
    assert not (site.state / "ledger.sqlite").exists()
    target = site.opened()
    found = compared(target.rows())
    for row in rows:
        row["detail"] = row["detail"].replace("\0", "␀")
    assert found == rows
    copied = target.reader().find(OneRun(f"run-{T}-0")).rows[0]
    assert copied.reply == "it said␀ no"
    assert (copied.tries, copied.parts, copied.attempts) == (2, TIMES, TWICE["attempts"])
    (lost,) = target.ledger.recover(T + 90.0)
    assert (lost.due, lost.attempt, lost.outcome) == (T + 60, 1, "lost"), "told, so that it may be delivered again"
    site.state.joinpath("ledger.sqlite.copied").rename(site.state / "ledger.sqlite")
    old = Ledger(site.state, "s9")
    old.ledger.recover(T + 90.0)
    for job, schedule in (("a", "* * * * * UTC"), ("b", "*/5 * * * * UTC")):
        was = old.past(job, schedule)
        assert target.past(job, schedule) == replace(was, last_detail=was.last_detail.replace("\0", "␀"))
    assert target.past("b", "*/5 * * * * UTC").paused
    assert target.ledger.before == old.ledger.before == "the daemon had died"
    old.close()
    target.close()


def test_what_people_did_arrives_too(site: Site) -> None:
    source = filled(site.state)
    ann = Actor("ann", "page", "10.0.0.3")
    source.put(Acted(T, "pause", "a", ann, "deploy", T + 60.0), Acted(T + 1, "fire", "a", ann, run_id="r-1"))
    before = source.reader().actions(Actions())
    source.close()
    assert len(before) == 2
    code, said = site.copy()
    assert code == 0, said
    target = site.opened()
    assert target.reader().actions(Actions()) == before
    target.close()


def test_a_daemon_that_was_stopped_in_order_is_known_as_that(site: Site) -> None:
    source = filled(site.state, running=False)
    source.ledger.stopped(T + 99.0)
    source.close()
    assert site.copy()[0] == 0
    target = site.opened()
    assert target.ledger.before == "the daemon was stopped"
    target.close()


def test_a_copy_that_is_killed_leaves_nothing_and_can_be_repeated(site: Site) -> None:
    site.opened("s0").close()
    site.server.do(f"UPDATE {site.schema}.nodes SET state = 'left'")
    filled(site.state).close()
    hold = f"BEGIN; LOCK {site.schema}.replies IN EXCLUSIVE MODE; SELECT pg_sleep(60)"
    with subprocess.Popen(
        ["psql", site.server.url, "-Xqc", hold], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as holder:
        lock = f"SELECT count(*) FROM pg_locks WHERE relation = '{site.schema}.replies'::regclass AND granted"
        until(lambda: site.server.do(lock) == "1", "the lock")
        with site.begin() as process:
            waits = lock.replace("granted", "NOT granted")
            until(lambda: site.server.do(waits) == "1", "the copy, which has written all but the replies")
            process.kill()
        site.server.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND query LIKE '%pg_sleep(60)'"
        )
        holder.wait()
    ended = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{USER}'"
    until(lambda: site.server.do(ended) == "0", "the end of its transaction")
    assert site.server.do(f"SELECT count(*) FROM {site.schema}.slots") == "0"
    assert (site.state / "ledger.sqlite").exists()
    code, said = site.copy()
    assert code == 0, said
    assert "4 rows of slots" in said


def test_a_copy_that_died_before_it_renamed_the_file_goes_on(site: Site) -> None:
    filled(site.state).close()
    assert site.copy()[0] == 0
    site.state.joinpath("ledger.sqlite.copied").rename(site.state / "ledger.sqlite")
    code, said = site.copy()
    assert (code, "was copied before" in said) == (0, True)
    assert site.server.do(f"SELECT count(*) FROM {site.schema}.slots") == "4"
    code, said = site.copy()
    assert (code, "an earlier copy renamed it to ledger.sqlite.copied" in said) == (1, True)


def test_what_is_refused(site: Site) -> None:
    code, said = site.copy()
    assert (code, "there is no ledger " in said) == (1, True)
    filled(site.state).close()
    live = site.opened("s0")
    site.server.do(f"UPDATE {site.schema}.nodes SET lease_until = lease_until + interval '1h'")
    code, said = site.copy()
    assert (code, "the daemon on node here uses schema" in said) == (3, True)
    live.past("c")
    live.ledger.stopped(0.0)
    live.close()
    code, said = site.copy()
    assert (code, "already has a ledger (1 jobs, 0 rows of slots)" in said) == (1, True)
    assert (site.state / "ledger.sqlite").exists()
    site.environment["DATABASE_URL"] = "postgresql://u@127.0.0.1:1/db"
    code, said = site.copy()
    assert (code, "Connection refused" in said) == (1, True)
    site.environment["DATABASE_URL"] = site.server.url_of(USER)
    with closing(sqlite3.connect(site.state / "ledger.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    code, said = site.copy()
    assert (code, "was written by a newer Tocsin" in said) == (1, True)
    (site.state / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    code, said = site.copy()
    assert (code, "is damaged" in said) == (1, True)
    (site.folder / "tocsin.toml").write_text('[target]\nbase_url = "http://127.0.0.1:1"\n' + TWO)
    code, said = site.copy()
    assert (code, 'is "sqlite": set it to the address' in said) == (2, True)


def test_a_daemon_before_and_after(
    daemon: Daemon, postgres_server: Server, new_schema: Callable[[], str], endpoint: Endpoint
) -> None:
    daemon.environment["DATABASE_URL"] = postgres_server.url_of(USER)
    on_postgres = f'ledger = "${{DATABASE_URL}}"\nledger_schema = "{new_schema()}"\nnode = "one"'
    daemon.write(TWO)
    daemon.start()
    until(lambda: runs(daemon) >= 2, "runs on SQLite")
    assert daemon.run("pause", "b").returncode == 0
    daemon.write(TWO, on_postgres)
    refused = daemon.run("ledger", "copy")
    assert (refused.returncode, "while a daemon uses it" in refused.stderr) == (3, True)
    daemon.signal(signal.SIGKILL)
    daemon.cleanup()
    copied = daemon.run("ledger", "copy")
    assert copied.returncode == 0, copied.stderr
    before = runs(daemon)
    assert before >= 2, "the history is there"
    daemon.start()
    until(lambda: runs(daemon) >= before + 2, "runs on PostgreSQL")
    assert {one["name"]: one["paused"] for one in daemon.json("jobs")} == {"a": False, "b": True}
    assert daemon.stop() == 0
    account(daemon, endpoint)
    assert Counter(call.headers["idempotency-key"] for call in endpoint.calls).most_common(1)[0][1] == 1

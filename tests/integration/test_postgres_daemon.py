"""The daemon with its ledger on PostgreSQL: a real server, killed, restarted, away and silent."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from harness import Daemon, Endpoint, fates, until
from postgres_rig import PASSWORD, USER, Server, Wire

pytestmark = pytest.mark.system
EACH_SECOND = '[jobs.a]\nschedule = "* * * * * *"\npath = "/a"\n'
TWO = EACH_SECOND + EACH_SECOND.replace("jobs.a", "jobs.b").replace("/a", "/b")
Start = Callable[..., Daemon]


@pytest.fixture
def server() -> Iterator[Server]:
    """For this test alone, which ends it."""
    one = Server()
    one.make()
    one.start()
    one.do(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA tocsin AUTHORIZATION {USER}")
    yield one
    one.remove()


@pytest.fixture
def kept(daemon: Daemon, server: Server) -> Start:
    """The daemon, its ledger on the server, or on whatever forwards to it."""

    def start(jobs: str = TWO, port: int = 0, more: str = "") -> Daemon:
        on(daemon, server, port)
        daemon.write(jobs, f'ledger = "${{DATABASE_URL}}"\nnode = "one"\n{more}')
        daemon.start()
        return daemon

    return start


def on(daemon: Daemon, server: Server, port: int = 0) -> None:
    daemon.environment["DATABASE_URL"] = server.url_of(USER, port)


def runs(daemon: Daemon, job: str = "a") -> int:
    return sum(row["outcome"] == "success" for row in daemon.history(job))


def account(daemon: Daemon, endpoint: Endpoint) -> None:
    """No slot was called twice, none called has no row, and none has two."""
    rows = daemon.history()
    for job in ("a", "b"):
        called = Counter(call.headers["idempotency-key"] for call in endpoint.of(job))
        assert [key for key, count in called.items() if count > 1] == []
        assert called.keys() - {row["run_id"] for row in rows} == set()
        found = fates(rows, job)
        assert [due for due, fate in found.items() if len(fate) > 1] == []
        covered = sum(row["count"] for row in rows if row["job"] == job)
        dues = [row["due"] for row in rows if row["job"] == job]
        lasts = [row["last"] for row in rows if row["job"] == job]
        assert covered == seconds(max(lasts)) - seconds(min(dues)) + 1, "a slot has no row"


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_a_life(kept: Start, server: Server) -> None:
    daemon = kept()
    until(lambda: runs(daemon) >= 2, "two runs")
    pids = {"parent": daemon.pid, **daemon.children()}
    maps = {name: Path(f"/proc/{pid}/maps").read_text() for name, pid in pids.items()}
    assert [name for name, text in maps.items() if "psycopg" in text] == ["ledger"], "the extra is for one process"
    assert daemon.run("pause", "a").returncode == 0
    daemon.write(
        TWO + TWO.replace("jobs.a", "jobs.c").partition("[jobs.b]")[0], 'ledger = "${DATABASE_URL}"\nnode = "one"'
    )
    assert daemon.run("reload").returncode == 0
    until(lambda: runs(daemon, "c") >= 1, "a run of the new job")
    assert daemon.stop() == 0
    daemon.start()
    until(lambda: runs(daemon, "b") >= 4, "more runs")
    paused = {"a": True, "b": False, "c": False}
    until(lambda: {one["name"]: one["paused"] for one in daemon.json("jobs")} == paused, "the pause of before")
    assert "PostgreSQL 1" in daemon.run("doctor").stdout
    assert daemon.stop() == 0
    texts = daemon.log() + daemon.run("doctor").stdout + daemon.run("check").stdout
    assert PASSWORD not in texts
    assert server.do("SELECT DISTINCT state FROM tocsin.nodes") == "left"


def test_a_pause_ends_by_itself(kept: Start, server: Server) -> None:
    daemon = kept()
    until(lambda: runs(daemon) >= 1, "a run")
    assert daemon.run("pause", "a", "--for", "8s", "--why", "deploy").returncode == 0
    (one,) = [one for one in daemon.json("jobs") if one["name"] == "a"]
    assert daemon.stop() == 0
    until(lambda: time.time() > seconds(one["paused_until"]) + 1, "the end to be over")
    daemon.start()
    until(lambda: [row for row in daemon.history("a") if seconds(row["due"]) > seconds(one["paused_until"])], "a run")
    fate = {
        due: row["reason"]
        for row in daemon.history("a")
        for due in range(seconds(row["due"]), seconds(row["last"]) + 1)
    }
    assert fate[seconds(one["paused_until"]) - 1] == "paused"
    assert [one["paused"] for one in daemon.json("jobs")] == [False, False]
    assert [one["action"] for one in daemon.json("history", "a", "--actions")] == ["pause", "resume"]
    assert ">resume<" in daemon.get("/jobs/a/actions")
    done = server.do(
        "SELECT string_agg(concat_ws(' ', what, job, way, node, why), ', ' ORDER BY at) FROM tocsin.actions"
    )
    assert done == "pause a command one deploy, resume a daemon one the end of the pause has come"


def test_kills_and_a_restart_of_the_server(kept: Start, server: Server, endpoint: Endpoint) -> None:
    daemon = kept()
    until(lambda: runs(daemon) >= 2, "runs")
    daemon.kill("ledger")
    until(lambda: runs(daemon) >= 4, "runs after the ledger's death")
    server.end(signal.SIGQUIT)
    server.start()
    count = runs(daemon)
    until(lambda: runs(daemon) >= count + 2, "runs after the server's restart")
    daemon.signal(signal.SIGKILL)
    daemon.cleanup()
    daemon.start()
    count = runs(daemon)
    until(lambda: runs(daemon) >= count + 2, "runs after the daemon's death")
    assert daemon.stop() == 0
    account(daemon, endpoint)


def test_without_the_server_nobody_calls(kept: Start, server: Server, endpoint: Endpoint) -> None:
    daemon = kept()
    until(lambda: runs(daemon) >= 2, "runs")
    server.end(signal.SIGQUIT)
    daemon.said("the ledger cannot write: no job runs until it can")
    until(lambda: daemon.metric("tocsin_ledger_up") == 0, "the metric")
    time.sleep(3)  # what was granted before is over
    calls = len(endpoint.calls)
    time.sleep(3)
    assert len(endpoint.calls) == calls
    server.start()
    daemon.said("the ledger can write again")
    until(lambda: len(endpoint.calls) > calls + 2, "calls")
    until(lambda: daemon.metric("tocsin_ledger_up") == 1, "the metric")
    assert daemon.stop() == 0
    account(daemon, endpoint)


def test_a_silent_wire(kept: Start, server: Server, endpoint: Endpoint) -> None:
    wire = Wire(server.port)
    daemon = kept(port=wire.port)
    until(lambda: runs(daemon) >= 2, "runs")
    wire.silent.set()
    daemon.said("the ledger cannot write: no job runs until it can")
    wire.silent.clear()
    daemon.said("the ledger can write again")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 2, "calls")
    assert daemon.stop() == 0
    account(daemon, endpoint)
    wire.close()


def test_a_second_daemon_of_one_name_is_refused(
    kept: Start, server: Server, tmp_path: Path, endpoint: Endpoint
) -> None:
    first = kept()
    until(lambda: runs(first) >= 1, "a run")
    (tmp_path / "second").mkdir()
    second = Daemon(tmp_path / "second", endpoint)
    on(second, server)
    second.write(TWO, 'ledger = "${DATABASE_URL}"\nnode = "one"')
    try:
        second.start()
        assert second.process
        assert second.process.wait(60) == 3
        second.wait()
    finally:
        second.cleanup()
    assert "has the node's name one: give each daemon a name of its own" in second.log()
    assert first.stop() == 0
    account(first, endpoint)


def test_the_next_of_the_same_name_waits_for_the_one_before(
    kept: Start, server: Server, tmp_path: Path, endpoint: Endpoint
) -> None:
    """As where a deploy overlaps."""
    first = kept()
    until(lambda: runs(first) >= 1, "a run")
    (tmp_path / "second").mkdir()
    second = Daemon(tmp_path / "second", endpoint)
    on(second, server)
    second.write(TWO, 'ledger = "${DATABASE_URL}"\nnode = "one"')
    try:
        second.start()
        second.said("has the node's name one; waiting for it to end")
        assert first.stop() == 0
        second.said("the ledger can write again")
        count = runs(second)
        until(lambda: runs(second) > count, "a run of the second")
        assert second.stop() == 0
    finally:
        second.cleanup()
    account(second, endpoint)

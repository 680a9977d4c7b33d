"""The daemon with its ledger on PostgreSQL where something stands between: PgBouncer, or a fail-over to a standby."""

import signal
from collections.abc import Callable, Iterator

import pytest

from harness import Daemon, Endpoint, until
from postgres_rig import PASSWORD, USER, Pooler, Server
from test_postgres_daemon import TWO, Start, account, kept, runs, server  # noqa: F401

pytestmark = pytest.mark.system


@pytest.fixture
def pooler(server: Server) -> Iterator[Pooler]:  # noqa: F811
    one = Pooler(server)
    yield one
    one.remove()


def more_runs(daemon: Daemon, since: Callable[[], object]) -> None:
    """After `since` has happened."""
    since()
    count = runs(daemon)
    until(lambda: runs(daemon) >= count + 2, "runs after it")


def test_a_life_through_pgbouncer(kept: Start, server: Server, pooler: Pooler, endpoint: Endpoint) -> None:  # noqa: F811
    daemon = kept(port=pooler.port)
    until(lambda: runs(daemon) >= 2, "two runs")
    assert daemon.run("pause", "a").returncode == 0
    until(lambda: {one["name"]: one["paused"] for one in daemon.json("jobs")} == {"a": True, "b": False}, "the pause")
    assert daemon.run("resume", "a").returncode == 0

    def restart() -> None:
        server.end(signal.SIGQUIT)
        server.start()

    more_runs(daemon, restart)
    more_runs(daemon, lambda: daemon.kill("ledger"))
    server.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tocsin'")
    more_runs(daemon, lambda: None)
    assert daemon.stop() == 0
    account(daemon, endpoint)
    assert "PostgreSQL 1" in daemon.run("doctor").stdout
    assert PASSWORD not in daemon.log()


def test_a_fail_over_to_a_standby(daemon: Daemon, server: Server, endpoint: Endpoint) -> None:  # noqa: F811
    standby = server.standby()
    try:
        standby.start()
        where = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        address = f"postgresql://{USER}:{PASSWORD}@{where}/postgres?target_session_attrs=read-write"
        daemon.environment["DATABASE_URL"] = address
        daemon.write(TWO, 'ledger = "${DATABASE_URL}"\nnode = "one"')
        assert daemon.run("check").returncode == 0
        daemon.start()
        until(lambda: runs(daemon) >= 2, "two runs")

        def fail_over() -> None:
            lag = f"SELECT pg_last_wal_replay_lsn() >= '{server.do('SELECT pg_current_wal_lsn()')}'"
            until(lambda: standby.do(lag) == "t", "the standby to be where the primary is")
            server.end(signal.SIGQUIT)
            standby.do("SELECT pg_promote()")

        more_runs(daemon, fail_over)
        assert daemon.stop() == 0
        assert standby.do("SELECT DISTINCT state FROM tocsin.nodes") == "left"
    finally:
        standby.remove()
    called = [call.headers["idempotency-key"] for call in endpoint.calls]
    assert len(called) == len(set(called)), "called twice"

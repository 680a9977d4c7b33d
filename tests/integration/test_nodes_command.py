"""`tocsin nodes`: who shares the ledger, who is silent, and whose job file differs."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_rig import Cluster, each_second
from harness import Daemon, Endpoint, until
from postgres_rig import PASSWORD, Server

pytestmark = pytest.mark.system


@pytest.fixture
def cluster(tmp_path: Path, endpoint: Endpoint) -> Iterator[Cluster]:
    server = Server()
    server.make()
    server.start()
    one = Cluster(tmp_path, server, endpoint)
    yield one
    one.cleanup()
    server.remove()


def lines(daemon: Daemon) -> list[str]:
    done = daemon.run("nodes")
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout
    return done.stdout.splitlines()


def test_nodes(cluster: Cluster) -> None:
    jobs = each_second("a", "b", "c", "d", "e", "f")
    one = cluster.start("one", jobs)
    two = cluster.start("two", jobs.replace('"/c"', '"/changed"') + each_second("g"))
    cluster.settled("abcdef", {"one", "two"})

    def told() -> list[str] | None:
        found = lines(one)
        return found if any("defines otherwise c" in line for line in found) else None

    head, *rows = until(told, "the difference")
    assert head.split() == ["NODE", "STATE", "JOBS", "VERSION", "CLOCK", "SINCE", "JOB", "FILE"]
    assert [row.split()[:2] for row in rows[:2]] == [["one", "live"], ["two", "live"]]
    (difference,) = rows[2:]
    assert difference.startswith("the job file of ")
    assert "g" in difference.partition("differs")[2]
    found = json.loads(one.run("nodes", "--json").stdout)
    assert sum(node["jobs"] for node in found["nodes"]) == 7
    assert found["unowned"] == []
    two.signal(signal.SIGKILL)
    two.cleanup()
    until(lambda: any(line.split()[:2] == ["two", "dead"] for line in lines(one)), "the death of two")
    assert one.stop() == 0
    rows = lines(one)[1:3]
    assert [row.split()[:3] for row in rows] == [["one", "left", "0"], ["two", "dead", "0"]]


def test_with_sqlite_there_are_none(daemon: Daemon) -> None:
    daemon.write(each_second("a"))
    done = daemon.run("nodes")
    assert (done.returncode, "the ledger is in SQLite" in done.stderr) == (2, True)

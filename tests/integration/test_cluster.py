"""Several real nodes on one ledger: they share the jobs, and whatever happens to one, every slot has one fate."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_rig import Cluster, each_second
from harness import Daemon, Endpoint, until
from postgres_rig import Server, Wire

pytestmark = pytest.mark.system
JOBS = ("a", "b", "c", "d", "e", "f")  # of which nodes named one, two and three own some each


@pytest.fixture
def server() -> Iterator[Server]:
    """For this test alone, which may end it."""
    server = Server()
    server.make()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def cluster(tmp_path: Path, server: Server, endpoint: Endpoint) -> Iterator[Cluster]:
    one = Cluster(tmp_path, server, endpoint)
    yield one
    one.cleanup()


@pytest.fixture
def three(cluster: Cluster) -> Cluster:
    """One after the other, as docs/several-machines.md says."""
    names = ("one", "two", "three")
    for count, name in enumerate(names, 1):
        cluster.start(name, each_second(*JOBS))
        cluster.settled(JOBS, set(names[:count]))
    cluster.run_on(JOBS)
    return cluster


def whole(daemon: Daemon) -> list[int]:
    return [daemon.pid, *daemon.children().values()]


def test_nodes_share_the_jobs_and_one_that_dies_is_replaced(three: Cluster) -> None:
    three.nodes["two"].signal(signal.SIGKILL)
    three.nodes["two"].cleanup()
    three.settled(JOBS, {"one", "three"})
    three.run_on(JOBS)
    three.start("two", each_second(*JOBS), folder="two-again")
    three.settled(JOBS, {"one", "two", "three"})
    three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_a_node_that_stood_still_calls_nothing_that_is_anothers(three: Cluster) -> None:
    two = three.nodes["two"]
    pids = whole(two)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    three.settled(JOBS, {"one", "three"})
    three.run_on(JOBS)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    two.said("the other nodes gave this one up")
    three.settled(JOBS, {"one", "two", "three"})
    three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_each_node_shows_every_job_with_its_owner_and_its_last_run(three: Cluster) -> None:
    """Also what happened on another node, and after a job has moved."""
    three.endpoint.answer = lambda call: (500, {}, b"") if call.path == "/b" else (200, {}, b"")

    def agreed(names: set[str]) -> bool:
        owners = three.owners()
        if set(owners.values()) != names:
            return False
        shown = [json.loads(three.nodes[name].get("/api/jobs")) for name in names]
        shown += [three.nodes[name].json("jobs", "--json") for name in names]
        return all(
            {one["name"]: one["node"] for one in jobs} == owners
            and all((one["last_outcome"] == "http_error") == (one["name"] == "b") for one in jobs)
            for jobs in shown
        )

    until(lambda: agreed({"one", "two", "three"}), "all nodes to show the same")
    two = three.nodes["two"]
    two.signal(signal.SIGKILL)
    two.cleanup()
    until(lambda: agreed({"one", "three"}), "the others to show the new owners")
    gauges = [
        three.nodes[name].metric("tocsin_job_last_run_timestamp_seconds", job_name="b") for name in ("one", "three")
    ]
    assert gauges.count(None) == 1  # only the owner has a job's gauges
    assert {three.nodes[name].metric("tocsin_cluster_jobs_unowned") for name in ("one", "three")} == {0}


@pytest.mark.parametrize("process", ["parent", "ledger"])
def test_a_process_of_a_node_that_stands_still_alone(three: Cluster, process: str) -> None:
    two = three.nodes["two"]
    pid = two.pid if process == "parent" else two.children()["ledger"]
    os.kill(pid, signal.SIGSTOP)
    if process == "ledger":
        three.settled(JOBS, {"one", "three"})
    else:
        three.run_on([job for job, node in three.owners().items() if node != "two"], 4)
    os.kill(pid, signal.SIGCONT)
    three.settled(JOBS, {"one", "two", "three"})
    three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_a_node_that_is_cut_off(cluster: Cluster, server: Server) -> None:
    wire = Wire(server.port)
    cluster.start("one", each_second(*JOBS))
    two = cluster.start("two", each_second(*JOBS), wire.port)
    cluster.settled(JOBS, {"one", "two"})
    cluster.run_on(JOBS)
    wire.silent.set()
    two.said("the ledger cannot write: no job runs until it can")
    cluster.settled(JOBS, {"one"})
    cluster.run_on(JOBS)
    wire.silent.clear()
    two.said("the other nodes gave this one up")
    cluster.settled(JOBS, {"one", "two"})
    cluster.run_on(JOBS)
    cluster.stop()
    cluster.account(JOBS)
    wire.close()


def test_a_restart_of_the_server(three: Cluster, server: Server) -> None:
    for _ in range(3):
        server.end(signal.SIGQUIT)
        server.start()
        three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_an_outage_of_the_server(three: Cluster, server: Server) -> None:
    server.end(signal.SIGQUIT)
    for node in three.nodes.values():
        node.said("the ledger cannot write: no job runs until it can")
    server.start()
    three.settled(JOBS, {"one", "two", "three"})
    three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_all_die_and_one_comes_back_under_its_name(three: Cluster) -> None:
    for node in three.nodes.values():
        node.signal(signal.SIGKILL)
        node.cleanup()
    three.start("one", each_second(*JOBS), folder="one-again")
    three.settled(JOBS, {"one"})
    three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_a_rolling_restart_misses_nothing(three: Cluster) -> None:
    for name in ("one", "two", "three"):
        assert three.nodes[name].stop() == 0
        three.settled(JOBS, {"one", "two", "three"} - {name})
        three.nodes[name].start()
        three.settled(JOBS, {"one", "two", "three"})
        three.run_on(JOBS)
    three.stop()
    three.account(JOBS)
    fates = {row["outcome"] or row["reason"] for row in three.rows()}
    assert "lost" not in fates
    assert "missed" not in fates


def test_a_pause_holds_wherever_it_is_asked_for(three: Cluster) -> None:
    owner = three.owners()["a"]
    other = next(node for name, node in three.nodes.items() if name != owner)
    assert other.run("pause", "a").returncode == 0
    until(lambda: "paused" in three.nodes[owner].run("jobs").stdout, "the owner to know of it")
    calls = len(three.endpoint.of("a"))
    three.run_on(JOBS[1:], 3)
    assert len(three.endpoint.of("a")) <= calls + 1, "what was granted before may still go out"
    assert other.run("resume", "a").returncode == 0
    three.run_on(JOBS)
    three.stop()
    three.account(JOBS)


def test_a_job_runs_where_a_job_file_has_it(cluster: Cluster) -> None:
    cluster.start("one", each_second("a", "b", "c", "d", "e", "f"))
    two = cluster.start("two", each_second("d", "e", "f", "g", "h", "i"))
    found = cluster.settled("abcdefghi", {"one", "two"})
    assert {found[job] for job in "abc"} == {"one"}
    assert {found[job] for job in "ghi"} == {"two"}
    cluster.run_on("abcdefghi")
    two.write(each_second(*"abcdefghi"), 'ledger = "${DATABASE_URL}"\nnode = "two"\n')
    assert two.run("reload").returncode == 0
    until(lambda: {cluster.owners()[job] for job in "abc"} & {"two"}, "the other to own one that it has now")
    assert cluster.nodes["one"].stop() == 0
    cluster.settled("abcdefghi", {"two"})
    cluster.run_on("abcdefghi")
    cluster.stop()
    cluster.account("abcdefghi")


def test_a_fire_runs_where_it_is_asked_for(cluster: Cluster) -> None:
    yearly = '[jobs.y]\nschedule = "@yearly"\npath = "/y"\n'
    for name in ("one", "two"):
        cluster.start(name, each_second("a", "b", "c", "d") + yearly)
    owners = cluster.settled("abcdy", {"one", "two"})
    name, other = next((name, node) for name, node in cluster.nodes.items() if name != owners["y"])
    for _ in range(2):
        fired = other.run("fire", "y")
        assert fired.returncode == 0, fired.stderr
        until(lambda: not any(title.endswith("job y") for title in other.children()), "the end of its process")
    rows = [row for row in cluster.rows() if row["job"] == "y"]
    assert [(row["node"], row["trigger"], row["outcome"]) for row in rows] == [(name, "manual", "success")] * 2
    assert cluster.owners()["y"] == owners["y"]
    cluster.stop()

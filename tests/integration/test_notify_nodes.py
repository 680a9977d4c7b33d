"""Several nodes on one ledger, each with a notifier: a node that is lost is told of once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_rig import Cluster, each_second
from harness import Endpoint, until
from notify_rig import Sink
from postgres_rig import Server

pytestmark = pytest.mark.system
JOBS = ("a", "b", "c", "d", "e", "f")
NOTIFY = '[notify]\nurls_env = "NOTIFY_URLS"\ngather = "1s"\n'


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def cluster(tmp_path: Path, endpoint: Endpoint, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("NOTIFY_URLS", sink.address)
    server = Server()
    server.make()
    server.start()
    one = Cluster(tmp_path, server, endpoint)
    yield one
    one.cleanup()
    server.remove()


def test_a_lost_node_is_told_of_once_and_that_it_is_back(cluster: Cluster, sink: Sink) -> None:
    for name in ("one", "two", "three"):
        cluster.start(name, each_second(*JOBS), more=NOTIFY)
    cluster.settled(JOBS, {"one", "two", "three"})
    cluster.run_on(JOBS)
    cluster.nodes["two"].signal(signal.SIGKILL)
    cluster.nodes["two"].cleanup()
    cluster.settled(JOBS, {"one", "three"})
    until(lambda: "The node two is lost" in sink.titles, "word of it", 90)
    cluster.start("two", each_second(*JOBS), folder="two-again", more=NOTIFY)
    cluster.settled(JOBS, {"one", "two", "three"})
    until(lambda: "The node two is back" in sink.titles, "word of its return", 90)
    cluster.run_on(JOBS, 5)
    assert [title for title in sink.titles if "node" in title] == ["The node two is lost", "The node two is back"]
    cluster.stop()

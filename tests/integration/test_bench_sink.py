"""The benchmark's measuring tools are themselves measured: the sink's stamps, the sums over a tree of processes."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import until
from punctuality.sink import SECRET, Sink

BENCH = Path(__file__).parents[2] / "bench"
HEADERS = f"POST /job/7 HTTP/1.1\r\nHost: here\r\nX-Cron-Secret: {SECRET}\r\nContent-Length: 4\r\n\r\n".encode()

needs_compiler = pytest.mark.skipif(
    not shutil.which("gcc") or not Path("/usr/include/openssl/ssl.h").exists(),
    reason="the sink is C: gcc and libssl-dev are not here",
)


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with Sink(tmp_path_factory.mktemp("sink")) as running:
        yield running


def connect(sink: Sink, tls: bool) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", sink.tls if tls else sink.plain), timeout=10)
    if not tls:
        return plain
    return ssl.create_default_context(cafile=sink.certificate).wrap_socket(plain, server_hostname="localhost")


@needs_compiler
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_request_arrives_when_its_last_byte_does(sink: Sink, tls: bool) -> None:
    before = sink.totals()
    with connect(sink, tls) as connection:
        connection.sendall(HEADERS[:20])
        connection.sendall(HEADERS[20:] + b"bod")
        until(lambda: sink.cpu() > 0, "the sink to have run")
        time.sleep(0.05)  # what is measured: bytes that were held back must not count from the first of them
        assert sink.count() == before["requests"]
        held_back_until = time.time()
        connection.sendall(b"y")
        reply = connection.recv(4096)
        answered = time.time()
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        begun = reply.split(b"\r\n\r\n")[1]
        if tls:  # as Next.js does: one chunk with the head, and the end in a record of its own
            assert connection.recv(4096) == b"0\r\n\r\n"
            size, begun, end = begun.split(b"\r\n")
            assert (int(size, 16), end) == (len(begun), b"")
        assert json.loads(begun) == {"success": True, "unassignedCount": 3}
        connection.sendall(HEADERS + b"body" + HEADERS + b"body")  # it stays open, and takes two in one segment
        until(lambda: sink.count() == before["requests"] + 3, "two more requests")
    (job, arrived, seen), *_ = sink.records(before["requests"])
    assert job == 7
    assert held_back_until <= arrived <= seen <= answered
    after = sink.totals()
    assert {name: after[name] - before[name] for name in after} == {
        "requests": 3, "connections": 1, "handshakes": int(tls), "unstamped": 0, "refused": 0, "broken": 0,
    }  # fmt: skip


@needs_compiler
def test_a_caller_that_forgets_the_secret_is_noticed(sink: Sink) -> None:
    before = sink.totals()["refused"]
    with connect(sink, tls=False) as connection:
        connection.sendall(b"POST /job/1 HTTP/1.1\r\nx-cron-secret: another\r\nConnection: close\r\n\r\n")
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
    assert reply.startswith(b"HTTP/1.1 401")
    assert sink.totals()["refused"] == before + 1


TREE = """
import json, os, sys, time
from pathlib import Path
from punctuality import tree
if sys.argv[1] == "proc":
    tree.new_cgroup = lambda: None
folder = Path(sys.argv[2])
burn = "import time; t = time.process_time()\\nwhile time.process_time() - t < 0.3: pass"
script = f"{sys.executable} -c '{burn}'; setsid sleep 60 & sleep 0.01; touch burnt; wait"
found = tree.Tree(apart=set())
found.start(["sh", "-c", script], dict(os.environ), folder, folder / "log")
give_up = time.monotonic() + 20
while not (folder / "burnt").exists() and time.monotonic() < give_up:
    time.sleep(0.02)
seen = {"cpu": found.cpu(), "pids": found.pids(), "pss": found.pss(), "grouped": found.group is not None}
found.stop()
seen["left"] = sorted(set(seen["pids"]) & {pid for pid, (_, state) in tree.processes().items() if state != "Z"})
print(json.dumps(seen))
"""


@pytest.mark.parametrize("way", ["cgroup", "proc"])
def test_a_trees_sums_hold_children_that_ended_and_its_end_spares_none(way: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(BENCH)}
    done = subprocess.run(
        [sys.executable, "-c", TREE, way, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    if way == "cgroup" and not seen["grouped"]:
        pytest.skip("no cgroup may be made here")
    assert 0.3 <= seen["cpu"] < 3
    assert len(seen["pids"]) >= 2  # the shell, and the sleep in a session of its own
    assert 10_000 < seen["pss"] < 50_000_000
    assert seen["left"] == []

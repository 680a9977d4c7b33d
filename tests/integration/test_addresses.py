"""A host with several addresses, some of them dead. With real sockets; what a name resolves to, the test says."""

import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness import STARTED, TOCSIN, Daemon, Endpoint, free_port, until
from hostile_server import FullBacklog
from tocsin.call import line as lines
from tocsin.call.attempts import perform
from tocsin.call.deadline import listen
from tocsin.call.line import Address, Line, NoneAnswered, interleaved
from tocsin.call.request import Caller
from tocsin.config import Job
from tocsin.ipc.job import Ask, Finished

PATIENCE = 20.0  # seconds
ENOUGH = 3600.0  # seconds: longer than any test
V4, V6 = socket.AF_INET, socket.AF_INET6
DUE = 1_800_000_000.0
ASK = Ask("sla-check", DUE, "6f2a1c9e-0000-5000-8000-000000000000")


@pytest.fixture
def dead() -> Iterator[Address]:
    with FullBacklog() as one:
        yield V4, ("127.0.0.1", one.port)


@pytest.fixture
def alive() -> Iterator[tuple[socket.socket, Address]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, (V4, listener.getsockname())


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[Address]]]:
    """Make the name resolve to these; what is returned fills with the order in which races try them."""
    races: list[list[Address]] = []
    race = lines.race

    def noted(addresses: list[Address], timeout: float) -> tuple[socket.socket, Address]:
        races.append(addresses)
        return race(addresses, timeout)

    monkeypatch.setattr(lines, "race", noted)

    def to(*addresses: Address) -> list[list[Address]]:
        found: list[Any] = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        return races

    return to


@pytest.fixture
def line() -> Line:
    return Line(urlsplit("http://several.example/api"), None)


Resolves = Callable[..., list[list[Address]]]
Alive = tuple[socket.socket, Address]


def test_families_take_turns() -> None:
    six, four = [(V6, (str(n), 80)) for n in range(3)], [(V4, (str(n), 80)) for n in range(2)]
    assert interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleaved([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]
    assert interleaved([]) == []


def test_a_dead_address_does_not_use_up_the_time(line: Line, resolves: Resolves, dead: Address, alive: Alive) -> None:
    resolves(dead, alive[1])
    with line.open(ENOUGH) as sock:
        assert sock.getpeername() == alive[1][1]
        assert sock.gettimeout() == ENOUGH


def test_what_answered_is_tried_first_the_next_time(
    line: Line, resolves: Resolves, dead: Address, alive: Alive, monkeypatch: pytest.MonkeyPatch
) -> None:
    races = resolves(dead, alive[1])
    line.open(ENOUGH).close()
    monkeypatch.setattr(lines, "NEXT_ADDRESS", ENOUGH)  # so nobody else gets a turn
    for _ in range(3):
        line.open(ENOUGH).close()
    assert races == [[dead, alive[1]], *[[alive[1], dead]] * 3]


def test_and_no_longer_when_it_fails(line: Line, resolves: Resolves, dead: Address, alive: Alive) -> None:
    races = resolves(dead, alive[1])
    line.open(ENOUGH).close()
    alive[0].close()
    for _ in range(2):
        with pytest.raises(NoneAnswered) as raised:
            line.open(0.2)
        assert {one for one, _ in raised.value.errors} == {dead, alive[1]}
    assert races == [[dead, alive[1]], [alive[1], dead], [dead, alive[1]]]


def test_where_the_first_answers_the_order_stays_the_systems(line: Line, resolves: Resolves, alive: Alive) -> None:
    """A name that spreads its callers over several addresses goes on doing so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        second = V4, other.getsockname()
        races = resolves(alive[1], second)
        line.open(ENOUGH).close()
        resolves(second, alive[1])
        line.open(ENOUGH).close()
    assert races == [[alive[1], second], [second, alive[1]]]


def test_a_refusal_gives_the_next_its_turn_at_once(
    line: Line, resolves: Resolves, alive: Alive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "NEXT_ADDRESS", ENOUGH)
    resolves((V4, ("127.0.0.1", free_port())), (V6, ("::1", free_port(), 0, 0)), alive[1])
    line.open(ENOUGH).close()


def test_more_addresses_than_are_tried_at_once(line: Line, resolves: Resolves, dead: Address, alive: Alive) -> None:
    resolves(dead, *((V4, ("127.0.0.1", free_port())) for _ in range(lines.AT_ONCE)), alive[1])
    line.open(ENOUGH).close()


def test_the_losers_are_closed(line: Line, resolves: Resolves, dead: Address, alive: Alive) -> None:
    resolves(dead, alive[1])
    before = os.listdir("/proc/self/fd")
    line.open(ENOUGH).close()
    assert os.listdir("/proc/self/fd") == before


def test_what_was_looked_up_ahead_is_used_once(line: Line, resolves: Resolves, dead: Address, alive: Alive) -> None:
    resolves(alive[1])
    line.look_up()
    resolves(dead)
    line.open(ENOUGH).close()
    with pytest.raises(TimeoutError):
        line.open(0.05)


def test_a_failure_names_what_happened_to_each(make_job: Callable[..., Job], resolves: Resolves, dead: Address) -> None:
    listen()
    nowhere = V6, ("2001:db8::1", 80, 0, 0)
    resolves(dead, (V4, ("127.0.0.9", free_port())), nowhere)
    job = make_job(url="http://several.example/api", connect_timeout=0.2, retries=0)
    finished = perform(Caller(job), ASK, DUE + 10**9, lambda _: False)
    assert finished.connection_errors in (("connect_timeout",), ("refused",))
    assert "127.0.0.1: no answer" in finished.detail
    assert "127.0.0.9: refused" in finished.detail
    assert "2001:db8::1: " in finished.detail


def test_a_proxy_that_is_not_used_is_named_without_its_value(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    listen()
    monkeypatch.setenv("HTTPS_PROXY", "http://bob:hunter2@proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    def call(**changes: Any) -> Finished:
        return perform(Caller(make_job(retries=0, **changes)), ASK, DUE + 10**9, lambda _: False)

    unresolved = call(url="https://nowhere.invalid/api")
    assert unresolved.connection_errors == ("dns",)
    assert unresolved.detail.endswith("; HTTPS_PROXY is set, but Tocsin does not use proxies")
    assert "hunter2" not in unresolved.detail
    assert "proxies" not in call(url=f"http://127.0.0.1:{free_port()}/").detail
    dead = [(V4, ("127.0.0.1", 1))]
    with monkeypatch.context() as patch:
        patch.setattr(Line, "_addresses", lambda _: dead)
        patch.setattr(lines, "_connected", lambda *_: time.sleep(PATIENCE))
        late = call(url="https://dead.invalid/api", timeout=0.1)
    assert (late.outcome, late.detail.partition("; ")[2]) == ("timeout", unresolved.detail.partition("; ")[2])
    monkeypatch.setenv("NO_PROXY", ".invalid")
    assert "proxies" not in call(url="https://nowhere.invalid/api").detail


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs a namespace of its own, which only root may make")


@as_root
def test_a_dead_address_of_a_running_job(daemon: Daemon) -> None:
    """As a host whose IPv6 is dead: each run would end with `connect_timeout`."""
    listener = socket.socket(V6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(("::1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    knocking = [socket.socket(V6) for _ in range(4)]
    for one in knocking:
        one.setblocking(False)
        one.connect_ex(("::1", port))
    endpoint = Endpoint(port)
    endpoint.start()
    try:
        daemon.write(
            f'[jobs.a]\nevery = "1s"\nurl = "http://dual.test.internal:{port}/api"\ntimeout = "20s"\n'
            'connect_timeout = "20s"\nretries = 0\n'
        )
        hosts = daemon.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n::1 dual.test.internal\n127.0.0.1 dual.test.internal\n")
        with daemon.log_file.open("ab") as log:
            daemon.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", 'mount --bind "$1" /etc/hosts && exec "$0" run', TOCSIN, hosts],
                cwd=daemon.folder,
                env=daemon.environment,
                stdout=log,
                stderr=log,
            )
        STARTED.add(daemon)
        rows = until(lambda: [row for row in daemon.history() if row["outcome"]][2:], "three runs")
        assert {row["outcome"] for row in rows} == {"success"}
    finally:
        daemon.stop()
        endpoint.stop()
        for one in (listener, *knocking):
            one.close()


# ---- addresses with a zone (RFC 6874)


SCRIPT = """
import asyncio, dataclasses, pickle, sys
from hostile_server import OK, HostileServer
from tocsin.call.attempts import Endpoint
from tocsin.doctor import target as doctor
from tocsin.ipc.job import Ask

job, heard = pickle.load(sys.stdin.buffer), []
ask = Ask("a", 1.0, "6f2a1c9e-0000-5000-8000-000000000000")

def serve(peer):
    heard.append(peer.hear())
    peer.say(OK)

with HostileServer(serve, host="fe80::1234%lo") as server:
    for written in ("fe80::1234%25lo", "fe80::1234%lo"):
        target = Endpoint(dataclasses.replace(job, url=f"http://[{written}]:{server.port}/api"))
        print(target.call(ask, 1e12, lambda _: False, lambda: True).detail or "fine")
    for one in heard:
        print(one.split(b"\\r\\n")[1].decode().replace(str(server.port), "PORT"))
    job = dataclasses.replace(job, url=f"http://[fe80::1234%25lo]:{server.port}/api")
    found = asyncio.run(doctor.check([job], seconds=10, probe_auth=False, succeeded=set()))
    print([one.status for one in found if one.check in ("target.name", "target.connect")])
    print(any("200 to OPTIONS" in one.detail for one in found))
"""


@as_root
def test_the_zone_of_an_address(make_job: Callable[..., Job]) -> None:
    """It is for this machine alone: the request does not name it."""
    commands = 'ip link set lo up && ip addr add fe80::1234/64 dev lo nodad && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", commands, sys.executable, SCRIPT],
        input=pickle.dumps(make_job(retries=0, timeout=PATIENCE)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == ["fine"] * 2 + ["Host: [fe80::1234]:PORT"] * 2 + [
        "['ok', 'ok']",
        "True",
    ]

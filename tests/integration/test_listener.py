"""The exporter's address: the parent's from before the first fork to its end, whatever becomes of the exporter."""

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Daemon, Endpoint, free_port, until
from tocsin.parent import listener

Start = Callable[[str], Daemon]
JOB = '[jobs.a]\nevery = "1s"\npath = "/a"\n'


@pytest.fixture
def second(tmp_path: Path, endpoint: Endpoint) -> Iterator[Daemon]:
    (tmp_path / "second").mkdir()
    one = Daemon(tmp_path / "second", endpoint)
    yield one
    one.cleanup()


def answers(daemon: Daemon, port: int | None = None) -> bool:
    daemon.port = port or daemon.port
    try:
        return '"status"' in daemon.get("/healthz")
    except OSError:
        return False


def test_a_second_daemon_at_the_same_address_runs_nothing(running: Start, second: Daemon, endpoint: Endpoint) -> None:
    daemon = running(JOB)
    until(lambda: endpoint.calls, "a call")
    second.environment["TOCSIN_LISTEN"] = daemon.environment["TOCSIN_LISTEN"]
    second.write(JOB.replace("jobs.a", "jobs.second"))
    refused = second.run("run")
    assert refused.returncode == 3
    assert f"cannot listen on 127.0.0.1:{daemon.port}: process {daemon.pid} (tocsin, in {daemon.folder})" in (
        refused.stderr
    )
    assert "TOCSIN_LISTEN" in refused.stderr
    assert not endpoint.of("second")
    assert not (second.folder / "var" / "ledger.sqlite").exists()


def test_an_address_that_is_not_here_is_refused_at_once(daemon: Daemon) -> None:
    daemon.environment["TOCSIN_LISTEN"] = "192.0.2.1:9911"
    daemon.write(JOB)
    refused = daemon.run("run")
    assert refused.returncode == 1
    assert "cannot listen on 192.0.2.1:9911: Cannot assign requested address" in refused.stderr
    assert "an address of this machine" in refused.stderr


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "ports below 1024 are for root"), (errno.EAFNOSUPPORT, "of this machine")]
)
def test_the_advice_fits_the_trouble(number: int, words: str) -> None:
    assert words in listener.advice(OSError(number, os.strerror(number)))


def test_nobody_can_take_the_port_while_the_exporter_is_gone(running: Start) -> None:
    daemon = running(JOB)
    until(lambda: answers(daemon), "the exporter")
    for _ in range(3):
        old = daemon.kill("exporter", signal.SIGKILL)
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as client:  # waits for the next exporter
            for reuse in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                with socket.socket() as neighbour:
                    neighbour.setsockopt(socket.SOL_SOCKET, reuse, 1)
                    with pytest.raises(OSError, match="in use"):
                        neighbour.bind(("127.0.0.1", daemon.port))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 ")
        daemon.child("exporter", other_than=old)


def test_no_job_has_the_listener(running: Start) -> None:
    daemon = running(JOB)
    until(lambda: answers(daemon), "the exporter")
    daemon.child("job a")
    inodes = listener.listening(daemon.port)
    have = {title for title, pid in daemon.children().items() if inodes & listener.sockets(str(pid))}
    assert have == {"exporter"}
    assert inodes & listener.sockets(str(daemon.pid))


def test_a_reload_moves_the_listener_and_a_taken_port_refuses_it(daemon: Daemon, endpoint: Endpoint) -> None:
    old, new = daemon.port, free_port()
    del daemon.environment["TOCSIN_LISTEN"]

    def write(address: str) -> None:
        daemon.write(JOB, f'listen = "{address}"')

    write(f"127.0.0.1:{old}")
    daemon.start()
    until(lambda: answers(daemon, old), "the exporter")
    with socket.create_server(("127.0.0.1", new)):
        write(f"127.0.0.1:{new}")
        refused = daemon.run("reload")
        assert refused.returncode == 2
        assert f"cannot listen on 127.0.0.1:{new}: process {os.getpid()} (" in refused.stderr
        assert answers(daemon, old)
        calls = len(endpoint.calls)
        until(lambda: len(endpoint.calls) > calls, "the job to go on")
    assert daemon.run("reload").returncode == 0
    until(lambda: answers(daemon, new), "the exporter at its new address")
    until(lambda: not answers(daemon, old), "the old address to be free")
    write(f"0.0.0.0:{new}")
    assert daemon.run("reload").returncode == 0, "its own listener does not stand in its way"
    until(lambda: answers(daemon, new), "the exporter at every address")
    with socket.create_server(("::1", old), family=socket.AF_INET6):
        write(f"[::1]:{old}")
        assert daemon.run("reload").returncode == 2
    write(f"[::1]:{new}")
    assert daemon.run("reload").returncode == 0
    with socket.create_connection(("::1", new), timeout=30) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 ")
    assert daemon.stop() == 0


def test_an_address_on_the_same_port_that_another_has_leaves_the_listener_as_it_was() -> None:
    one = listener.Listener(("127.0.0.1", free_port()))
    port = one.address[1]
    with socket.create_server(("127.0.0.2", port)):
        with pytest.raises(listener.CannotListen) as refused:
            one.move(("0.0.0.0", port))
        assert refused.value.held
        assert one.address == ("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            client, _ = one.socket.accept()
            client.close()
    one.move(("0.0.0.0", port))
    assert one.socket.getsockname() == ("0.0.0.0", port)
    one.close()

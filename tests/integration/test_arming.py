"""Requests that are armed: connected and written ahead, sent at the instant, never twice. With real sockets."""

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme

from tocsin.call import attempts
from tocsin.call.attempts import Endpoint
from tocsin.call.request import Caller
from tocsin.config import Job
from tocsin.config.tls import TlsFiles
from tocsin.ipc.job import Ask, Finished
from tocsin.job.clock import Clock

MakeJob = Callable[..., Job]

REPLY = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"success": true}'
PATIENCE = 10.0  # seconds
DUE = 1_800_000_000.0
ASK = Ask("sla-check", DUE, "6f2a1c9e-0000-5000-8000-000000000000")


class Server:
    """Listens, and does what the test says: nothing by itself."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]
        self.accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE)
        self.accepted.append(sock)
        return sock

    def nobody_else(self) -> bool:
        return not select.select([self.listener], [], [], 0)[0]


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    for sock in (one.listener, *one.accepted):
        sock.close()


@pytest.fixture
def target(make_job: MakeJob, server: Server) -> Endpoint:
    return Endpoint(make_job(url=f"http://127.0.0.1:{server.port}/api", retries=0, timeout=PATIENCE))


def arm(target: Endpoint) -> None:
    target.arm(ASK, time.time() + PATIENCE)


def call(target: Endpoint) -> Finished:
    return target.call(ASK, time.time() + 60, lambda _: False, lambda: True)


def request_on(sock: socket.socket) -> bytes:
    """The whole request, and the reply to it."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        piece = sock.recv(65536)
        assert piece, f"it ended with {got!r}"
        got += piece
    sock.sendall(REPLY)
    return got


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_for_word(target: Endpoint) -> None:
    assert target.line is not None
    assert select.select([target.line], [], [], PATIENCE)[0]


def look_after_word(target: Endpoint) -> None:
    wait_for_word(target)
    target.look(ASK, time.time() + PATIENCE)


def succeeds(server: Server, target: Endpoint) -> bool:
    """The whole of a run on the connection that is armed now."""
    sock = server.accept()
    target.fire()
    request_on(sock)
    return call(target).outcome == "success"


def test_nothing_is_sent_before_the_instant_and_all_of_it_then(server: Server, target: Endpoint) -> None:
    arm(target)
    sock = server.accept()
    assert not select.select([sock], [], [], 0.05)[0]
    assert target.fire()
    request = request_on(sock)
    finished = call(target)
    assert finished.outcome == "success"
    assert request.startswith(b"POST /api HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Tocsin-Scheduled-At: 2027-01-15T08:00:00Z\r\n" in request
    assert server.nobody_else()
    assert target.line is None


@pytest.mark.parametrize(
    ("family", "address", "host"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "[::1]"),
        (socket.AF_INET, "127.0.0.1", "localhost"),
        (socket.AF_INET, "127.0.0.1", "127.1"),  # an address only for who looks it up (inet(3))
    ],
)
def test_an_address_and_a_name_are_armed_alike(
    make_job: MakeJob, family: socket.AddressFamily, address: str, host: str
) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        target = Endpoint(make_job(url=f"http://{host}:{listener.getsockname()[1]}/api", retries=0, timeout=PATIENCE))
        arm(target)
        listener.settimeout(PATIENCE)
        sock = listener.accept()[0]
        target.fire()
        request = request_on(sock)
        assert call(target).outcome == "success"
        assert f"\r\nHost: {host}:".encode() in request
        sock.close()


def test_one_that_the_server_closed_is_opened_anew_before_the_instant(server: Server, target: Endpoint) -> None:
    arm(target)
    server.accept().close()
    look_after_word(target)
    assert succeeds(server, target)
    assert server.nobody_else()


def test_a_server_that_closes_whatever_comes_is_asked_anew_once(server: Server, target: Endpoint) -> None:
    arm(target)
    for _ in range(2):
        server.accept().close()
        look_after_word(target)
    assert target.line is None
    assert server.nobody_else()


def test_a_server_that_speaks_first_does_not_get_the_request_there(server: Server, target: Endpoint) -> None:
    arm(target)
    server.accept().sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    look_after_word(target)
    assert succeeds(server, target)


def test_a_reset_that_the_send_meets_costs_nothing(server: Server, target: Endpoint) -> None:
    """Surely nothing of it was received, so it goes out once more."""
    arm(target)
    reset(server.accept())
    wait_for_word(target)
    assert not target.fire()  # without a look
    assert target.line is None
    server.listener.setblocking(True)

    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(request_on(server.accept())))
    thread.start()
    assert call(target).outcome == "success"
    thread.join()
    assert len(answers) == 1


def test_what_may_have_been_received_is_not_sent_again(server: Server, target: Endpoint) -> None:
    """The server reads the request and dies."""
    arm(target)
    sock = server.accept()
    target.fire()
    assert sock.recv(65536)
    sock.close()
    finished = call(target)
    assert (finished.outcome, finished.connection_errors) == ("connection_error", ("reset",))
    assert server.nobody_else()


def test_a_server_that_is_not_there_yet_is_no_result(make_job: MakeJob) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        target = Endpoint(make_job(url=f"http://127.0.0.1:{port}/api", retries=0))
        arm(target)
        assert target.line is None
        target.fire()
        finished = call(target)
        assert (finished.outcome, finished.connection_errors) == ("connection_error", ("refused",))
        assert finished.started is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ssl leaves the socket to refcounts
def test_a_slow_handshake_is_given_up_when_the_instant_is_near(server: Server, make_job: MakeJob) -> None:
    target = Endpoint(make_job(url=f"https://127.0.0.1:{server.port}/api"))
    target.arm(ASK, time.time() + 0.1)
    assert target.line is None


def test_it_learns_how_early_to_begin(server: Server, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what arming took the last time; one that did not end in time has twice as long the next time."""
    took = iter([0.0, 0.2, 5.0, 5.3])  # when it begins, and when it ends
    target = Endpoint(make_job(url=f"http://127.0.0.1:{server.port}/api"))
    assert 0 < target.lead < 0.2, "a server with one worker serves nobody else for as long"
    with monkeypatch.context() as patch:
        patch.setattr(attempts, "time", SimpleNamespace(time=time.time, monotonic=lambda: next(took)))
        arm(target)
        assert target.lead == pytest.approx(attempts.LEAST_LEAD + 2 * 0.2)
        monkeypatch.setattr(Caller, "arm", lambda *_: None)
        target.disarm()
        target.arm(ASK, time.time() + 0.3)
    assert target.lead == pytest.approx(attempts.LEAST_LEAD + 4 * 0.3)


def test_a_refused_connection_teaches_nothing(make_job: MakeJob) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = Endpoint(make_job(url=f"http://127.0.0.1:{taken.getsockname()[1]}/api"))
        before = target.lead
        arm(target)
    assert target.lead == before


def test_the_name_is_looked_up_ahead(make_job: MakeJob, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Endpoint(make_job(url=f"http://localhost:{server.port}/api"))
    target.prepare(time.time() + PATIENCE)
    assert server.nobody_else(), "no server notices that"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it is known already"))
    arm(target)
    assert target.line is not None
    target.disarm()


def test_where_the_job_says_so_nothing_is_armed(server: Server, make_job: MakeJob) -> None:
    target = Endpoint(make_job(url=f"http://127.0.0.1:{server.port}/api", arm=False))
    arm(target)
    assert target.line is None
    assert target.lead == 0
    assert server.nobody_else()


def test_disarmed_means_closed(server: Server, target: Endpoint) -> None:
    arm(target)
    sock = server.accept()
    target.disarm()
    assert sock.recv(1) == b""


def test_a_large_request_is_sent_whole(server: Server, make_job: MakeJob) -> None:
    body = b"x" * 3_000_000
    target = Endpoint(make_job(url=f"http://127.0.0.1:{server.port}/api", body=body, retries=0, timeout=PATIENCE))
    arm(target)
    sock = server.accept()
    target.fire()

    got = bytearray()

    def read() -> None:
        while len(got) < len(body) or not got.endswith(b"x"):
            got.extend(sock.recv(1 << 20))
            if bytes(got).partition(b"\r\n\r\n")[2] == body:
                break
        sock.sendall(REPLY)

    thread = threading.Thread(target=read)
    thread.start()
    assert call(target).outcome == "success"
    thread.join()


def test_session_tickets_of_tls_are_no_end(server: Server, make_job: MakeJob, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    target = Endpoint(
        make_job(
            url=f"https://127.0.0.1:{server.port}/api", tls=TlsFiles(tmp_path / "ca.pem"), retries=0, timeout=PATIENCE
        )
    )

    sockets: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: sockets.append(context.wrap_socket(server.accept(), server_side=True)))
    thread.start()
    arm(target)
    thread.join()
    line = target.line
    look_after_word(target)  # the tickets
    assert target.line is line
    target.fire()
    request_on(sockets[0])
    assert call(target).outcome == "success"
    sockets[0].close()
    assert server.nobody_else()


def test_the_clock_tells_of_the_line(server: Server, target: Endpoint) -> None:
    arm(target)
    clock = Clock()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.accept().close()
        assert clock.wait(time.time() + 3600, ours, target.line) == "line"
        theirs.send(b"x")
        assert clock.wait(time.time() + 3600, ours, target.line) == "message"
    target.disarm()

"""What is kept of the requests and replies of a run, with real connections, and no secret in any of it."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from hostile_server import OK, HostileServer, Peer, status
from tocsin.call.attempts import Endpoint, perform
from tocsin.call.deadline import listen
from tocsin.call.request import Caller
from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.config.tls import TlsFiles
from tocsin.ipc.job import Ask, Finished
from tocsin.redact import redact

pytestmark = pytest.mark.usefixtures("nothing_is_secret_yet")
MakeJob = Callable[..., Job]
SECRET = "correct-horse-battery-staple"
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nX-Request-Id: 4711\r\nSet-Cookie: sid=abcdef\r\n"
    b"Location: https://user:hunter22@other.example/login?token=xyzzy\r\nX-Echo: got " + SECRET.encode() + b" !\r\n"
    b"Content-Length: 4\r\n\r\nbusy"
)


class App:
    def __init__(self) -> None:
        self.answers = [OK]

    def serve(self, peer: Peer) -> None:
        peer.hear()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer:
            peer.say(answer)


@pytest.fixture
def app() -> App:
    listen()
    return App()


@pytest.fixture
def server(app: App) -> Iterator[HostileServer]:
    with HostileServer(app.serve) as one:
        yield one


def call(job: Job) -> Finished:
    redact.hide(job.secret.parts() if job.secret else [])
    return perform(Caller(job), Ask(job.name, time.time(), "the-run"), time.time() + 1000, lambda _: True)


def test_a_failed_attempt_is_kept_and_a_success_is_not(app: App, server: HostileServer, make_job: MakeJob) -> None:
    app.answers = [BUSY, OK]
    job = make_job(
        url=f"http://127.0.0.1:{server.port}/api?page=2",
        headers=(("X-Mine", "yes"), ("X-Api-Key", "0815")),
        secret=Secret(SECRET, "header:X-Carrier", "CRON_SECRET"),
        body=b"1234567",
    )
    run = call(job)
    assert (run.outcome, run.retries, run.reply) == ("success", 1, "")
    failed, well = run.attempts
    assert (failed.outcome, failed.status, failed.reply, failed.body_size) == ("http_error", 503, "busy", 7)
    first, *headers = failed.request.split("\n")
    assert first == f"POST http://127.0.0.1:{server.port}/api?…"
    assert {"X-Mine: yes", "X-Api-Key: [redacted]", "X-Carrier: [redacted]", "X-Tocsin-Attempt: 0"} <= set(headers)
    assert failed.head.split("\n") == [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/plain",
        "X-Request-Id: 4711",
        "Set-Cookie: [redacted]",
        "Location: https://…@other.example/login?…",
        "X-Echo: got [redacted] !",
        "Content-Length: 4",
    ]
    assert (well.outcome, well.request, well.head, well.reply) == ("success", "", "", "")
    for secret in (SECRET, "abcdef", "hunter22", "xyzzy", "0815"):
        assert secret not in repr(run)
    for one in run.attempts:
        parts = one.parts
        assert (parts.lookup, parts.tls, parts.ahead) == (None, None, False)
        assert parts.connect is not None
        assert parts.first_byte is not None
        assert parts.whole is not None
        assert parts.first_byte <= parts.whole


def test_all_or_none_is_kept_where_the_job_says_so(app: App, server: HostileServer, make_job: MakeJob) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    [one] = call(make_job(url=url, keep_replies="all")).attempts
    assert one.request.startswith(f"POST {url}\nHost: ")
    assert one.head.startswith("HTTP/1.1 200 OK\n")
    app.answers = [status(500)]
    run = call(make_job(url=url, keep_replies="none"))
    assert (run.attempts, run.reply) == ((), "")
    assert run.parts is not None


def test_how_far_it_came_is_known(server: HostileServer, app: App, make_job: MakeJob) -> None:
    [one] = call(make_job(url="http://127.0.0.1:1/", retries=0)).attempts or [None]
    assert one is None, "nothing was sent and nothing came"
    app.answers = [b""]
    [one] = call(make_job(url=f"http://127.0.0.1:{server.port}/", retries=0)).attempts
    assert one.request
    assert (one.head, one.parts.first_byte) == ("", None)
    app.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"]
    [one] = call(make_job(url=f"http://127.0.0.1:{server.port}/", retries=0)).attempts
    assert (one.status, one.head) == (200, "HTTP/1.1 200 OK\nContent-Length: 10")
    assert one.parts.first_byte is not None


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_name_and_handshake_have_their_own_times_and_were_before(
    app: App, make_job: MakeJob, tmp_path: Path, name: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with HostileServer(app.serve, context) as server:
        endpoint = Endpoint(make_job(url=f"https://{name}:{server.port}/", tls=TlsFiles(tmp_path / "ca.pem")))
        due = time.time() + 0.5
        ask = Ask("sla-check", due, "the-run")
        endpoint.prepare(due)
        endpoint.arm(ask, due)
        assert endpoint.fire()
        parts = endpoint.call(ask, due + 100, lambda _: True, lambda: True).parts
        assert parts is not None
        assert parts.ahead
        assert (parts.lookup is None) == (name == "127.0.0.1")
        assert parts.connect is not None
        assert parts.tls
        assert parts.first_byte

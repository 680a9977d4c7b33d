"""A real exporter: forked off, told things over a real channel, asked over real HTTP."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter_rig import Exporter, exporter, job, run, world
from harness import until
from tocsin.ipc.exporter import Heartbeat, JobRemoved, Started
from tocsin.ipc.job import Sleeping


def test_what_the_parent_says_is_what_http_answers(tmp_path: Path) -> None:
    now = time.time()
    with exporter(tmp_path / "log") as one:
        assert one.ask("/readyz")[0] == 503
        one.send(*world(job(), now=now), Sleeping("sla-check", now + 60))
        until(lambda: one.ask("/readyz")[0] == 200, "readiness")
        one.send(Started("sla-check", now))
        until(lambda: one.metric('tocsin_job_running{job_name="sla-check"}'), "the run to begin")
        one.send(run(due=now, reported={"unassigned": 3.0}))
        series = 'tocsin_job_reported_total{field="unassigned",job_name="sla-check"}'
        until(lambda: one.metric(series) == 3, "the run to be counted")
        said = json.loads(one.ask("/api/jobs/sla-check")[2])
        assert said["last_outcome"] == "success"
        assert said["pid"] == os.getpid()
        assert b"sla-check" in one.ask("/")[2]
        one.send(JobRemoved("sla-check"))
        until(lambda: one.metric(series) is None, "the series to disappear")
        assert one.ask("/jobs/sla-check")[0] == 404


def test_replies_carry_their_headers(tmp_path: Path) -> None:
    with exporter(tmp_path / "log", *world(job())) as one:
        for path in ("/", "/metrics", "/healthz", "/nope", "/static/page.css"):
            status, headers, body = one.ask(path)
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["connection"] == "close"
            assert headers["server"] == "Tocsin"
            assert int(headers["content-length"]) == len(body)
            head_status, head_headers, head_body = one.ask(path, "HEAD")
            assert (head_status, head_body) == (status, b"")
            assert head_headers["content-length"].isdigit()
        status, headers, _ = one.ask("/metrics", "POST")
        assert (status, headers["allow"]) == (405, "GET, HEAD")
        assert one.ask("/healthz", Host="evil.example")[0] == 421


def test_a_browser_with_many_cookies_is_answered(tmp_path: Path) -> None:
    """It sends those of every port of localhost."""
    with exporter(tmp_path / "log", *world(job())) as one:
        for path in ("/", "/metrics"):
            assert one.ask(path, Cookie="a=" + "x" * 16000)[0] == 200
        assert one.ask("/", Cookie="a=" + "x" * 17000)[0] == 400
        assert one.ask("/" + "x" * 5000)[0] == 400


def test_a_long_body_is_refused_with_an_answer(tmp_path: Path) -> None:
    with exporter(tmp_path / "log") as one, socket.create_connection(("127.0.0.1", one.port), timeout=20) as client:
        with contextlib.suppress(OSError):  # it may have answered and closed already
            client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 500_000)
        assert client.recv(4096).startswith(b"HTTP/1.1 405 ")


REFUSED: list[bytes] = []  # by the one exporter for all that is no request
ECHO = b"what-the-client-said"
HEAD = b"GET /" + ECHO + b" HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"G\x00T /" + ECHO + b" HTTP/1.1\r\n\r\n",
        b"what-the-client-said\r\n\r\n",
        b"GET /" + ECHO + b"\r\n\r\n",  # HTTP/0.9
        b"GET /" + ECHO + b" HTTP/9.9\r\n\r\n",
        b"GET /" + ECHO + b" HTTP/1.1 \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + ECHO + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + ECHO + b" : 1\r\n\r\n",
        HEAD + b"Host: " + ECHO + b"\r\n\r\n",
        HEAD + b"X: a\x00b" + ECHO + b"\r\n\r\n",
        HEAD + b"Content-Length: " + ECHO + b"\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + ECHO + b"\r\n",
        HEAD + b"Transfer-Encoding: " + ECHO + b"\r\n\r\n",
        b"GET /" + ECHO * 400 + b" HTTP/1.1\r\n\r\n",
        HEAD + b"X: " + ECHO * 2000 + b"\r\n\r\n",
        HEAD + (ECHO + b": 1\r\n") * 200 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),  # the beginning of TLS
    ],
    ids=lambda said: repr(said[:60]),
)
def test_what_is_no_request_is_refused_in_our_words(listening: Exporter, said: bytes) -> None:
    """aiohttp's own pages name Python, and repeat what they were sent."""
    REFUSED.append(said)
    with socket.create_connection(("127.0.0.1", listening.port), timeout=20) as client:
        with contextlib.suppress(OSError):  # it may have answered and hung up already
            client.sendall(said)
        reply = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                reply += piece
    assert re.match(rb"HTTP/(0\.9|1\.[01]) 400 ", reply), reply
    head = reply.lower()
    assert b"\r\nserver: tocsin\r\n" in head
    assert b"\r\nconnection: close\r\n" in head or not reply.startswith(b"HTTP/1.1")
    for word in (ECHO, b"python", b"aiohttp", b"traceback", b"html>"):
        assert word not in head


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """One exporter for all of them."""
    with exporter(tmp_path_factory.mktemp("listening") / "log", *world(job())) as one:
        yield one
        series = 'tocsin_exporter_refused_requests_total{reason="malformed"}'
        until(lambda: one.metric(series) == len(REFUSED), "all of them to be counted")
        lines = one.log.read_text().splitlines()
        assert len([line for line in lines if "refused a request: it is not HTTP" in line]) < 6
        assert "peer=127.0.0.1" in one.log.read_text()


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is part of Debian's package prometheus"
    off = job("off", enabled=False, state="disabled")
    with exporter(tmp_path / "log", *world(job(), off), run(reported={"unassigned": 2.0})) as one:
        until(lambda: one.metric('tocsin_job_retries_total{job_name="sla-check"}') is not None, "the job")
        text = one.ask("/metrics")[2]
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_heartbeat_is_a_sign_of_life(tmp_path: Path) -> None:
    with exporter(tmp_path / "log") as one:
        one.send(Heartbeat(time.time()))
        assert json.loads(one.ask("/healthz")[2])["status"] == "ok"


def test_the_end_of_the_parent_is_the_end(tmp_path: Path) -> None:
    one = Exporter(tmp_path / "log")
    try:
        until(one.answers, "the exporter to answer")
        one.channel.close()
        until(lambda: one.process.poll() is not None, "the exporter to stop")
        assert one.process.returncode == 0
        assert one.log.read_text().endswith("the parent is gone\n")
    finally:
        one.end()


def test_ipv6(tmp_path: Path) -> None:
    one = Exporter(tmp_path / "log", host="::1")
    try:

        def answer() -> bytes:
            try:
                with socket.create_connection(("::1", one.port), timeout=10) as client:
                    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\n\r\n")
                    return client.recv(4096)
            except OSError:
                return b""

        assert until(answer, "an answer").startswith(b"HTTP/1.1 200 ")
    finally:
        one.end()


def test_nonsense_from_the_parent_ends_it(tmp_path: Path) -> None:
    one = Exporter(tmp_path / "log")
    try:
        until(one.answers, "the exporter to answer")
        os.write(one.channel.fileno(), b"nonsense")
        until(lambda: one.process.poll() is not None, "the exporter to stop")
        assert one.process.returncode == 1
        assert "ChannelGarbage" in one.log.read_text()
    finally:
        one.end()

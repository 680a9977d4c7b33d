"""Acting over HTTP with a real daemon: from pages and by programs, over TLS, and what attackers get."""

import base64
import http.client
import json
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme

from harness import Daemon, Endpoint, until

FORM = "application/x-www-form-urlencoded"
JOBS = """
[jobs.daily]
schedule = "0 0 1 1 *"
path = "/daily"
[jobs.off]
schedule = "0 0 1 1 *"
path = "/off"
enabled = false
"""
READ, ACT, PASSWORD = "0123456789abcdef-read", "0123456789abcdef-act", "0123456789abcdef-ann"
PARTED = """
listen_bearer_env = "READ_TOKEN"
listen_actor_bearer_env = "ACT_TOKEN"
listen_actor_user = "ann"
listen_actor_password_env = "ANN_PASSWORD"
"""
ANN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
Sent = tuple[int, dict[str, str], str]


class Site:
    """Sends requests to the daemon's listener."""

    def __init__(self, daemon: Daemon, tls: ssl.SSLContext | None = None) -> None:
        self.port, self.tls = daemon.port, tls

    def send(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Sent:
        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        more: dict[str, Any] = {"context": self.tls} if self.tls else {}
        connection = kind("127.0.0.1", self.port, timeout=20, **more)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read().decode()
        finally:
            connection.close()

    def token(self, path: str = "/jobs/daily", **headers: str) -> str:
        page = self.send("GET", path, **headers)[2]
        found = re.search(r'name="token" value="([^"]+)"', page)
        assert found, page
        return found[1]

    def post(self, path: str, token: str, said: dict[str, str] | None = None, /, **headers: str) -> Sent:
        """As a browser does it."""
        own = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        sent = {"Content_Type": FORM, "Accept": "text/html", "Origin": own, "Sec_Fetch_Site": "same-origin", **headers}
        return self.send("POST", path, urlencode({"token": token, **(said or {})}), **sent)

    def api(self, path: str, said: Any = None, **headers: str) -> tuple[int, Any]:
        body = json.dumps(said or {})
        status, _, text = self.send("POST", path, body, Content_Type="application/json", **headers)
        return status, json.loads(text)


Open = Callable[..., Site]


@pytest.fixture
def opened(daemon: Daemon, endpoint: Endpoint) -> Open:
    """A daemon with jobs that fire when they are told to."""

    def start(more: str = 'listen_actions = "loopback"', tls: ssl.SSLContext | None = None) -> Site:
        assert endpoint
        daemon.environment |= {"READ_TOKEN": READ, "ACT_TOKEN": ACT, "ANN_PASSWORD": PASSWORD}
        daemon.write(JOBS, more)
        daemon.start()
        daemon.child("job daily")
        site = Site(daemon, tls)
        until(lambda: daemon.json("jobs"), "the daemon")
        until(lambda: _status(site, "/readyz") == 200, "the exporter to be ready")
        return site

    return start


def _status(site: Site, path: str) -> int:
    try:
        return site.send("GET", path)[0]
    except OSError:
        return 0


def acted(daemon: Daemon) -> list[dict[str, Any]]:
    return [json.loads(line) for line in daemon.log().splitlines() if '"action"' in line]


def test_run_now_and_see_it_finish(opened: Open, daemon: Daemon, endpoint: Endpoint) -> None:
    site = opened('listen_actions = "loopback"\nlog_format = "json"')
    status, headers, _ = site.post("/jobs/daily/fire", site.token(), {"why": "try it"})
    assert (status, headers["location"], headers["cache-control"]) == (303, "/jobs/daily?did=fire", "no-store")
    assert "The job was told to run now." in site.send("GET", headers["location"])[2]
    until(lambda: len(endpoint.calls) == 1, "the call")
    (run,) = until(lambda: json.loads(site.send("GET", "/api/runs?job=daily")[2])["runs"], "the run")
    until(lambda: run["run_id"] in site.send("GET", "/jobs/daily")[2], "the run on the page")
    status, said = site.api("/jobs/daily/fire", {"why": "again"})
    assert (status, said["result"]) == (200, "done")
    until(lambda: site.send("GET", said["run"])[0] == 200, "the run by its id")
    first, second = acted(daemon)
    (listed, *_) = json.loads(site.send("GET", "/api/actions?job=daily")[2])["actions"]
    assert (listed["action"], listed["run_id"], listed["address"]) == ("fire", said["run_id"], "127.0.0.1")
    daemon.kill("exporter")
    until(lambda: _status(site, "/readyz") == 200, "the next exporter")
    until(lambda: ">fire</a>" in site.send("GET", "/jobs/daily")[2], "the actions from before it")
    assert "by somebody (page, 127.0.0.1): try it" in daemon.run("history").stdout
    assert (first["action"], first["job"], first["way"], first["address"]) == ("fire", "daily", "page", "127.0.0.1")
    assert (first["why"], first["run_id"]) == ("try it", run["run_id"])
    assert (second["way"], second["run_id"]) == ("api", said["run_id"])


def test_pause_with_an_end_and_see_it_resume(opened: Open, daemon: Daemon) -> None:
    site = opened(PARTED)
    token = site.token(Authorization=ANN)
    said = {"for": "12s", "why": "deploy <b>\r\nSet-Cookie: a=b"}
    status, headers, _ = site.post("/jobs/daily/pause", token, said, Authorization=ANN)
    assert (status, headers["location"]) == (303, "/jobs/daily?did=pause")
    page = until(lambda: _page_with(site, "by ann"), "the pause on the page")
    assert "deploy &lt;b&gt; Set-Cookie: a=b" in page
    one: dict[str, Any] = daemon.json("jobs")[0]
    assert (one["paused_by"], one["paused_why"]) == ("ann", "deploy <b> Set-Cookie: a=b")
    until(lambda: not daemon.json("jobs")[0]["paused"], "the end of the pause")
    assert site.api("/jobs/daily/pause", {}, Authorization=f"Bearer {ACT}")[0] == 200
    assert daemon.json("jobs")[0]["paused_by"] == "token ACT_TOKEN"
    assert site.api("/jobs/daily/resume", {}, Authorization=f"Bearer {ACT}")[1]["text"] == "daily is resumed"


def test_a_reload_that_restarts_the_exporter_is_answered(opened: Open, daemon: Daemon) -> None:
    site = opened()
    pid = daemon.child("exporter")
    daemon.write(JOBS.replace("enabled = false", ""), 'listen_actions = "loopback"\nlisten_hosts = ["other"]')
    status, said = site.api("/reload")
    assert status == 200, said
    assert "enabled: off" in said["text"]
    daemon.child("exporter", other_than=pid)
    token = until(lambda: _token(site), "the new exporter")
    daemon.kill("exporter")
    until(lambda: _status(site, "/readyz") == 200, "one more exporter")
    assert site.post("/jobs/daily/fire", token)[0] == 303, "the form of before still holds"
    daemon.write("[jobs.daily]\nschedule = 7\n", 'listen_actions = "loopback"')
    status, said = site.api("/reload")
    assert (status, "nothing changed" in said["error"]) == (409, True)


def _page_with(site: Site, words: str) -> str:
    page = site.send("GET", "/jobs/daily", Authorization=ANN)[2]
    return page if words in page else ""


def _token(site: Site) -> str | None:
    try:
        return site.token()
    except (OSError, AssertionError):
        return None


def test_who_may_read_and_who_may_act(opened: Open, daemon: Daemon, endpoint: Endpoint) -> None:
    site = opened(PARTED)
    for headers, status in (
        ({}, 401),
        ({"Authorization": f"Bearer {READ}"}, 403),
        ({"Authorization": "Bearer x"}, 401),
    ):
        assert site.send("POST", "/jobs/daily/fire", "{}", Content_Type="application/json", **headers)[0] == status
        assert site.send("GET", "/jobs/daily/fire", **headers)[0] in (401, 405)
    bobs_page_of_another_daemon = site.token(Authorization=ANN)
    assert site.post("/jobs/daily/fire", bobs_page_of_another_daemon, Authorization=f"Bearer {READ}")[0] == 403
    assert endpoint.calls == []
    assert site.send("GET", "/", Authorization=f"Bearer {READ}")[0] == 200
    metrics = site.send("GET", "/metrics", Authorization=f"Bearer {READ}")[2]
    assert 'tocsin_exporter_refused_requests_total{reason="not_allowed"} 2.0' in metrics
    assert site.api("/jobs/daily/fire", {}, Authorization=f"Bearer {ACT}")[0] == 200
    assert not [secret for secret in (READ, ACT, PASSWORD, ANN) if secret in daemon.log()]


def test_a_forged_post_of_another_origin_is_refused(opened: Open, endpoint: Endpoint) -> None:
    site = opened()
    token = site.token()
    forged: tuple[dict[str, str], ...] = (
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
        {"Origin": f"http://localhost:{site.port}", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "null"},
    )
    for headers in forged:
        status, _, page = site.post("/jobs/daily/fire", token, **headers)
        assert (status, "another site" in page) == (403, True)
    assert site.post("/jobs/daily/fire", "")[0] == 403
    assert site.send("POST", "/jobs/daily/fire")[0] == 403
    assert site.post("/jobs/daily/fire", token, Host="evil.example")[0] == 421
    assert site.post("/jobs/daily/fire", token, X_Forwarded_For="192.0.2.1")[0] == 403
    assert endpoint.calls == []


def test_over_tls_with_a_password(opened: Open, daemon: Daemon, tmp_path: Path, endpoint: Endpoint) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    more = f'listen_cert = "{tmp_path}/both.pem"\nlisten_user = "bob"\n'
    daemon.environment["BOB"] = "0123456789abcdef-bob"
    bob = "Basic " + base64.b64encode(b"bob:0123456789abcdef-bob").decode()
    actors = 'listen_actor_user = "ann"\nlisten_actor_password_env = "ANN_PASSWORD"\n'
    site = opened(f'{more}listen_password_env = "BOB"\n{actors}', tls)
    assert site.post("/jobs/daily/fire", site.token(Authorization=ANN), Authorization=bob)[0] == 403
    plain = {"Origin": f"http://127.0.0.1:{site.port}"}
    assert site.post("/jobs/daily/fire", site.token(Authorization=ANN), Authorization=ANN, **plain)[0] == 403
    assert site.post("/jobs/daily/fire", site.token(Authorization=ANN), Authorization=ANN)[0] == 303
    until(lambda: len(endpoint.calls) == 1, "the call")


def test_refusals_of_the_daemon(opened: Open, daemon: Daemon) -> None:
    site = opened()
    assert site.api("/jobs/nope/fire") == (404, {"error": "there is no job 'nope'; there are: daily, off"})
    assert site.api("/jobs/off/fire") == (409, {"error": "off is disabled in the job file"})
    status, _, page = site.post("/jobs/off/pause", site.token())
    assert (status, "Off is disabled in the job file." in page) == (409, True)
    assert daemon.run("fire", "daily").returncode == 0
    daemon.said("daily: fired")


def test_a_daemon_that_hangs(opened: Open, daemon: Daemon) -> None:
    site = opened()
    daemon.signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as many:
            answers = list(many.map(lambda _: site.api("/jobs/daily/pause"), range(20)))
    finally:
        daemon.signal(signal.SIGCONT)
    assert {code for code, _ in answers} == {503}
    assert {said["error"][:30] for _, said in answers} == {
        "the daemon does not answer: it",
        "the daemon did not answer with",
    }
    until(lambda: site.api("/jobs/daily/resume")[0] == 200, "an answer again")
    assert daemon.log().count("daily: paused") <= 8, "what was asked while it hung"


def raw(site: Site, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back for bytes as they are."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
        for part in parts:
            client.sendall(part)
            if pause:
                time.sleep(pause)
        client.settimeout(20)
        found = b""
        try:
            while chunk := client.recv(65536):
                found += chunk
        except ConnectionError:
            pass
        return found


def test_attacks(opened: Open, daemon: Daemon, endpoint: Endpoint) -> None:
    site = opened()
    token = site.token()
    form = urlencode({"token": token}).encode()
    head = f"POST /jobs/daily/fire HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nContent-Type: {FORM}\r\n".encode()

    def sent(*headers: str, body: bytes = form, length: int | None = None) -> bytes:
        size = len(body) if length is None else length
        return head + "".join(f"{one}\r\n" for one in headers).encode() + b"Content-Length: %d\r\n\r\n" % size + body

    def status(reply: bytes) -> int:
        return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/") else 0

    twice = [f"Origin: http://127.0.0.1:{site.port}", "Origin: https://evil.example"]
    assert status(raw(site, sent(*twice))) == 400
    assert status(raw(site, sent("Host: evil.example"))) == 400
    assert status(raw(site, sent(f"Content-Type: {FORM}"))) == 400
    assert status(raw(site, sent("Content-Length: 0"))) == 400
    assert status(raw(site, sent("Transfer-Encoding: chunked"))) == 400
    assert status(raw(site, sent(body=form + b"&why=" + b"x" * 5000))) == 413
    assert status(raw(site, sent(length=10_000_000))) == 413
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n1000\r\n" + b"x" * 4096
    assert status(raw(site, chunked)) == 413
    assert status(raw(site, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n")) == 400
    began = time.monotonic()
    assert status(raw(site, sent(length=100))) == 408, "a body that never comes"
    assert time.monotonic() - began < 15
    assert endpoint.calls == []
    two = raw(site, sent() + sent())
    until(lambda: endpoint.calls, "the call")
    assert two.count(b"HTTP/1.1 ") == 1, "one request for each connection: what is pipelined is not read"
    assert len(endpoint.calls) == 1
    assert "Traceback" not in daemon.log()


def test_ten_thousand_actions_a_minute(opened: Open, daemon: Daemon) -> None:
    site = opened()
    codes = [site.api("/jobs/daily/pause", {"why": str(number)})[0] for number in range(400)]
    assert set(codes) == {200, 429}
    done = codes.count(200)
    assert done < 150
    assert daemon.log().count("daily: paused") == done, "the others did nothing"
    assert site.send("GET", "/metrics")[0] == 200
    assert daemon.child("exporter"), "ours is never killed for it"
    assert "sent garbage" not in daemon.log()

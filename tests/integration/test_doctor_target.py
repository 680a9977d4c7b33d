"""What `tocsin doctor` finds on the way to the target, and at its endpoints, with real servers."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from doctor_rig import JOB, Answer, App, Site, at, health
from harness import Daemon, Endpoint, free_port, until
from hostile_cases import nobody
from hostile_server import CASES, FullBacklog, HostileServer, Peer, status
from tocsin.config import Job
from tocsin.config.tls import TlsFiles
from tocsin.doctor import target

pytestmark = pytest.mark.usefixtures("nothing_is_secret_yet")


# ---- the way to the target


def test_a_name_that_does_not_resolve(site: Site) -> None:
    at(site, "https://nowhere.invalid")
    assert site.only("target.name", "--timeout", "5s")["status"] == "FAIL"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_not_used(site: Site, variable: str) -> None:
    site.environment[variable] = "http://bob:proxy-password@proxy.invalid:3128"
    finding = at(site, "https://nowhere.invalid").only("target.proxy", "--timeout", "5s")
    assert finding["status"] == "FAIL"
    assert finding["detail"].startswith(f"{variable} is set, but Tocsin does not use proxies")
    assert "proxy-password" not in site.output
    site.environment["NO_PROXY"] = "other.example, .invalid"
    assert "target.proxy" not in {one["check"] for one in site.doctor("--timeout", "5s")}


def test_a_secret_in_the_clear(site: Site) -> None:
    site.write(JOB, target="allow_insecure = true")
    finding = at(site, "http://nowhere.invalid").only("target.tls", "--timeout", "5s")
    assert finding["status"] == "warning"
    assert "anyone on the network path can read the secret" in finding["detail"]


def test_a_port_at_which_nobody_listens(site: Site) -> None:
    finding = at(site, f"http://localhost:{free_port()}").only("target.connect")
    assert finding["status"] == "FAIL"
    assert "127.0.0.1: Connection refused" in finding["detail"]


def test_an_address_that_answers_nothing(site: Site) -> None:
    with FullBacklog() as server:
        finding = at(site, f"http://127.0.0.1:{server.port}").only("target.connect", "--timeout", "300ms")
    assert (finding["status"], finding["detail"]) == ("FAIL", "127.0.0.1: no answer")


def test_a_server_that_takes_the_question_and_says_nothing(site: Site) -> None:
    with HostileServer(lambda peer: peer.sit()) as server:
        finding = at(site, f"http://127.0.0.1:{server.port}").only("endpoint.path", "--timeout", "500ms")
    assert finding["status"] == "FAIL"
    assert "no answer in time" in finding["detail"]


def test_a_server_that_speaks_something_else(site: Site) -> None:
    with HostileServer(lambda peer: peer.say(b"220 mail.example ESMTP\r\n")) as server:
        finding = at(site, f"http://127.0.0.1:{server.port}").only("endpoint.path")
    assert finding["status"] == "FAIL"
    assert finding["detail"] == "no usable answer to OPTIONS: it is not HTTP (Bad status line)"


def test_every_hostile_server_gets_its_line(
    make_job: Callable[..., Job], authority: trustme.CA, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    cases = [case for case in CASES.values() if case.serve is not nobody]
    assert len(cases) > 100
    for case in cases:
        with HostileServer(case.serve, context if case.tls else None) as server:
            url = f"http{'s' if case.https else ''}://127.0.0.1:{server.port}/api"
            job = make_job(url=url, tls=TlsFiles(tmp_path / "ca.pem"))
            found = asyncio.run(target.check([job], seconds=0.1, probe_auth=False, succeeded=set()))
        assert [one for one in found if one.check in ("target.tls", "endpoint.path")]


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    one = trustme.CA()
    one.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return one


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("names", "dates", "trusted", "state", "words"),
    [
        ("127.0.0.1", {}, True, "ok", "more days"),
        ("127.0.0.1", {"not_after": NOW + timedelta(days=10, hours=1)}, True, "warning", "expires in 10 days"),
        ("127.0.0.1", {"not_after": NOW - timedelta(days=1)}, True, "FAIL", "expired"),
        ("127.0.0.1", {"not_before": NOW + timedelta(days=1)}, True, "FAIL", "not yet valid"),
        ("127.0.0.2", {}, True, "FAIL", "mismatch"),
        ("127.0.0.1", {}, False, "FAIL", "issuer"),
    ],
)
def test_certificates(
    site: Site, authority: trustme.CA, names: str, dates: dict[str, Any], trusted: bool, state: str, words: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(names, **dates).configure_cert(context)
    if trusted:
        site.write(JOB, target='ca_file = "ca.pem"')
    with HostileServer(lambda peer: _says(peer, status(204, "Allow: POST")), context) as server:
        finding = at(site, f"https://127.0.0.1:{server.port}").only("target.tls")
    assert finding["status"] == state
    assert words in finding["detail"]
    assert bool(finding["advice"]) == (state != "ok")


def _says(peer: Peer, reply: bytes) -> None:
    peer.hear()
    peer.say(reply)


@pytest.mark.parametrize(
    ("shown", "version", "failing"),
    [
        (True, ssl.TLSVersion.TLSv1_3, ""),
        (False, ssl.TLSVersion.TLSv1_2, "target.tls"),
        (False, ssl.TLSVersion.TLSv1_3, "endpoint.path"),  # where the handshake is over before the server looks
    ],
)
def test_a_server_that_wants_a_certificate_of_its_clients(
    site: Site, authority: trustme.CA, shown: bool, version: ssl.TLSVersion, failing: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("tocsin").private_key_and_cert_chain_pem.write_to_path(str(site.folder / "client.pem"))
    (site.folder / "client.pem").chmod(0o600)
    site.write(JOB, target='ca_file = "ca.pem"\n' + ('client_cert = "client.pem"\n' if shown else ""))
    with HostileServer(lambda peer: _says(peer, status(204, "Allow: POST")), context) as server:
        found = at(site, f"https://127.0.0.1:{server.port}").doctor()
    failed = [one for one in found if one["status"] == "FAIL"]
    assert [one["check"] for one in failed] == ([failing] if failing else []), found
    assert all("client_cert in [target]" in one["advice"] for one in failed)


def test_https_to_a_port_that_speaks_http(site: Site, endpoint: Endpoint) -> None:
    finding = at(site, endpoint.url.replace("http:", "https:")).only("target.tls")
    assert finding["status"] == "FAIL"
    assert "does this port speak plain http?" in finding["detail"]


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (8, "warning"), (-8, "warning"), (90, "FAIL"), (-90, "FAIL")]
)
def test_clocks_that_differ(site: Site, seconds: int, state: str) -> None:
    def serve(peer: Peer) -> None:
        peer.hear()
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        peer.say(status(204, "Allow: POST", f"Date: {date}"))

    with HostileServer(serve) as server:
        finding = at(site, f"http://127.0.0.1:{server.port}").only("target.clock")
    assert finding["status"] == state
    assert ("ahead of" in finding["detail"]) == (seconds > 0)


# ---- the endpoint


LOGIN = "https://app.example.com/login?next=%2Fapi%2Fcron%2Fsla-check"
PAGE = b"<!doctype html><html><title>Sign in</title></html>"


@pytest.mark.parametrize(
    ("answer", "words", "advice"),
    [
        ((308, {"Location": "/api/cron/sla-check/"}, b""), "with a trailing slash", '"/api/cron/sla-check/"'),
        ((301, {"Location": "https://www.example.com/api/cron/sla-check"}, b""), "www.example", "//www.example.com"),
        ((307, {"Location": LOGIN}, b""), "307 to OPTIONS: redirects to https://app.example.com/login", "middleware"),
        ((404, {}, b"not found"), "404 to OPTIONS: there is nothing at", "is the path right"),
        (
            (405, {"Allow": "GET, HEAD"}, b""),
            "the method POST is not allowed (405): the server accepts GET",
            "set `method`",
        ),
        ((204, {"Allow": "GET, HEAD, OPTIONS"}, b""), "the method POST is not allowed (405)", "set `method`"),
        ((405, {}, b""), "does not say which methods", "--probe-auth"),
        ((500, {}, b"oops"), "500 to OPTIONS: the app fails", "the app's log"),
        ((200, {"Content-Type": "text/html"}, PAGE), "an HTML page", "login"),
    ],
)
def test_a_path_that_is_no_endpoint(site: Site, endpoint: Endpoint, answer: Answer, words: str, advice: str) -> None:
    endpoint.answer = lambda _: answer
    finding = site.only("endpoint.path")
    assert finding["status"] == "FAIL"
    assert words in finding["detail"]
    assert advice in finding["advice"]
    assert "next=" not in site.output


def test_an_endpoint_whose_handler_answers_whoever_asks(site: Site, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: (200, {"Content-Type": "application/json"}, b'{"success": true}')
    finding = site.only("endpoint.secret")
    assert finding["status"] == "FAIL"
    assert "OPEN TO THE WORLD" in finding["detail"]


def test_an_endpoint_that_is_open_to_its_own_method_alone(site: Site) -> None:
    site.app.guarded = False
    assert site.only("endpoint.secret")["status"] == "skipped"
    assert site.app.worked == 0
    finding = site.only("endpoint.secret", "--probe-auth")
    assert finding["status"] == "FAIL"
    assert "OPEN TO THE WORLD: 200 to POST without the secret (the job has run)" in finding["detail"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_the_flag_decides_where_options_says_nothing(site: Site, endpoint: Endpoint, status: int) -> None:
    endpoint.answer = lambda call: (status, {}, b'{"error": "no"}') if call.method == "OPTIONS" else site.app(call)
    assert site.only("endpoint.path")["status"] == ("warning" if status == 501 else "FAIL")
    assert site.only("endpoint.path", "--probe-auth")["detail"] == "answers 401 to POST"
    assert site.app.worked == 0


def test_a_router_that_hides_what_it_does_not_take_is_believed_less_than_the_ledger(
    daemon: Daemon, endpoint: Endpoint
) -> None:
    app = App()
    endpoint.answer = lambda call: (404, {}, b"") if call.method == "OPTIONS" else app(call)
    daemon.write('[jobs.sla-check]\nschedule = "@yearly"\npath = "/api/cron/sla-check"\n')
    daemon.start()
    until(lambda: health(daemon), "the exporter")
    assert "404 to OPTIONS" in daemon.run("doctor").stdout
    assert daemon.run("fire", "sla-check").returncode == 0
    assert daemon.stop() == 0
    result = daemon.run("doctor")
    assert result.returncode == 0
    assert "but its last run was a success" in result.stdout


def test_a_healthy_site_by_its_name(site: Site, authority: trustme.CA) -> None:
    at(site, site.environment["API_BASE_URL"].replace("127.0.0.1", "localhost"))
    assert site.only("endpoint.path")["status"] == "ok"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    site.write(JOB, target='ca_file = "ca.pem"')
    with HostileServer(lambda peer: _says(peer, status(204, "Allow: POST")), context) as server:
        assert at(site, f"https://localhost:{server.port}").only("endpoint.path")["status"] == "ok"

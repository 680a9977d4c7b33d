"""TLS, client certificates and credentials on real sockets; nobody who lacks them stands in another's way."""

import base64
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trustme

from exporter_rig import MEBIBYTE, OTHER_DESCRIPTORS, Client, Exporter, asleep, crowd, exporter, is_gone, job, scrape
from harness import Daemon, Endpoint, until
from tocsin.exporter.refusals import FREE
from tocsin.exporter.server import CONNECTIONS

TOKEN = "token-of-the-scraper-0123456789"
PASSWORD = "the pass:word/of+the-operator"
TLS = 'listen_cert = "server.pem"\n'
MUTUAL = TLS + 'listen_client_ca = "ca.pem"\n'
CREDENTIALS = 'listen_bearer_file = "token"\nlisten_user = "prometheus"\nlisten_password_file = "password"\n'
GONE = b"gone"  # a connection that ended without a word
ASK = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@dataclass
class House:
    """A folder with the certificates and secrets of a listener, and the clients that it knows."""

    folder: Path
    authority: trustme.CA

    def renew(self) -> None:
        self.authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(self.folder / "server.pem")
        )

    def client(self, signer: trustme.CA | None = None) -> ssl.SSLContext:
        """One that believes the listener, with a certificate by the signer if there is one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if signer:
            signer.issue_cert("prometheus").configure_cert(context)
        return context

    @contextmanager
    def exporter(self, more: str, tls: ssl.SSLContext | None, files: int = 0) -> Iterator[Exporter]:
        with exporter(self.folder / "log", *asleep(job()), more=more, tls=tls, files=files) as one:
            until(lambda: one.ask("/readyz")[0] == 200, "the job")
            yield one


@pytest.fixture
def house(tmp_path: Path) -> House:
    one = House(tmp_path, trustme.CA())
    one.renew()
    one.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return one


@pytest.mark.parametrize("more", ["", TLS])
def test_credentials(house: House, more: str) -> None:
    with house.exporter(more + CREDENTIALS, house.client() if more else None) as one:
        for right in (f"Bearer {TOKEN}", basic(f"prometheus:{PASSWORD}")):
            scrape(one, Authorization=right)
            assert b"sla-check" in one.ask("/", Authorization=right)[2]
        for wrong in (f"Bearer {TOKEN}x", basic(f"prometheus:{PASSWORD}x"), basic(f"Prometheus:{PASSWORD}"), "Basic ÿ"):
            status, headers, body = one.ask("/metrics", Authorization=wrong)
            assert (status, headers["www-authenticate"][:6]) == (401, "Basic ")
            assert b"sla-check" not in body
        assert one.ask("/metrics")[0] == one.ask("/jobs/sla-check")[0] == one.ask("/static/page.css")[0] == 401
        assert one.ask("/healthz")[0] == one.ask("/readyz")[0] == 200
        assert TOKEN not in one.log.read_text()


def test_300_wrong_tokens_leave_a_trace_and_hold_nobody_up(house: House) -> None:
    """They are counted and logged, never shown, and answered late; the right client is answered at once meanwhile."""
    right = f"Bearer {TOKEN}"
    series = 'tocsin_exporter_refused_requests_total{reason="wrong_credentials"}'

    def refused() -> float:
        found = re.search(rf"^{re.escape(series)} (\S+)$", one.ask("/metrics", Authorization=right)[2].decode(), re.M)
        assert found
        return float(found[1])

    with house.exporter(CREDENTIALS, None) as one:
        for _ in range(FREE):
            assert one.ask("/metrics", Authorization="Bearer guess-of-a-stranger")[0] == 401
        ask = ASK[:-2] + b"Authorization: Bearer guess-of-a-stranger\r\n\r\n"
        with crowd(one, 300, ask) as guessers:
            for _ in range(5):
                scrape(one, Authorization=right)
            until(lambda: refused() == FREE + 300, "all guesses to be counted")
            said = [until(partial(heard, client), "an answer or an end") for client in guessers]
        assert {one[:13] for one in said} <= {b"HTTP/1.1 401 ", GONE}
        assert GONE in said, "only a few may wait for their answer at once"
        assert one.ask("/metrics", Authorization=right)[0] == 200
        log = one.log.read_text()
        assert "refused a request: its credentials are wrong peer=127.0.0.1" in log
        assert log.count("its credentials are wrong") <= 2
        assert "guess-of-a-stranger" not in log
        assert one.descriptors() <= OTHER_DESCRIPTORS


def heard(client: socket.socket) -> bytes:
    """What was said to the client, or GONE; nothing while it waits."""
    client.setblocking(False)
    try:
        return client.recv(65536) or GONE
    except BlockingIOError:
        return b""
    except ConnectionError:
        return GONE


def test_a_stranger_in_front_of_tls_is_counted(house: House) -> None:
    with house.exporter(TLS, house.client()) as one:
        with crowd(one, 1, ASK) as [client]:
            until(lambda: is_gone(client), "the end of the connection")
        until(lambda: one.metric('tocsin_exporter_refused_requests_total{reason="tls"}') == 1, "it to be counted")
        assert "refused a request: its TLS handshake failed peer=127.0.0.1" in one.log.read_text()


def test_a_long_token_fits_into_a_request(house: House) -> None:
    (house.folder / "token").write_text("x" * 1024)
    (house.folder / "password").write_text("y" * 1024)
    with house.exporter(CREDENTIALS, None) as one:
        scrape(one, Authorization="Bearer " + "x" * 1024)
        scrape(one, Authorization=basic("prometheus:" + "y" * 1024))


def test_a_client_certificate_is_required(house: House) -> None:
    with house.exporter(MUTUAL, house.client(house.authority)) as one:
        scrape(one)
        for stranger in (house.client(), house.client(trustme.CA())):
            one.tls = stranger
            with pytest.raises(OSError, match=r"alert|reset|closed|EOF|pipe"):
                one.ask("/healthz")
        one.tls = house.client(house.authority)
        scrape(one)
        assert "error" not in one.log.read_text(), one.log.read_text()


@pytest.mark.parametrize("said", [b"", b"\x16", ASK, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512)])
def test_who_never_shakes_hands_holds_nothing_up(house: House, said: bytes) -> None:
    with house.exporter(TLS, house.client()) as one:
        with (
            crowd(one, 1, said) as [client],
            crowd(one, 1) as [talker],
            house.client().wrap_socket(talker, server_hostname="127.0.0.1") as shaken,
        ):
            for _ in range(5):
                scrape(one)
            until(lambda: is_gone(client), "the silent client to be given up")
            assert not is_gone_tls(shaken), "it has shaken hands, and more time to ask"
            scrape(one)
        assert "error" not in one.log.read_text(), one.log.read_text()


def is_gone_tls(client: ssl.SSLSocket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except ssl.SSLWantReadError:
        return False


def test_plain_http_to_the_port_of_tls_is_not_answered(house: House) -> None:
    with house.exporter(TLS, house.client()) as one, crowd(one, 1, ASK) as [client]:
        said = b""
        with suppress(ConnectionError):
            while piece := client.recv(4096):
                said += piece
        assert b"HTTP" not in said
        scrape(one)


@pytest.mark.parametrize("shaken", [False, True])
def test_300_idle_tls_connections_with_256_descriptors(house: House, shaken: bool) -> None:
    with house.exporter(TLS, house.client(), files=256) as one, ExitStack() as opened:
        before = one.memory()
        for _ in range(300):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", one.port), 20))
            if shaken:
                opened.enter_context(house.client().wrap_socket(client, server_hostname="127.0.0.1"))
        for _ in range(5):
            scrape(one)
        assert one.descriptors() <= CONNECTIONS + OTHER_DESCRIPTORS
        assert one.memory() - before < 48 * MEBIBYTE
        assert "cannot accept connections" not in one.log.read_text()


@pytest.mark.parametrize("said", [b"", ASK])
def test_a_handshake_that_failed_leaves_nothing_behind(house: House, said: bytes) -> None:
    """Each holds 256 KB, and in a cycle of references if nobody cuts it."""
    with house.exporter(TLS, house.client()) as one:
        before = one.memory()
        for _ in range(10):
            with crowd(one, 100, said):
                scrape(one)
        assert one.memory() - before < 48 * MEBIBYTE


def test_50_tls_clients_that_ask_and_never_read(house: House) -> None:
    jobs = [job(f"job-{number}") for number in range(300)]
    with exporter(house.folder / "log", *asleep(*jobs), more=TLS, tls=house.client()) as one, ExitStack() as opened:
        until(lambda: one.ask("/readyz")[0] == 200, "the jobs")
        size = len(one.ask("/metrics")[2])
        assert size > MEBIBYTE
        before = one.memory()
        for client in opened.enter_context(crowd(one, 50, buffer=4096)):
            asking = opened.enter_context(house.client().wrap_socket(client, server_hostname="127.0.0.1"))
            asking.sendall(ASK)
        for _ in range(5):
            scrape(one)
        assert one.memory() - before < 64 * MEBIBYTE  # more than without TLS, which takes 256 KB to read into


# ---- the daemon

JOBS = '[jobs.sla-check]\nevery = "1s"\npath = "/x"\n'


def certificate(daemon: Daemon) -> str:
    try:
        return ssl.get_server_certificate(("127.0.0.1", daemon.port), timeout=20)
    except OSError:
        return ""


def test_a_reload_takes_over_renewed_certificates_and_secrets(house: House, daemon: Daemon) -> None:
    daemon.write(JOBS, TLS + CREDENTIALS)
    daemon.start()
    first = until(lambda: certificate(daemon), "the first certificate")
    daemon.said(f"https://127.0.0.1:{daemon.port}/metrics")
    exporter, child = daemon.child("exporter"), daemon.child("job sla-check")

    daemon.write(JOBS.replace("1s", "2s"), TLS + CREDENTIALS)
    assert daemon.run("reload").returncode == 0  # nothing of the listener
    child = daemon.child("job sla-check", other_than=child)
    assert daemon.child("exporter") == exporter

    house.renew()
    assert certificate(daemon) == first
    daemon.signal(signal.SIGHUP)
    second = until(lambda: (shown := certificate(daemon)) != first and shown, "the second certificate")
    assert second
    exporter = daemon.child("exporter", other_than=exporter)
    assert daemon.child("job sla-check") == child

    (house.folder / "server.pem").write_text("-----BEGIN CERTIFICATE-----")
    refused = daemon.run("reload")
    assert refused.returncode == 2
    assert f"[daemon] listen_cert: cannot use {house.folder}/server.pem" in refused.stderr
    os.kill(exporter, signal.SIGKILL)  # its successor does with what was right
    daemon.child("exporter", other_than=exporter)
    assert until(lambda: certificate(daemon), "a certificate") == second


def test_credentials_are_seen_nowhere(house: House, daemon: Daemon, endpoint: Endpoint) -> None:
    """Not even when an endpoint says them."""
    sent = basic(f"prometheus:{PASSWORD}").removeprefix("Basic ")
    endpoint.answer = lambda _: (500, {"Content-Type": "text/plain"}, f"{TOKEN} {PASSWORD} {sent}".encode())
    daemon.environment["SCRAPE_TOKEN"] = TOKEN
    daemon.write(JOBS, CREDENTIALS.replace('listen_bearer_file = "token"', 'listen_bearer_env = "SCRAPE_TOKEN"'))
    (house.folder / "token").unlink()
    daemon.start()
    asked = Client(daemon.port)
    until(asked.answers, "the exporter")
    until(lambda: b"500" in asked.ask("/jobs/sla-check", Authorization=f"Bearer {TOKEN}")[2], "a run that failed")
    seen = [daemon.log()]
    for path in (
        "/",
        "/metrics",
        "/jobs/sla-check",
        "/api/jobs",
        "/api/jobs/sla-check",
        "/healthz",
        "/readyz",
        "/nope",
    ):
        for shown in (f"Bearer {TOKEN}", basic(f"prometheus:{PASSWORD}"), f"Bearer {TOKEN}x", "nonsense"):
            status, headers, body = asked.ask(path, Authorization=shown)
            seen.append(f"{status} {headers} {body.decode()}")
    for words in (["check"], ["jobs"], ["jobs", "--json"], ["history"], ["history", "--json"]):
        said = daemon.run(*words)
        seen.append(said.stdout + said.stderr)
    seen += [Path(f"/proc/{pid}/cmdline").read_text() for pid in (daemon.pid, *daemon.children().values())]
    daemon.stop()
    seen += [daemon.log(), *(file.read_bytes().decode("latin-1") for file in (house.folder / "var").iterdir())]
    assert len(seen) > 40
    for text in seen:
        for secret in (TOKEN, PASSWORD, sent):
            assert secret not in text

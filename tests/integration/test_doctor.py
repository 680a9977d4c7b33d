"""`tocsin doctor` against real servers, files and daemons: it finds what was broken, and never runs a job."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import select
import socket
import sqlite3
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner

import hostile_cases  # noqa: F401 - fills CASES
from harness import PATIENCE, SECRET, TOCSIN, Call, Daemon, Endpoint, free_port, until
from hostile_server import CASES, FullBacklog, HostileServer, Peer, status
from tocsin import config
from tocsin.cli import main
from tocsin.config import Job
from tocsin.doctor import state, target
from tocsin.doctor.state import State
from tocsin.ledger.schema import VERSION
from tocsin.ledger.sqlite import FILE, SqliteLedger
from tocsin.parent import lock
from tocsin.tls import TlsFiles

pytestmark = pytest.mark.usefixtures("nothing_is_secret_yet")

JOB = '[jobs.sla-check]\nschedule = "* * * * *"\npath = "/api/cron/sla-check"\n'
NOBODY = 65534  # a user without rights
Answer = tuple[int, dict[str, str], bytes]
Found = list[dict[str, str]]


class App:
    """As a Next.js route handler: OPTIONS is answered by the routing, the rest asks for the secret, then works."""

    def __init__(self) -> None:
        self.takes = "GET, HEAD, POST, PUT, DELETE"
        self.guarded = True
        self.worked = 0

    def __call__(self, call: Call) -> Answer:
        if call.method == "OPTIONS":
            return 204, {"Allow": f"{self.takes}, OPTIONS"}, b""
        if self.guarded and call.headers.get("x-cron-secret") != SECRET:
            return 401, {"Content-Type": "application/json"}, b'{"success": false, "error": "Unauthorized"}'
        self.worked += 1
        return 200, {"Content-Type": "application/json"}, b'{"success": true}'


class Site:
    """A folder with a job file, and the doctor for it, in this process."""

    def __init__(self, folder: Path, url: str, app: App) -> None:
        self.folder = folder
        self.app = app
        self.file = folder / "tocsin.toml"
        self.state = folder / "var"
        self.environment = {
            "API_BASE_URL": url,
            "CRON_SECRET": SECRET,
            "TOCSIN_LISTEN": f"127.0.0.1:{free_port()}",
            "TOCSIN_CONFIG": str(self.file),
        }
        self.output = ""
        self.code = 0
        self.write(JOB)

    def write(self, jobs: str, target: str = "", daemon: str = "") -> None:
        head = f'[daemon]\n{daemon}\n[target]\nbase_url = "${{API_BASE_URL}}"\n{target}\n'
        self.file.write_text(head + jobs)

    def doctor(self, *words: str) -> Found:
        result = CliRunner().invoke(main, ["doctor", "--json", *words], env=self.environment)
        assert not result.exception or isinstance(result.exception, SystemExit), result.exc_info
        self.output, self.code = result.output, result.exit_code
        found: Found = json.loads(result.stdout)
        return found

    def only(self, check: str, *words: str) -> dict[str, str]:
        """The one finding of that check; anything that fails must show in the exit code."""
        found = self.doctor(*words)
        assert self.code == any(one["status"] == "FAIL" for one in found), self.output
        (finding,) = [one for one in found if one["check"] == check]
        return finding


@pytest.fixture
def site(tmp_path: Path, endpoint: Endpoint) -> Site:
    endpoint.answer = app = App()
    return Site(tmp_path, endpoint.url, app)


def at(site: Site, url: str) -> Site:
    site.environment["API_BASE_URL"] = url
    return site


# ---- all is well


def test_a_healthy_site_before_the_first_start(site: Site) -> None:
    found = site.doctor()
    assert site.code == 0
    assert {one["status"] for one in found if one["check"] != "machine.clock"} == {"ok", "skipped"}
    assert {one["check"] for one in found if one["status"] == "skipped"} - {"machine.clock"} == {
        "endpoint.secret",
        "supervisord.file",
    }
    assert all(list(one) == ["check", "subject", "status", "detail", "advice"] for one in found)
    assert not site.state.exists()  # it makes nothing


def test_a_healthy_site_by_its_name(site: Site, authority: trustme.CA) -> None:
    at(site, site.environment["API_BASE_URL"].replace("127.0.0.1", "localhost"))
    assert site.only("endpoint.path")["status"] == "ok"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    site.write(JOB, target='ca_file = "ca.pem"')
    with HostileServer(lambda peer: _says(peer, status(204, "Allow: POST")), context) as server:
        assert at(site, f"https://localhost:{server.port}").only("endpoint.path")["status"] == "ok"


def test_a_healthy_site_with_its_daemon(daemon: Daemon, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    daemon.write(JOB + '[jobs.hourly]\nschedule = "@hourly"\npath = "/api/hourly"\n')
    daemon.start()
    until(lambda: _health(daemon), "the exporter")
    result = daemon.run("doctor", "--probe-auth")
    assert (result.returncode, result.stderr) == (0, "")
    assert "FAIL" not in result.stdout
    assert "\x1b" not in result.stdout
    for line in ("the daemon runs: process", "the daemon answers, with 2 jobs", "undamaged", "exporter answers"):
        assert line in result.stdout
    assert "refuses POST without the secret (401)" in result.stdout
    assert daemon.run("fire", "hourly").returncode == 0  # it goes on as before
    only = daemon.json("doctor", "hourly")
    assert {one["subject"] for one in only if one["check"].startswith(("endpoint.", "state.job"))} == {"hourly"}


def _health(daemon: Daemon) -> str:
    try:
        return daemon.get("/healthz")
    except OSError:
        return ""


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_for_terminals_that_want_them(site: Site, no_color: bool) -> None:
    environment = {**os.environ, **site.environment}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen([TOCSIN, "doctor"], env=environment, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # EIO: the other side is closed
                break
        assert process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
    assert b"0 failed" in seen
    assert (b"\x1b[" in seen) != no_color


# ---- no job runs


JOBS = "".join(f'[jobs.{one.lower()}]\nschedule = "@daily"\npath = "/run"\nmethod = "{one}"\n' for one in
               ("GET", "POST", "PUT", "PATCH", "DELETE"))  # fmt: skip


def test_no_job_runs_even_where_every_endpoint_is_open(site: Site, endpoint: Endpoint) -> None:
    site.write(JOBS)
    site.app.guarded = False
    site.doctor()
    assert site.app.worked == 0
    assert [call.method for call in endpoint.calls] == ["OPTIONS"] * 5


def test_with_the_flag_a_guarded_endpoint_runs_nothing(site: Site) -> None:
    site.app.takes += ", PATCH"
    site.write(JOBS)
    found = site.doctor("--probe-auth")
    assert site.code == 0
    assert site.app.worked == 0
    assert len([one for one in found if one["check"] == "endpoint.secret" and "(401)" in one["detail"]]) == 5


def test_the_flag_leaves_jobs_alone_that_have_no_secret(site: Site) -> None:
    site.write(JOB, target='send_secret = "none"')
    site.app.guarded = False
    assert "whoever knows the URL" in site.only("endpoint.secret", "--probe-auth")["detail"]
    assert site.app.worked == 0


def test_a_disabled_job_is_not_asked(site: Site, endpoint: Endpoint) -> None:
    site.write(JOB + "enabled = false\n")
    site.doctor()
    assert not endpoint.calls


# ---- configuration


def test_every_fault_of_the_job_file(site: Site) -> None:
    site.write('[jobs.a]\nschedule = "61 * * * *"\npath = "/a"\n[jobs.b]\nschedule = "@daily"\npath = "b"\n')
    found = site.doctor()
    assert site.code == 2
    assert [(one["check"], one["subject"], one["status"]) for one in found] == [
        ("configuration.file", "[jobs.a] schedule", "FAIL"),
        ("configuration.file", "[jobs.b] path", "FAIL"),
    ]


def test_a_job_that_is_not_there(site: Site) -> None:
    result = CliRunner().invoke(main, ["doctor", "sla-chek"], env=site.environment)
    assert result.exit_code == 2
    assert 'did you mean "sla-check"?' in result.stderr


def test_a_secret_from_a_template(site: Site) -> None:
    site.environment["CRON_SECRET"] = "your-secure-random-secret-key-here"
    assert site.only("configuration.secret")["status"] == "FAIL"
    assert "your-secure" not in site.output


def test_a_secret_that_every_user_may_read(site: Site) -> None:
    (site.folder / ".env").write_text(f"CRON_SECRET={SECRET}\n")
    (site.folder / ".env").chmod(0o644)
    finding = site.only("configuration.files")
    assert (finding["status"], finding["advice"]) == ("warning", f"chmod 600 {site.folder / '.env'}")
    (site.folder / ".env").chmod(0o640)
    assert site.only("configuration.files")["status"] == "ok"


def test_two_secrets_of_one_name(site: Site) -> None:
    (site.folder / ".env").write_text("CRON_SECRET=another-one-of-old-and-its-long\n")
    found = [one for one in site.doctor() if one["check"] == "configuration.secret"]
    assert [one["status"] for one in found] == ["ok", "warning"]


def test_an_exporter_that_anybody_may_read(site: Site) -> None:
    site.environment["TOCSIN_LISTEN"] = f"0.0.0.0:{free_port()}"
    assert [one["status"] for one in site.doctor() if "`listen` is beyond loopback" in one["detail"]] == ["warning"]


# ---- the way to the target


def test_a_name_that_does_not_resolve(site: Site) -> None:
    at(site, "https://nowhere.invalid")
    assert site.only("target.name", "--timeout", "5s")["status"] == "FAIL"


def test_a_secret_in_the_clear(site: Site) -> None:
    site.write(JOB, target="allow_insecure = true")
    finding = at(site, "http://nowhere.invalid").only("target.tls", "--timeout", "5s")
    assert finding["status"] == "warning"
    assert "whoever is on the way reads the secret" in finding["detail"]


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
    cases = [case for case in CASES.values() if case.serve.__name__ != "_nobody"]
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
            "the method POST is not allowed (405): the server takes GET",
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
    until(lambda: _health(daemon), "the exporter")
    assert "404 to OPTIONS" in daemon.run("doctor").stdout
    assert daemon.run("fire", "sla-check").returncode == 0
    assert daemon.stop() == 0
    result = daemon.run("doctor")
    assert result.returncode == 0
    assert "but its last run was a success" in result.stdout


# ---- the state folder, the ledger, the daemon


@pytest.mark.parametrize(
    ("state_dir", "words"),
    [("a-file", "is no folder"), ("a-file/var", "is no folder"), ("/proc/tocsin", "cannot be written")],
)
def test_a_state_folder_of_no_use(site: Site, state_dir: str, words: str) -> None:
    (site.folder / "a-file").write_text("")
    site.environment["TOCSIN_STATE_DIR"] = state_dir
    finding = site.only("state.folder")
    assert finding["status"] == "FAIL"
    assert words in finding["detail"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_state_folder_of_another_user(site: Site) -> None:
    with tempfile.TemporaryDirectory() as outside:  # where another user can come
        Path(outside).chmod(0o755)
        site.environment["TOCSIN_STATE_DIR"] = f"{outside}/var"
        (Path(outside) / "var").mkdir(mode=0o700)
        assert site.only("state.folder")["status"] == "ok"
        settings = config.load(site.file, site.environment)
        os.seteuid(NOBODY)
        try:
            found = list(state.check(settings, settings.jobs, State()))
        finally:
            os.seteuid(0)
    assert [(one.check, one.status) for one in found] == [("state.folder", "FAIL")] * 2


def ledger_of(site: Site) -> Path:
    site.state.mkdir()
    SqliteLedger(site.state, "one").close()
    return site.state / FILE


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_sound_ledger(site: Site, version: int) -> None:
    """Also one that the next start will bring up to date."""
    with contextlib.closing(sqlite3.connect(ledger_of(site))) as db:
        db.execute(f"PRAGMA user_version = {version}")
    assert site.only("state.ledger")["status"] == "ok"


@pytest.mark.parametrize("break_it", ["head", "page", "newer", "folder"])
def test_a_ledger_of_no_use(site: Site, break_it: str) -> None:
    file = ledger_of(site)
    if break_it == "newer":
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    elif break_it == "folder":
        file.unlink()
        file.mkdir()
    else:
        content = bytearray(file.read_bytes())
        where = 0 if break_it == "head" else 2 * 4096
        content[where : where + 200] = b"\xff" * 200
        file.write_bytes(content)
    assert site.only("state.ledger")["status"] == "FAIL"


def test_a_daemon_that_holds_the_folder_and_does_not_answer(site: Site) -> None:
    site.state.mkdir()
    held = lock.take(site.state)
    try:
        assert site.only("state.control")["status"] == "FAIL"
        assert f"process {os.getpid()}" in site.output
    finally:
        fcntl.flock(held, fcntl.LOCK_UN)
        os.close(held)


def test_a_daemon_whose_jobs_fail_and_whose_file_has_changed(daemon: Daemon, endpoint: Endpoint) -> None:
    app = App()
    endpoint.answer = lambda call: (500, {}, b"") if call.headers.get("x-tocsin-job") == "broken" else app(call)
    jobs = "".join(
        f'[jobs.{name}]\nschedule = "@yearly"\npath = "/{name}"\nretries = 0\n' for name in ("broken", "lazy", "once")
    )
    daemon.write(jobs)
    daemon.start()
    until(lambda: _health(daemon), "the exporter")
    daemon.child("job broken")
    for _ in range(3):
        fired = daemon.run("fire", "broken")
        assert (fired.returncode, fired.stderr) == (1, "")  # it ran, and was not refused
    assert daemon.run("pause", "lazy").returncode == 0
    daemon.write(jobs.replace("/once", "/twice"))
    result = daemon.run("doctor", "--json")
    assert result.returncode == 1
    found = {(one["check"], one["subject"]): one for one in json.loads(result.stdout)}
    assert found["state.job", "broken"]["status"] == "FAIL"
    assert found["state.job", "broken"]["detail"].startswith("3 × http_error and has never succeeded: 500")
    assert found["state.job", "lazy"]["advice"] == "tocsin resume lazy"
    assert found["state.reload", "tocsin.toml"]["detail"] == "the daemon runs with an older one (once)"
    assert found["state.job", "once"]["status"] == "ok"


# ---- the exporter's address, the machine, supervisord


def test_a_port_that_somebody_else_has(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site.environment["TOCSIN_LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        finding = site.only("exporter.listen")
    assert finding["status"] == "FAIL"
    assert "in use" in finding["detail"]


def test_a_port_that_the_exporter_of_another_daemon_has(daemon: Daemon, tmp_path: Path) -> None:
    daemon.write(JOB)
    daemon.start()
    until(lambda: _health(daemon), "the exporter")
    (tmp_path / "second").mkdir()
    second = Daemon(tmp_path / "second")
    second.environment["TOCSIN_LISTEN"] = daemon.environment["TOCSIN_LISTEN"]
    second.write(JOB)
    second.start()
    try:
        second.said("cannot listen on")
        found = [json.loads(one.run("doctor", "--json").stdout) for one in (daemon, second)]
    finally:
        second.cleanup()
    first, other = ({one["check"]: one for one in listed}["exporter.listen"] for listed in found)
    assert (first["status"], first["detail"]) == ("ok", "the daemon's exporter answers")
    assert other["status"] == "FAIL"
    assert other["detail"] == "another process listens there, and not the daemon's exporter"


def test_an_address_that_is_not_here(site: Site) -> None:
    site.environment["TOCSIN_LISTEN"] = "192.0.2.1:9911"
    assert site.only("exporter.listen")["status"] == "FAIL"


def test_too_few_descriptors(site: Site) -> None:
    site.write("".join(f'[jobs.job-{n}]\nschedule = "@daily"\npath = "/x"\nenabled = true\n' for n in range(60)))
    result = subprocess.run(
        ["sh", "-c", 'ulimit -n 128 && exec "$0" doctor job-1 --json', TOCSIN],
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 1
    (finding,) = [one for one in json.loads(result.stdout) if one["check"] == "machine.limits"]
    assert finding["status"] == "FAIL"
    assert finding["detail"] == "60 jobs need 184 open files, and the hard limit is 128"


def test_no_line_of_a_broken_supervisord_file_is_shown(site: Site) -> None:
    (site.folder / "supervisord.conf").write_text('environment=CRON_SECRET="TOP-SECRET-VALUE"\n[program:tocsin]\n')
    found = site.only("supervisord.file")
    assert found["status"] == "FAIL"
    assert "is no supervisord file (line 1)" in str(found)
    assert "TOP-SECRET" not in str(found)


def test_supervisord_kills_before_the_drain_is_over(site: Site) -> None:
    (site.folder / "supervisord.conf").write_text("[program:tocsin]\ncommand=tocsin run\nstopwaitsecs=20\n")
    found = {one["check"]: one for one in site.doctor()}
    assert site.code == 1
    assert found["supervisord.stopwaitsecs"]["status"] == "FAIL"
    assert found["supervisord.autorestart"]["status"] == "warning"
    shipped = Path(__file__).parents[2] / "supervisord.conf"
    assert site.only("supervisord.program", "--supervisord", str(shipped))["status"] == "ok"


# ---- secrets


CANARY = "canary/7Yq+9 Zt&k3Lw=2"


@pytest.mark.parametrize(
    "answer",
    [
        (308, {"Location": f"/api/{CANARY}/?secret={CANARY}"}, b""),
        (307, {"Location": f"https://u:{CANARY}@login.example/{CANARY}"}, b""),
        (405, {"Allow": CANARY}, CANARY.encode()),
        (200, {"Content-Type": "application/json"}, f'{{"error": "{CANARY}"}}'.encode()),
        (401, {"WWW-Authenticate": CANARY}, CANARY.encode()),
        (404, {}, CANARY.encode()),
        (500, {"Date": CANARY, "Age": CANARY}, CANARY.encode()),
        (418, {}, CANARY.encode()),
    ],
)
def test_no_secret_is_sent_or_shown(site: Site, endpoint: Endpoint, answer: Answer) -> None:
    endpoint.answer = lambda _: answer
    site.environment |= {"CRON_SECRET": CANARY, "OTHER_SECRET": "whsec_" + "Q2FuYXJ5" * 4, "IN_PATH": "in-the-query-1"}
    site.write(
        JOB.replace(
            'sla-check"\n', 'sla-check?key=${IN_PATH}"\nheaders = { authorization = "Bearer ${IN_PATH}" }\n', 1
        ),
        target='send_secret = "query:secret"\nsigning_secret_env = "OTHER_SECRET"',
    )
    (site.folder / ".env").write_text("CRON_SECRET=another-canary\n")
    for words in ([], ["--probe-auth"]):
        for form in (["--json"], []):
            result = CliRunner().invoke(main, ["doctor", *form, *words], env=site.environment)
            assert result.exit_code in (0, 1)
            for secret in (CANARY, "canary", "Q2FuYXJ5", "in-the-query"):
                assert secret not in result.output
    assert endpoint.calls
    for call in endpoint.calls:
        assert call.path == "/api/cron/sla-check"
        assert call.body == b""
        assert not {"authorization", "x-cron-secret", "webhook-signature", "cookie"} & call.headers.keys()


def test_no_secret_is_shown_where_it_is_itself_the_fault(site: Site) -> None:
    for wrong in ("your-secret-canary-key", "canary", "canary\ncanary", "c" * 40):
        site.environment["CRON_SECRET"] = wrong
        site.doctor()
        assert "canary" not in site.output
        assert "cccc" not in site.output

"""The call as the app sees it: headers, secrets and signatures on the wire, and what is sent again, and when."""

import contextlib
import dataclasses
import os
import re
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from hostile_server import OK, PATIENCE, HostileServer, Peer, status
from tocsin import __version__, config
from tocsin.call import attempts
from tocsin.call.attempts import perform
from tocsin.call.deadline import DeadlinePassed, deadline, listen
from tocsin.call.request import Caller
from tocsin.config import Job, secrets
from tocsin.config.secrets import Secret
from tocsin.config.tls import TlsFiles
from tocsin.ipc.job import CANCEL, Ask, Finished, scheduled_run_id
from tocsin.jobfile.faults import ConfigError
from tocsin.redact import redact

pytestmark = pytest.mark.usefixtures("nothing_is_secret_yet")

DUE = 1_800_000_000.0
RUN = scheduled_run_id("sla-check", DUE)
SECRET = "correct-horse-battery-staple"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
NEVER = time.time() + 10**6  # the next due instant, when it does not matter


@dataclasses.dataclass
class Heard:
    """One request as it came over the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value


class App:
    """Answers with what is in `answers`, the last one for ever."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[bytes] = [OK]
        self.before_answer: Callable[[], object] = lambda: None

    def serve(self, peer: Peer) -> None:
        head, _, body = peer.hear().partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        self.heard.append(Heard(first, [(name, value) for name, _, value in pairs], body))
        self.before_answer()
        peer.say(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def server(app: App) -> Iterator[HostileServer]:
    with HostileServer(app.serve) as one:
        yield one


@pytest.fixture
def make(server: HostileServer, make_job: Callable[..., Job]) -> Callable[..., Job]:
    def make(path: str = "/api", **changes: object) -> Job:
        return make_job(url=f"http://127.0.0.1:{server.port}{path}", **changes)

    return make


@pytest.fixture(autouse=True)
def signals() -> None:
    listen()


def call(job: Job, until: float = NEVER, waits: list[float] | None = None, **ask: object) -> Finished:
    """A run whose waits are noted instead of waited for."""
    noted = [] if waits is None else waits

    def rest(seconds: float) -> bool:
        noted.append(seconds)
        return True

    asked = Ask(job.name, DUE, RUN)
    return perform(Caller(job), msgspec.structs.replace(asked, **ask), until, rest)


# ---- headers


def test_the_request_says_who_calls_and_which_run_it_is(app: App, make: Callable[..., Job]) -> None:
    finished = call(make("/api?page=2&q=%20"))
    (one,) = app.heard
    assert one.line == "POST /api?page=2&q=%20 HTTP/1.1"
    assert one["User-Agent"] == f"Tocsin/{__version__}"
    assert one["Connection"] == "close"
    assert one["Accept-Encoding"] == "identity"
    assert one["Cache-Control"] == "no-cache"
    assert one["Content-Length"] == "0"
    assert one["Idempotency-Key"] == finished.run_id == RUN
    assert one["X-Tocsin-Job"] == "sla-check"
    assert one["X-Tocsin-Scheduled-At"] == "2027-01-15T08:00:00Z"
    assert one["X-Tocsin-Attempt"] == "0"
    assert one["X-Tocsin-Trigger"] == "schedule"
    assert re.fullmatch(f"00-{RUN.replace('-', '')}-[0-9a-f]{{16}}-01", one["traceparent"])
    names = [name.lower() for name, _ in one.headers]
    assert len(names) == len(set(names))
    assert (finished.outcome, finished.status, finished.responses) == ("success", 200, ("2xx",))


def test_every_attempt_has_the_same_run_id_and_its_own_number_and_span(app: App, make: Callable[..., Job]) -> None:
    app.answers = [status(503), status(503), OK]
    finished = call(make())
    assert [one["Idempotency-Key"] for one in app.heard] == [RUN] * 3
    assert [one["X-Tocsin-Attempt"] for one in app.heard] == ["0", "1", "2"]
    traces = [one["traceparent"].split("-") for one in app.heard]
    assert len({trace for _, trace, _, _ in traces}) == 1
    assert len({span for _, _, span, _ in traces}) == 3
    assert (finished.outcome, finished.responses) == ("success", ("5xx", "5xx", "2xx"))


def test_a_second_delivery_goes_on_counting(app: App, make: Callable[..., Job]) -> None:
    call(make(), attempt=1, trigger="catch-up")
    assert (app.heard[0]["X-Tocsin-Attempt"], app.heard[0]["X-Tocsin-Trigger"]) == ("1", "catch-up")


def test_a_fraction_of_a_second_is_told(app: App, make: Callable[..., Job]) -> None:
    call(make(), due=DUE + 0.25, trigger="manual")
    assert app.heard[0]["X-Tocsin-Scheduled-At"] == "2027-01-15T08:00:00.250Z"


def test_the_jobs_headers_win_but_not_over_what_proves_us(app: App, make: Callable[..., Job]) -> None:
    theirs = (("user-agent", "Mine"), ("X-CRON-SECRET", "wrong"), ("webhook-id", "wrong"), ("X-More", "yes"))
    job = make(
        headers=theirs,
        secret=Secret(SECRET, "header:x-cron-secret", "CRON_SECRET"),
        signing_secret=Secret(SIGNING, "signature", "SIGNING"),
    )
    call(job)
    one = app.heard[0]
    assert (one["User-Agent"], one["X-More"]) == ("Mine", "yes")
    assert (one["x-cron-secret"], one["webhook-id"]) == (SECRET, RUN)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_body_goes_out_as_it_is(method: str, app: App, make: Callable[..., Job]) -> None:
    call(make(method=method, body='{"größe": 1}'.encode(), headers=(("Content-Type", "application/json"),)))
    one = app.heard[0]
    assert one.line == f"{method} /api HTTP/1.1"
    assert (one.body.decode(), one["Content-Length"]) == ('{"größe": 1}', "14")
    assert one["Content-Type"] == "application/json"


# ---- secrets


@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        ("header:x-cron-secret", "x-cron-secret", SECRET),
        ("bearer", "Authorization", f"Bearer {SECRET}"),
        ("authorization", "Authorization", SECRET),
    ],
)
def test_the_secret_goes_where_the_job_says(
    sent: str, name: str, value: str, app: App, make: Callable[..., Job]
) -> None:
    call(make(secret=Secret(SECRET, sent, "CRON_SECRET")))
    assert app.heard[0][name] == value
    assert SECRET not in app.heard[0].line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/api", "POST /api?to%26ken=a%2Fb%26c%20d%25 HTTP/1.1"),
        ("/api?a=1", "POST /api?a=1&to%26ken=a%2Fb%26c%20d%25 HTTP/1.1"),
        ("", "POST /?to%26ken=a%2Fb%26c%20d%25 HTTP/1.1"),
    ],
)
def test_a_secret_in_the_query_is_percent_encoded(path: str, line: str, app: App, make: Callable[..., Job]) -> None:
    call(make(path, secret=Secret("a/b&c d%", "query:to&ken", "CRON_SECRET")))
    assert app.heard[0].line == line


def test_a_signature_holds_before_the_librarys_own_check(app: App, make: Callable[..., Job]) -> None:
    app.answers = [status(503), OK]
    body = '{"größe": 1}'.encode()
    call(make(body=body, signing_secret=Secret(SIGNING, "signature", "SIGNING")))
    for one in app.heard:
        assert one["webhook-id"] == RUN
        assert Webhook(SIGNING).verify(one.body, dict(one.headers)) == {"größe": 1}
    tampered = dict(app.heard[0].headers) | {"webhook-id": "another"}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SIGNING).verify(body, tampered)


def test_a_request_without_body_is_signed_too(app: App, make: Callable[..., Job]) -> None:
    call(make(signing_secret=Secret(SIGNING, "signature", "SIGNING")))
    Webhook(SIGNING).verify(b"", dict(app.heard[0].headers), json_parse=False)


def test_nothing_is_signed_without_a_signing_secret(app: App, make: Callable[..., Job]) -> None:
    call(make())
    assert not [name for name, _ in app.heard[0].headers if name.lower().startswith("webhook")]


SIGNED = """
[target]
base_url = "https://app.example.com"
send_secret = "none"
signing_secret_env = "SIGNING"
[jobs.ours]
schedule = "@daily"
path = "/a"
[jobs.elsewhere]
schedule = "@daily"
url = "https://other.example.com/a"
"""


def test_the_targets_signing_secret_is_for_the_target_alone(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text(SIGNED)
    loaded = config.load(tmp_path / "tocsin.toml", {"SIGNING": SIGNING})
    (ours,) = loaded.secrets
    assert loaded.jobs["ours"].signing_secret == ours
    assert loaded.jobs["elsewhere"].signing_secret is None
    assert SIGNING not in repr(loaded)


@pytest.mark.parametrize(
    "held", ["", "whsec_", "whsec_c2hvcnQ=", "not base64, but long enough to be a key", "whsec_" + "A" * 88]
)
def test_what_is_no_signing_secret_is_refused(held: str, tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text(SIGNED)
    with pytest.raises(ConfigError, match="signing_secret_env") as error:
        config.load(tmp_path / "tocsin.toml", {"SIGNING": held})
    assert len(error.value.faults) == 1
    assert not held or held == "whsec_" or held not in str(error.value)


def test_no_log_of_a_library_names_the_url(
    app: App, make: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    app.answers = [b"HTTP/1.1 200 OK\r\nwhat is this\r\n\r\n"]
    assert call(make(secret=Secret(SECRET, "query:token", "CRON_SECRET"))).outcome == "success"
    assert SECRET not in caplog.text


# ---- rotation


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("the-first-secret-of-all\n")
    return file


def in_file(file: Path) -> Secret:
    return secrets.from_file(file, "header:x-cron-secret")


def test_a_401_reads_the_secrets_file_again(app: App, make: Callable[..., Job], file: Path) -> None:
    caller = Caller(make(secret=in_file(file), retries=0))
    file.write_text("the-second-secret-of-all\n")
    app.answers = [status(401), OK]
    finished = perform(caller, Ask("sla-check", DUE, RUN), NEVER, lambda _: False)
    assert [one["x-cron-secret"] for one in app.heard] == ["the-first-secret-of-all", "the-second-secret-of-all"]
    assert [one["X-Tocsin-Attempt"] for one in app.heard] == ["0", "1"]
    assert (finished.outcome, finished.responses) == ("success", ("401", "2xx"))
    perform(caller, Ask("sla-check", DUE + 60, RUN), NEVER, lambda _: False)
    assert app.heard[-1]["x-cron-secret"] == "the-second-secret-of-all"
    assert redact("the-first-secret-of-all, the-second-secret-of-all") == "the-first-secret-of-all, [redacted]"


def test_a_401_to_the_new_secret_is_the_end(app: App, make: Callable[..., Job], file: Path) -> None:
    caller = Caller(make(secret=in_file(file), timeout=5.0))
    app.answers = [status(401)]
    app.before_answer = lambda: file.write_text(f"the-secret-number-{len(app.heard)}-of-all")
    finished = perform(caller, Ask("sla-check", DUE, RUN), NEVER, lambda _: True)
    assert (len(app.heard), finished.outcome) == (2, "unauthorized")


@pytest.mark.parametrize("held", ["the-first-secret-of-all", "undefined", "", None])
def test_a_401_with_no_new_secret_is_not_called_again(
    held: str | None, app: App, make: Callable[..., Job], file: Path
) -> None:
    caller = Caller(make(secret=in_file(file)))
    app.answers = [status(401)]
    file.unlink() if held is None else file.write_text(held)
    finished = perform(caller, Ask("sla-check", DUE, RUN), NEVER, lambda _: True)
    assert (len(app.heard), finished.outcome) == (1, "unauthorized")


# ---- retries


def test_the_wait_doubles_up_to_a_bound_with_some_chance(
    make: Callable[..., Job], app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.answers = [status(503)]
    spans: list[tuple[float, float]] = []

    def no_chance(low: float, high: float) -> float:
        spans.append((low, high))
        return 1.0

    monkeypatch.setattr(attempts._random, "uniform", no_chance)
    waits: list[float] = []
    finished = call(make(retries=7), waits=waits)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert set(spans) == {(0.75, 1.25)}
    assert (finished.outcome, len(app.heard)) == ("http_error", 8)


def test_retry_after_is_waited_for_when_it_is_longer(app: App, make: Callable[..., Job]) -> None:
    app.answers = [status(429, "Retry-After: 77"), status(503, "Retry-After: 0"), OK]
    waits: list[float] = []
    assert call(make(), waits=waits).outcome == "success"
    assert waits[0] == 77
    assert 1.5 <= waits[1] <= 2.5


def test_retry_after_may_be_a_date(app: App, make: Callable[..., Job]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    app.answers = [status(503, f"Retry-After: {at}"), OK]
    waits: list[float] = []
    assert call(make(), waits=waits).outcome == "success"
    assert 50 < waits[0] <= 100


@pytest.mark.parametrize("late", ["due", "timeout"])
def test_no_attempt_begins_after_the_next_due_instant_or_the_deadline(
    late: str, app: App, make: Callable[..., Job]
) -> None:
    app.answers = [status(503, "Retry-After: 20")]
    waits: list[float] = []
    if late == "due":
        finished = call(make(), until=time.time() + 19, waits=waits)
    else:
        finished = call(make(timeout=19.0), waits=waits)
    assert (waits, len(app.heard), finished.outcome, finished.status) == ([], 1, "http_error", 503)


def test_being_told_to_stop_ends_the_wait_with_what_is_known(app: App, make: Callable[..., Job]) -> None:
    app.answers = [status(503)]
    finished = perform(Caller(make()), Ask("sla-check", DUE, RUN), NEVER, lambda _: False)
    assert (len(app.heard), finished.outcome, finished.status) == (1, "http_error", 503)


def test_each_try_counts_and_the_last_one_tells(server: HostileServer, app: App, make: Callable[..., Job]) -> None:
    app.answers = [status(503), b"", OK]
    finished = call(make(retry_on=("reset",)))
    assert (finished.outcome, finished.status) == ("success", 200)
    assert (finished.responses, finished.connection_errors) == (("5xx", "2xx"), ("reset",))
    assert server.accepted == 3  # a fresh connection for each


def test_a_timeout_after_a_503_has_no_status(
    app: App, make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BACKOFF", (0.01, 0.01))
    over = threading.Event()

    def block_the_second() -> None:
        if len(app.heard) > 1:
            over.wait(PATIENCE)

    app.answers = [status(503), OK]
    app.before_answer = block_the_second
    finished = call(make(timeout=0.3))
    over.set()
    assert (finished.outcome, finished.status, finished.responses) == ("timeout", None, ("5xx",))
    assert finished.started is not None


def test_a_refused_call_never_started(make_job: Callable[..., Job], server: HostileServer) -> None:
    server.__exit__()
    finished = call(make_job(url=f"http://127.0.0.1:{server.port}/"))
    assert (finished.outcome, finished.connection_errors) == ("connection_error", ("refused",) * 4)
    assert (finished.started, finished.lateness, finished.duration) == (None, None, None)


def test_cancel_ends_a_call_at_once(app: App, make: Callable[..., Job]) -> None:
    over = threading.Event()

    def cancel() -> None:
        os.kill(os.getpid(), CANCEL)
        over.wait(PATIENCE)

    app.before_answer = cancel
    finished = call(make())
    over.set()
    assert (finished.outcome, finished.status) == ("cancelled", None)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_no_except_exception_swallows_the_deadline() -> None:
    with pytest.raises(DeadlinePassed), deadline(0.01), contextlib.suppress(Exception):
        signal.pause()


# ---- where the call does not go


def test_proxies_of_the_environment_are_not_asked(
    app: App, make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert call(make()).outcome == "success"
    assert app.heard[0].line == "POST /api HTTP/1.1"


def test_the_keys_of_tls_are_not_logged(
    make_job: Callable[..., Job], app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    with HostileServer(app.serve, context) as server:
        finished = call(make_job(url=f"https://127.0.0.1:{server.port}/api"))
    assert finished.outcome == "success"
    assert not keys.exists()


@pytest.mark.parametrize("shown", [True, False])
def test_an_authority_and_a_client_certificate_of_ones_own(
    shown: bool, make_job: Callable[..., Job], app: App, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("tocsin").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    files = TlsFiles(tmp_path / "ca.pem", tmp_path / "client.pem" if shown else None)
    with HostileServer(app.serve, context) as server:
        finished = call(make_job(url=f"https://127.0.0.1:{server.port}/api", tls=files, retries=0))
    assert finished.outcome == ("success" if shown else "connection_error")


# ---- whatever comes over the wire

LINES = rb"""
HTTP/1.1 200 OK|HTTP/1.1 503 No|HTTP/1.1 100 Continue|HTTP/1.1 103 Hints|HTTP/1.0 302|HTTP/1.1 204 -|HTTP/1.1 999 -
HTTP/3 200|Content-Length: 5|Content-Length: -1|Content-Length: 99999999999999999999|Transfer-Encoding: chunked
Transfer-Encoding: gzip, chunked|Content-Encoding: gzip|Content-Encoding: deflate, gzip|Content-Encoding: br
Content-Type: application/json|Content-Type: text/html| folded|Foo|: no name|Location: http://[|Location: //@:99999/
Location: http://a:b:c@[::1]:x|Retry-After: Mon, 99|Connection: keep-alive|-1|5|0|zz|fffffffffffffffffff
{"success": true}|{"success": "\ud800"}|{"success": 1e999}|[[|NaN
""".replace(b"\n", b"|").split(b"|")
ODD = [b"Content-Type: \xff", b"Location: \x85\xa0/", b"X\0: y", b"\x1f\x8b\x08\x00"]
PARTS = st.sampled_from([*LINES, *ODD])
REPLIES = st.one_of(
    st.binary(max_size=200),
    st.lists(PARTS | st.binary(max_size=20), max_size=14).map(b"\r\n".join),
    st.lists(PARTS, max_size=12).map(lambda lines: b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(lines)),
    st.tuples(st.lists(PARTS, max_size=4), st.binary(max_size=60)).map(
        lambda parts: b"\r\n".join([b"HTTP/1.1 200 OK", *parts[0], b"", b""]) + parts[1]
    ),
)
OUTCOMES = {"success", "http_error", "unauthorized", "invalid_response", "connection_error"}


@given(reply=REPLIES)
@settings(max_examples=400)
def test_whatever_the_server_sends_ends_in_one_outcome(reply: bytes, app: App, make: Callable[..., Job]) -> None:
    app.answers = [reply]
    job = make(secret=Secret(SECRET, "query:token", "CRON_SECRET"), retries=0, totals=(("count", "success"),))
    finished = call(job)
    assert finished.outcome in OUTCOMES
    assert (finished.detail == "") == (finished.outcome == "success")
    assert finished.detail.isprintable()
    assert len(finished.responses) + len(finished.connection_errors) <= 1
    assert SECRET not in repr(finished)

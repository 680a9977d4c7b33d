"""Which path answers what: questions in, replies out."""

import os

import pytest

from exporter_rig import NOON, Asked, job, run, world
from tocsin.config.access import Access
from tocsin.config.secrets import Secret
from tocsin.exporter.metrics import OPENMETRICS, TEXT
from tocsin.exporter.state import SLOTS_KEPT
from tocsin.ipc.exporter import ConfigLoaded, Heartbeat, JobRemoved, LedgerState, ProcessExited, ProcessUp
from tocsin.ipc.job import Skipped, Sleeping


def test_health_is_whether_the_parent_is_heard() -> None:
    asked = Asked(*world(job()))
    assert asked.json("/healthz") == (200, {"status": "ok", "heard_seconds_ago": 0.0})
    asked.clock += 15
    assert asked.json("/healthz")[0] == 200
    asked.clock += 1
    status, said = asked.json("/healthz")
    assert (status, said["why"]) == (503, "nothing heard of the parent for 16 s")
    asked.tell(Heartbeat(NOON))
    assert asked.json("/healthz")[0] == 200


def test_readiness_says_what_is_missing() -> None:
    asked = Asked()
    assert asked.json("/readyz") == (
        503,
        {"status": "waiting", "missing": ["the job file is not loaded", "the ledger has not answered yet"]},
    )
    asked.tell(ConfigLoaded("c0ffee", NOON), job("a"), job("b"), job("off", enabled=False, state="disabled"))
    asked.tell(LedgerState(up=False, backlog=3, detail="disk full"), ProcessUp("job", "a", 1, NOON))
    assert asked.json("/readyz")[1]["missing"] == [
        "the ledger does not commit: disk full",
        "job b is stalled: its process is being started",
    ]
    asked.tell(LedgerState(up=True, backlog=0), ProcessUp("job", "b", 1, NOON))
    assert asked.json("/readyz") == (200, {"status": "ready", "missing": []})
    asked.tell(ProcessExited("job", "a", "error", "exit code 1"))
    assert asked.json("/readyz")[1]["missing"] == [
        "job a is stalled: its process ended, and is started again in a moment"
    ]
    asked.tell(JobRemoved("a"))
    assert asked.json("/readyz")[0] == 200


def test_nothing_is_ready_while_the_parent_is_silent() -> None:
    """Who does not hear the parent knows nothing of the jobs any more."""
    asked = Asked(*world(job()))
    assert asked.json("/readyz")[0] == 200
    asked.clock += 16
    assert asked.json("/readyz") == (
        503,
        {"status": "waiting", "missing": ["the daemon is silent: nothing heard of the parent for 16 s"]},
    )
    asked.tell(Heartbeat(NOON))
    assert asked.json("/readyz")[0] == 200


def test_liveness_does_not_follow_what_no_restart_mends() -> None:
    asked = Asked(*world(job()), LedgerState(up=False, backlog=3, detail="disk full"))
    assert (asked.json("/readyz")[0], asked.json("/healthz")[0]) == (503, 200)


def test_api_jobs() -> None:
    asked = Asked(*world(job("b"), job("a")), Sleeping("a", NOON + 60), run("a", "http_error", detail="500"))
    status, said = asked.json("/api/jobs")
    assert status == 200
    assert [one["name"] for one in said] == ["a", "b"]
    first = said[0]
    assert first["state"] == "sleeping"
    assert first["next_fire"] == "2026-11-21T12:01:00.000Z"
    assert first["last_run"] == "2026-11-21T12:00:00.125Z"
    assert (first["last_outcome"], first["last_detail"], first["last_success"]) == ("http_error", "500", None)
    assert first["pid"] > 0
    assert said[1]["last_outcome"] is None
    assert "slots" not in first


def test_every_instant_of_a_job_is_rfc_3339_or_null() -> None:
    asked = Asked(*world(job("a", since=NOON), job("b")), run("a"), run("b"))
    first, second = asked.json("/api/jobs")[1]
    assert (first["since"], second["since"]) == ("2026-11-21T12:00:00.000Z", None)
    numbers = {key for key, value in first.items() if isinstance(value, float | int)}
    assert numbers - {"memory"} == {
        "enabled",
        "timeout",
        "grace",
        "paused",
        "pid",
        "alert_after",
        "notify",
        "notify_after",
        "unreachable",
        "consecutive_failures",
        "missing",
        "usual_duration",
    }


def test_api_job_with_its_slots_latest_first() -> None:
    asked = Asked(*world(job()), run(due=NOON, reported={"unassigned": 3.0}))
    asked.tell(Skipped("sla-check", NOON + 60, NOON + 180, 3, "overlap", "still going"))
    status, said = asked.json("/api/jobs/sla-check")
    assert status == 200
    assert said["totals"] == {"unassigned": 3.0}
    skipped, ran = said["slots"]
    assert (skipped["fate"], skipped["count"], skipped["detail"]) == ("overlap", 3, "still going")
    assert (skipped["due"], skipped["last"]) == ("2026-11-21T12:01:00.000Z", "2026-11-21T12:03:00.000Z")
    assert (ran["fate"], ran["run_id"], ran["reported"]) == ("success", f"run-{NOON:.0f}", {"unassigned": 3.0})
    assert ran["duration"] == 0.125


def test_slots_are_bounded() -> None:
    asked = Asked(*world(job()), *[run(due=NOON + 60 * minute) for minute in range(SLOTS_KEPT + 7)])
    said = asked.json("/api/jobs/sla-check")[1]
    assert len(said["slots"]) == SLOTS_KEPT
    assert said["slots"][0]["run_id"] == f"run-{NOON + 60 * (SLOTS_KEPT + 6):.0f}"


def test_metrics_in_both_formats() -> None:
    asked = Asked(*world(job()))
    text = asked.ask("/metrics")
    assert (text.status, text.content_type) == (200, TEXT)
    openmetrics = asked.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.content_type == OPENMETRICS
    assert openmetrics.body.endswith(b"# EOF\n")


def test_a_scrape_that_refuses_both_formats() -> None:
    reply = Asked(*world(job())).ask("/metrics", accept="*/*;q=0")
    assert reply.status == 406
    assert b"text/plain; version=0.0.4" in reply.body


def test_scrapes_within_a_second_share_their_bytes() -> None:
    asked = Asked(*world(job()))
    formats = ("", "application/openmetrics-text")
    first = [asked.ask("/metrics", accept=accept).body for accept in formats]
    asked.tell(run())
    for accept, body in zip(formats, first, strict=True):
        assert asked.ask("/metrics", accept=accept).body == body
    asked.clock += 1
    for accept in formats:
        body = asked.ask("/metrics", accept=accept).body
        assert b'runs_total{job_name="sla-check",outcome="success"} 1.0' in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get"])
def test_other_methods_are_refused(method: str) -> None:
    reply = Asked().ask("/metrics", method)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    ["/nope", "//", "/jobs/", "/jobs/nope", "/api/jobs/nope", "/api", "/metrics/", "/static/../main.py", "/static/"],
)
def test_nothing_there(path: str) -> None:
    asked = Asked(*world(job()))
    if not path.startswith("/jobs/"):  # which is a page, whoever asks
        assert asked.json(path)[0] == 404
    page = asked.ask(path, accept="text/html,*/*")
    assert page.status == 404
    expected = "application/json" if path.startswith("/api/") else "text/html"
    assert page.content_type.startswith(expected)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:9911", "localhost:9911", "LOCALHOST", "tocsin.localhost", "[::1]:9911", "10.0.0.7", "", ":9911"),
        *("[fe80::1%25eth0]:9911", "Tocsin.Internal:9911", "tocsin.internal.", "tocsin"),
    ],
)
def test_addresses_and_names_of_this_listener(host: str) -> None:
    access = Access(hosts=frozenset({"tocsin.internal", "tocsin"}))
    assert Asked(access=access).ask("/healthz", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:9911", "localhost.evil.example", "[::1", "127.0.0.1.io", "notlocalhost"),
        *("tocsin.internal.evil.example", "tocsin.internal@evil.example", "127.0.0.1/.evil.example", "[evil]", "a b"),
    ],
)
@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "0.0.0.0", "192.0.2.7", "tocsin.internal"])
def test_dns_rebinding_is_refused(host: str, listen: str) -> None:
    asked = Asked(*world(job()), host=listen, access=Access(hosts=frozenset({"also.internal"})))
    for path in ("/", "/metrics", "/api/jobs", "/healthz", "/nope"):
        reply = asked.ask(path, host=host)
        assert (reply.status, reply.refused) == (421, "host")
        assert b"listen_hosts" in reply.body
        assert host.encode() not in reply.body


def test_the_names_that_the_listener_has_by_itself() -> None:
    asked = Asked(host="Tocsin.Internal")
    assert asked.ask("/healthz", host="tocsin.internal:9911").status == 200
    assert asked.ask("/healthz", host=os.uname().nodename).status == 200


def test_beyond_loopback_with_credentials_any_name_will_do() -> None:
    """A stranger's page has none, nor can a browser be made to send ours to it."""
    access = Access(bearer=Secret("0123456789abcdef", "bearer", "X"))
    asked = Asked(*world(job()), host="0.0.0.0", access=access)
    assert asked.ask("/healthz", host="probe.example").status == 200
    reply = asked.ask("/", host="evil.example")
    assert (reply.status, reply.refused) == (401, "no_credentials")
    reply = asked.ask("/", host="evil.example", authorization="Bearer x")
    assert (reply.status, reply.refused) == (401, "wrong_credentials")
    assert asked.ask("/", host="tocsin.example.com", authorization="Bearer 0123456789abcdef").status == 200
    on_loopback = Asked(access=Access(bearer=access.bearer, hosts=frozenset({"tocsin.example.com"})))
    assert on_loopback.ask("/", host="evil.example").status == 421  # nobody has that name but by mistake
    assert on_loopback.ask("/", host="tocsin.example.com").status == 401  # a proxy that passes it on

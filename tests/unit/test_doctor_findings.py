"""What the doctor concludes, without a network: answers, schedules, secrets, limits, supervisord's settings."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.doctor import disk as volume
from tocsin.doctor import judge, machine, settings, state, supervision
from tocsin.doctor.finding import Finding, fail, ok, warning
from tocsin.doctor.judge import CACHE, PATH, SECRET, Answer, clock, judged
from tocsin.doctor.report import as_json, as_text
from tocsin.doctor.target import validity
from tocsin.health import Health, Judged
from tocsin.ipc.exporter import JobStatus
from tocsin.parent import limits, room
from tocsin.redact import redact
from tocsin.schedule import Schedule
from tocsin.units import size

MakeJob = Callable[..., Job]
ONE_SECRET = Secret("correct-horse-battery-staple", "bearer", "CRON_SECRET")


def statuses(found: list[Finding]) -> dict[str, str]:
    return {one.check: one.status for one in found}


# ---- answers


@pytest.mark.parametrize(
    "header", ["x-vercel-cache: PRERENDER", "age: 17", "cf-cache-status: HIT", "x-nextjs-cache: STALE"]
)
def test_an_answer_from_a_cache(make_job: MakeJob, header: str) -> None:
    """The handler did not run, and would not for the job either."""
    name, _, value = header.partition(": ")
    answer = Answer("GET", 401, {name: value, "allow": "GET"})
    job = make_job(method="GET", secret=ONE_SECRET)
    (found,) = [one for one in judged(job, answer, succeeded=False) if one.check == CACHE]
    assert (found.status, header in found.detail) == ("warning", True)
    assert "no-store" in found.advice
    allowed = make_job(method="GET", secret=ONE_SECRET, expect_cached=True)
    assert CACHE not in statuses(list(judged(allowed, answer, succeeded=False)))
    fresh = Answer("GET", 401, {"x-vercel-cache": "MISS", "age": "0"})
    assert CACHE not in statuses(list(judged(job, fresh, succeeded=False)))


CORS = {"access-control-allow-origin": "*"}


@pytest.mark.parametrize(
    ("answer", "path", "secret"),
    [
        (Answer("OPTIONS", 204, {"allow": "OPTIONS, POST"}), "ok", "skipped"),  # Next.js
        (Answer("OPTIONS", 200, {"allow": "GET,HEAD,POST", "content-type": "text/html"}, b"GET,POST"), "ok", "skipped"),
        (Answer("OPTIONS", 405, {"allow": "POST"}, b"405: Method Not Allowed"), "ok", "skipped"),  # aiohttp
        (Answer("OPTIONS", 405, {"allow": "GET"}), "FAIL", "skipped"),
        (Answer("OPTIONS", 405), "FAIL", "skipped"),
        (Answer("OPTIONS", 501), "warning", "skipped"),  # Python's http.server
        (Answer("OPTIONS", 400), "warning", None),  # a page of Next.js
        (Answer("OPTIONS", 204), "warning", "skipped"),
        (Answer("OPTIONS", 204, {"access-control-allow-methods": "GET,POST"}), "warning", "skipped"),
        (Answer("OPTIONS", 200, CORS, b"ok"), "warning", "skipped"),
        (Answer("OPTIONS", 200, {**CORS, "content-type": "application/json"}, b"{}"), None, "FAIL"),
        (Answer("OPTIONS", 200, {}, b"done"), None, "FAIL"),
        (Answer("OPTIONS", 401, {}, b'{"error": "Unauthorized"}'), "ok", "ok"),
        (Answer("OPTIONS", 403), "ok", "ok"),
        (Answer("OPTIONS", 403, {"content-type": "text/html"}, b"<html>Just a moment"), None, "warning"),
        (Answer("OPTIONS", 429), "warning", None),
        (Answer("OPTIONS", 503), "FAIL", None),
        (Answer("OPTIONS", 410), "FAIL", None),
        (Answer("POST", 401), "ok", "ok"),
        (Answer("POST", 204), None, "FAIL"),
        (Answer("POST", 200, {"allow": "POST"}, b"{}"), None, "FAIL"),
        (Answer("POST", 200, {}, b"<!DOCTYPE html>"), "FAIL", None),
        (Answer("POST", 400, {}, b"no date given"), "warning", None),
        (Answer("POST", 405), "FAIL", None),
        (Answer("POST", 404), "FAIL", None),
    ],
)  # fmt: skip
def test_answers(make_job: MakeJob, answer: Answer, path: str | None, secret: str | None) -> None:
    found = list(judged(make_job(secret=ONE_SECRET), answer, succeeded=False))
    expected = {PATH: path, SECRET: secret}
    assert statuses(found) == {check: status for check, status in expected.items() if status}
    assert all(one.advice for one in found if one.status in ("warning", "FAIL"))


@pytest.mark.parametrize("status", [404, 405])
def test_a_job_that_succeeded_speaks_against_what_options_says(make_job: MakeJob, status: int) -> None:
    assert statuses(list(judged(make_job(), Answer("OPTIONS", status), succeeded=True)))[PATH] == "ok"


def test_a_job_without_a_secret_is_open_by_intent(make_job: MakeJob) -> None:
    found = list(judged(make_job(secret=None), Answer("OPTIONS", 200, {}, b"done"), succeeded=False))
    assert statuses(found) == {PATH: "ok", SECRET: "ok"}


@pytest.mark.parametrize(
    ("location", "advice"),
    [
        ("/api/cron/sla-check/", 'write the path as "/api/cron/sla-check/" in [jobs.sla-check]'),
        ("https://www.example.com/api/cron/sla-check?a=b", 'set base_url (or the `url` of [jobs.sla-check]) to "https://www'),
        ("/login?next=/api", "if that is a login page"),
        ("http://[::1", "ask the app why"),
        ("", "if that is a login page"),
    ],
)  # fmt: skip
def test_what_to_do_about_a_redirect(make_job: MakeJob, location: str, advice: str) -> None:
    if location:
        assert judge.where_to(make_job(), location).startswith(advice)
    (finding,) = judged(make_job(), Answer("OPTIONS", 307, {"location": location}), succeeded=False)
    assert finding.status == "FAIL"


def test_what_to_do_about_a_redirect_does_not_repeat_a_secret(make_job: MakeJob) -> None:
    job = make_job(url="https://hc.example.com/ping/3f2a9c1e", hidden=("3f2a9c1e",))
    assert judge.where_to(job, "/ping/3f2a9c1e/").startswith('write the path as "/ping/…/"')


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"date": "Fri, 15 Jan 2027 08:00:00 GMT"}, "ok"),  # any instant of that second
        ({"date": "Fri, 15 Jan 2027 08:00:02 GMT"}, "ok"),  # 2 s ahead at most are certain
        ({"date": "Fri, 15 Jan 2027 07:59:58 GMT"}, "ok"),
        ({"date": "Fri, 15 Jan 2027 08:00:04 GMT"}, "warning"),
        ({"date": "Fri, 15 Jan 2027 07:59:56 GMT"}, "warning"),
        ({"date": "Fri, 15 Jan 2027 08:00:32 GMT"}, "FAIL"),
        ({"date": "Fri, 15 Jan 2027 07:59:00 GMT"}, "FAIL"),
        ({"date": "Fri Jan 15 08:00:00 2027"}, "ok"),  # obsolete, and without a zone in UTC
        ({"date": "Fri, 15 Jan 2027 07:59:00 GMT", "age": "60"}, "skipped"),
        ({"date": "yesterday"}, "skipped"),
        ({}, "skipped"),
    ],
)
@pytest.mark.usefixtures("in_new_york")
def test_clocks(headers: dict[str, str], status: str) -> None:
    answer = Answer("OPTIONS", 204, headers, sent=1_800_000_000.2, received=1_800_000_000.9)  # 08:00:00 of that day
    assert clock("app", answer).status == status


# ---- settings


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("your-secure-random-secret-key-here", "FAIL"),
        ("your-secret", "FAIL"),
        ("changeme", "FAIL"),
        ("what openssl printed", "FAIL"),
        ("the-secret-that-the-app-checks", "FAIL"),
        ("CHANGE_ME", "FAIL"),
        ("password123", "FAIL"),
        ("<secret>", "FAIL"),
        ("xxxxxxxxxxxxxxxxxxxx", "FAIL"),
        ("replace-me-with-a-secret", "FAIL"),
        ("$(openssl rand -hex 32)", "FAIL"),
        ("whsec_$(openssl rand -base64 32)", "FAIL"),
        ("`openssl rand -hex 32`", "FAIL"),
        ("%CRON_SECRET%", "FAIL"),
        ("%(ENV_CRON_SECRET)s", "FAIL"),
        ("{{ cron_secret }}", "FAIL"),
        ("${{ secrets.CRON_SECRET }}", "FAIL"),
        ("<%= ENV['CRON_SECRET'] %>", "FAIL"),
        ("$CRON_SECRET", "FAIL"),
        ("$env:CRON_SECRET", "FAIL"),
        ("${CRON_SECRET}", "FAIL"),
        ("op://production/tocsin/cron-secret", "FAIL"),
        ("arn:aws:secretsmanager:eu-central-1:1234:secret:cron", "FAIL"),
        ("ENC[AES256_GCM,data:abcdef]", "FAIL"),
        ("************", "FAIL"),
        ("[your secret here]", "FAIL"),
        ("abababababababababab", "warning"),
        ("k3y${pw}0123456789abcdef", "ok"),
        ("pa$$w0rd%of%the%year{2026}", "ok"),
        ("correct-horse-battery-staple", "ok"),
        ("4f1e8c0a9b7d2e63", "ok"),
    ],
)
def test_secrets(value: str, status: str) -> None:
    found = settings.secret(Secret(value, "bearer", "CRON_SECRET"))
    assert found.status == status
    assert value not in str(found)


@pytest.mark.parametrize(
    ("expression", "changes", "status"),
    [
        ("* * * * *", {}, "ok"),  # the default timeout is long by intent
        ("* * * * *", {"timeout": 90.0}, "warning"),
        ("* * * * *", {"timeout": 50.0}, "ok"),
        ("* * * * *", {"timeout": 50.0, "retries": 1, "retry_on": ("timeout",)}, "warning"),
        ("0,1 0 * * *", {"timeout": 90.0}, "warning"),  # the shortest gap counts
        ("0 0 29 2 *", {}, "warning"),
        ("0 0 1 1 *", {}, "ok"),
    ],
)
def test_schedules(make_job: MakeJob, expression: str, changes: dict[str, object], status: str) -> None:
    job = make_job(schedule=Schedule(expression), **changes)
    assert settings.schedule(job, 1_800_000_000.0).status == status  # in January 2027


# ---- the machine


def test_memory() -> None:
    assert machine.memory(10, 1024**3).status == "ok"
    assert machine.memory(1000, 1024**3).status == "warning"
    assert machine.memory(10, None).status == "skipped"


def test_memory_that_may_not_be_enough_is_a_warning_that_says_what_fits() -> None:
    free = room.memory_needed(100)
    assert room.tight(100, free) == room.tight(101, None) == ""
    assert f"{size(free)} are free, enough for 100; " in room.tight(101, free)
    assert "enough for 0; " in room.tight(1, 1024)
    assert "enough for 100" in machine.memory(101, free).detail


def test_limits_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").write_text("12:pids:/elsewhere\n0::/tocsin.slice/inner\n")
    inner = tmp_path / "fs" / "tocsin.slice" / "inner"
    inner.mkdir(parents=True)
    (inner / "pids.max").write_text("max\n")
    (inner / "memory.max").write_text("900000000\n")
    (inner / "memory.current").write_text("100000000\n")
    (inner.parent / "pids.max").write_text("40\n")
    (inner.parent / "memory.max").write_text("500000000\n")
    (inner.parent / "memory.current").write_text("400000000\n")
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000000 kB\n")
    monkeypatch.setattr(room, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(room, "CGROUPS", tmp_path / "fs")
    assert room.cgroup_limit("pids.max") == 40
    assert room.memory_free(tmp_path / "meminfo") == 100_000_000
    assert machine.processes(30).status == "ok"
    assert machine.processes(33).status == "FAIL"
    assert "need 41 processes, and this container or unit allows 40, enough for 32 jobs" in limits.shortage(33)
    (inner.parent / "pids.max").unlink()
    assert room.cgroup_limit("pids.max") is None
    assert room.memory_free(tmp_path / "nowhere") is None


# ---- the state


def test_disks() -> None:
    assert volume.disk("var", 10**10, 10**6).status == "ok"
    assert volume.disk("var", 10**10, None).status == "ok"
    assert volume.disk("var", 10**8, 10**6).status == "warning"
    assert volume.disk("var", 10**10, 300).status == "warning"
    assert volume.disk("var", 10**6, 10**6).status == "FAIL"
    assert volume.disk("var", 10**10, 3).status == "FAIL"


@pytest.mark.parametrize(
    ("health", "failures", "status"),
    [
        *[(health, 0, "ok") for health in ("well", "new", "running")],
        ("failing", 1, "warning"),
        ("failing", 3, "FAIL"),
        ("overdue", 1, "FAIL"),
        ("overdue", 0, "FAIL"),
        ("stalled", 0, "FAIL"),
        *[(health, 0, "warning") for health in ("slow", "missing", "paused")],
        ("disabled", 3, "skipped"),
    ],
)
def test_health(health: Health, failures: int, status: str) -> None:
    given: dict[str, object] = {
        "name": "a", "schedule": "@daily", "timezone": "UTC", "words": "", "method": "POST", "url": "http://a/",
        "host": "a", "enabled": True, "description": "", "timeout": 1.0, "grace": 1.0, "fields": (),
    }  # fmt: skip
    one = JobStatus(**given, state="sleeping", consecutive_failures=failures)  # type: ignore[arg-type]
    assert state.health(one, Judged(health, "why")).status == status


# ---- supervisord


GOOD = {"stopwaitsecs": "45", "autorestart": "true", "killasgroup": "true"}


@pytest.mark.parametrize(
    ("changes", "check", "status"),
    [
        ({}, "program", "ok"),
        ({"stopwaitsecs": "30"}, "stopwaitsecs", "FAIL"),
        ({"stopwaitsecs": "33"}, "stopwaitsecs", "warning"),
        ({"stopwaitsecs": "soon"}, "program", "FAIL"),
        ({"stopsignal": "KILL"}, "stopsignal", "FAIL"),
        ({"stopsignal": "HUP"}, "stopsignal", "FAIL"),
        ({"stopsignal": "INT"}, "program", "ok"),
        ({"stopasgroup": "true"}, "stopasgroup", "FAIL"),
        ({"killasgroup": "false"}, "killasgroup", "warning"),
        ({"autorestart": "unexpected"}, "autorestart", "warning"),
        ({"autorestart": "false"}, "autorestart", "FAIL"),
        ({"numprocs": "2"}, "numprocs", "FAIL"),
    ],
)
def test_a_program_of_supervisord(changes: dict[str, str], check: str, status: str) -> None:
    found = list(supervision.program("program:tocsin", {**GOOD, **changes}, 30.0))
    assert statuses(found) == {f"supervisord.{check}": status}


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        ("[program:x]\ncommand=/srv/.venv/bin/tocsin run -c a.toml\nstopwaitsecs=1 ; short\n", "stopwaitsecs"),
        ("[program:x]\ncommand=python -m tocsin.cli run\nstopwaitsecs=1\n", "stopwaitsecs"),
        ("[program:x]\ncommand=node index.js\nstopwaitsecs=1\n", "file"),
        ("[include]\nfiles = %(here)s/conf.d/*.conf none.conf\n[supervisord]\n", "stopwaitsecs"),
        ("stopwaitsecs=1\n", "file"),
        ("[program:x]\ncommand=tocsin 'run\n", "file"),
    ],
)
def test_files_of_supervisord(tmp_path: Path, text: str, checks: str) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "tocsin.conf").write_text("[program:tocsin]\ncommand=tocsin run\nstopwaitsecs=1\n")
    (tmp_path / "supervisord.conf").write_text(text)
    found = list(supervision.check(tmp_path / "supervisord.conf", 30.0))
    assert found[0].check == f"supervisord.{checks}"
    assert found[0].status != "ok"
    (missing,) = supervision.check(tmp_path / "missing.conf", 30.0)
    assert missing.status == "FAIL"


# ---- the report


def test_what_is_the_same_for_many_stands_in_one_line() -> None:
    many = [ok("a.path", f"job-{n}", f"detail {n}") for n in range(9)]
    alike = [fail("a.path", f"lost-{n}", "404", "look") for n in range(6)]
    bad = [warning("a.path", f"job-{n}", "slow", "hurry") for n in (10, 11)]
    lines = as_text([*many, *alike, *bad]).splitlines()
    assert [line.partition(" path  ")[2] for line in lines if line.startswith("  ")] == [
        "job-0, job-1, job-2 and 6 more: all well",
        "lost-0, lost-1, lost-2 and 3 more: 404 → look",
        "job-10: slow → hurry",
        "job-11: slow → hurry",
    ]
    assert "9 ok, 2 warnings, 6 failed" in lines[-1]


@pytest.mark.usefixtures("nothing_is_secret_yet")
@pytest.mark.parametrize("write", [as_text, as_json])
def test_a_secret_that_got_into_a_finding_is_taken_out(write: Callable[[list[Finding]], str]) -> None:
    redact.hide(ONE_SECRET.parts())
    assert ONE_SECRET.value not in write([fail("a.path", ONE_SECRET.value, ONE_SECRET.value, ONE_SECRET.value)])


def test_a_line_stays_a_line() -> None:
    text = as_text([warning("a.path", "job", "one\ntwo\x1b[31m", "")])
    assert "one�two�[31m" in text


def test_a_certificate_that_lasts() -> None:
    now = time.time()
    assert validity("app", now + 22 * 86400, now).status == "ok"
    assert validity("app", now + 20 * 86400, now).status == "warning"

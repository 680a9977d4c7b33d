"""The whole path: parent, job, a real endpoint, ledger, exporter, commands."""

import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import SECRET, TOCSIN, Daemon, Endpoint, fates, sla_checked, until

EVERY_SECOND = """
[jobs.sla-check]
every = "1s"
path = "/api/cron/sla-check"
totals = { unassigned = "unassignedCount" }
"""
HOURLY = """
[jobs.report]
schedule = "@yearly"
path = "/api/cron/report?kind=a%20b"
method = "PUT"
json = { hello = "world" }
"""
Start = Callable[[str], Daemon]


def runs(daemon: Daemon, outcome: str, job: str = "sla-check") -> float:
    return daemon.metric("tocsin_job_runs_total", job_name=job, outcome=outcome) or 0


def baselines(daemon: Daemon) -> dict[str, int]:
    """The jobs that the ledger knows, and in which generation they were named last."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.folder}/var/ledger.sqlite?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT job, roster FROM jobs"))


def test_a_fire_goes_the_whole_way(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: sla_checked(3)
    daemon = running(EVERY_SECOND)
    until(lambda: runs(daemon, "success") >= 2, "two successful runs in the metrics")

    call = next(call for call in endpoint.calls if call.headers["x-tocsin-trigger"] == "schedule")
    assert (call.method, call.path) == ("POST", "/api/cron/sla-check")
    assert call.headers["x-cron-secret"] == SECRET
    assert call.headers["user-agent"].startswith("Tocsin/")
    assert call.headers["x-tocsin-attempt"] == "0"

    run_id = call.headers["idempotency-key"]
    row = until(lambda: [r for r in daemon.history() if r["run_id"] == run_id and r["outcome"]], "the run's row")[0]
    assert row["due"] == call.headers["x-tocsin-scheduled-at"]
    assert (row["job"], row["count"], row["state"], row["outcome"], row["status"]) == (
        "sla-check",
        1,
        "finished",
        "success",
        200,
    )
    assert row["reported"] == {"unassigned": 3}
    total = daemon.metric("tocsin_job_reported_total", job_name="sla-check", field="unassigned")
    assert total is not None
    assert total % 3 == 0
    assert total >= 6
    assert f"run_id={row['run_id']}" in daemon.log()

    job = daemon.json("jobs")[0]
    assert job["name"] == "sla-check"
    assert job["last_outcome"] == "success"
    assert job["pid"] == daemon.child("job sla-check")
    assert job["next_fire"].endswith("Z")
    listed = json.loads(daemon.get("/api/jobs"))
    assert [one["name"] for one in (listed["jobs"] if isinstance(listed, dict) else listed)] == ["sla-check"]
    assert daemon.get("/healthz")
    assert daemon.get("/readyz")
    assert daemon.stop() == 0
    assert len(fates(daemon.history(), "sla-check")) == len(daemon.history())  # one row for each slot


def test_the_start_is_committed_before_the_call(running: Start, endpoint: Endpoint) -> None:
    seen: list[str] = []

    def look(_: object) -> tuple[int, dict[str, str], bytes]:
        seen.extend(row["state"] for row in daemon.history("report"))
        return sla_checked(0)

    endpoint.answer = look
    daemon = running(HOURLY)
    daemon.child("job report")
    until(lambda: daemon.run("fire", "report").returncode == 0, "a successful manual run")
    assert seen == ["started"]


def test_fire_runs_now_and_sends_what_the_job_says(running: Start, endpoint: Endpoint) -> None:
    daemon = running(HOURLY)
    daemon.child("job report")
    result = until(lambda: ((r := daemon.run("fire", "report")).returncode == 0 and r) or None, "a manual run")
    assert result.stdout.startswith("report: success")
    call = endpoint.calls[-1]
    assert (call.method, call.path, call.body) == ("PUT", "/api/cron/report?kind=a%20b", b'{"hello":"world"}')
    assert call.headers["content-type"] == "application/json"
    assert call.headers["x-tocsin-trigger"] == "manual"
    assert daemon.history()[-1]["trigger"] == "manual"

    endpoint.answer = lambda _: (500, {"Content-Type": "text/plain"}, b"database is down")
    failed = daemon.run("fire", "report")
    assert failed.returncode == 1
    assert "http_error" in failed.stdout
    assert "database is down" in failed.stdout
    unknown = daemon.run("fire", "reprot")
    assert unknown.returncode == 2
    assert "reprot" in unknown.stderr


def test_the_endpoint_goes_away_and_comes_back(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: runs(daemon, "success"), "a first success")
    endpoint.stop()
    until(lambda: runs(daemon, "connection_error") >= 2, "connection errors")
    refused = daemon.metric("tocsin_job_connection_errors_total", job_name="sla-check", kind="refused")
    assert refused
    failed = daemon.history("--failed")[0]
    assert endpoint.url.removeprefix("http://") in failed["detail"]
    before = runs(daemon, "success")
    endpoint.start()
    until(lambda: runs(daemon, "success") > before, "success again")
    counts = [len(fate) for fate in fates(daemon.history(), "sla-check").values()]
    assert set(counts) == {1}


def test_a_wrong_secret_is_named(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: (401, {"Content-Type": "application/json"}, b'{"error": "Unauthorized"}')
    daemon = running(EVERY_SECOND)
    until(lambda: runs(daemon, "unauthorized"), "an unauthorized run")
    responses = daemon.metric("tocsin_job_responses_total", job_name="sla-check", status="401")
    assert responses
    daemon.said("CRON_SECRET")
    assert daemon.history()[0]["outcome"] == "unauthorized"


def test_a_long_call_overlaps_nothing(running: Start, endpoint: Endpoint) -> None:
    open_calls: list[int] = []
    most: list[int] = []

    def slow(_: object) -> tuple[int, dict[str, str], bytes]:
        open_calls.append(1)
        most.append(len(open_calls))
        passed = {"slots": 0}

        def overlapped() -> bool:
            passed["slots"] += 1
            return passed["slots"] > 100

        until(overlapped, "two seconds or so of work")
        open_calls.pop()
        return sla_checked(0)

    endpoint.answer = slow
    daemon = running(EVERY_SECOND)
    until(lambda: runs(daemon, "success") >= 2, "two slow runs")
    assert max(most) == 1
    rows = until(lambda: [r for r in daemon.history() if r["reason"] == "overlap"], "overlaps in the ledger")
    assert sum(row["count"] for row in rows) >= 1
    counted = daemon.metric("tocsin_job_slots_not_run_total", job_name="sla-check", reason="overlap")
    assert counted


def test_downtime_is_missed_not_forgotten(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND + 'catch_up = "none"\n')
    until(lambda: len(endpoint.calls) >= 2, "two calls")
    daemon.stop()
    stopped_at = daemon.history()[-1]["due"]
    passed = {"polls": 0}

    def pass_time() -> bool:
        passed["polls"] += 1
        return passed["polls"] > 130

    until(pass_time, "some seconds of downtime")
    daemon.start()
    missed = until(
        lambda: [r for r in daemon.history() if r["state"] == "missed" and r["due"] > stopped_at], "missed slots"
    )
    assert missed[0]["count"] >= 2
    assert missed[0]["detail"] == "the daemon was stopped"


def test_reload_touches_only_what_changed(running: Start, endpoint: Endpoint) -> None:
    other = '[jobs.other]\nevery = "1s"\npath = "/other"\n'
    daemon = running(EVERY_SECOND + other)
    kept, changed = daemon.child("job sla-check"), daemon.child("job other")
    until(lambda: endpoint.of("other"), "a call of the job to change")
    daemon.write(EVERY_SECOND + other.replace("/other", "/changed") + '[jobs.new]\nevery = "1s"\npath = "/new"\n')
    assert daemon.run("reload").returncode == 0
    daemon.child("job other", other_than=changed)
    until(lambda: {"/changed", "/new"} <= {call.path for call in endpoint.calls}, "calls by the new file")
    assert daemon.child("job sla-check") == kept
    until(lambda: len(baselines(daemon)) == 3, "the new job in the ledger")
    assert len(set(baselines(daemon).values())) == 1, "no new generation: the others are not named again"

    daemon.write(EVERY_SECOND)
    daemon.signal(signal.SIGHUP)
    until(lambda: "job new" not in daemon.children() and "job other" not in daemon.children(), "removed jobs to end")
    assert daemon.child("job sla-check") == kept
    assert [one["name"] for one in daemon.json("jobs")] == ["sla-check"]
    assert 'job_name="other"' not in daemon.get("/metrics")
    until(lambda: baselines(daemon).keys() == {"sla-check"}, "the ledger to forget the removed jobs")


def test_a_bad_file_changes_nothing(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    pid = daemon.child("job sla-check")
    until(lambda: daemon.metric("tocsin_config_last_reload_successful") == 1, "the gauge")
    daemon.write(EVERY_SECOND.replace("1s", "1 fortnight"))
    result = daemon.run("reload")
    assert result.returncode == 2
    assert "1 fortnight" in result.stderr
    until(lambda: daemon.metric("tocsin_config_last_reload_successful") == 0, "the gauge to fall")
    daemon.said("reload refused")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "the old job to go on")
    assert daemon.child("job sla-check") == pid


def test_five_faults_are_listed_and_nothing_starts(daemon: Daemon) -> None:
    daemon.write(
        """
[jobs.a]
schedule = "99 * * * *"
path = "/a"
[jobs.b]
every = "1s"
path = "no-slash"
[jobs.c]
every = "1s"
path = "/c"
tiemout = "5s"
[jobs.d]
every = "1s"
path = "/d"
timezone = "Europe/Berln"
[jobs.e]
every = "1s"
path = "/e"
method = "FETCH"
"""
    )
    for command in ("run", "check"):
        result = daemon.run(command)
        assert result.returncode == 2
        for word in ("jobs.a", "99", "no-slash", 'did you mean "timeout"', "Europe/Berln", "FETCH", "5 faults"):
            assert word in result.stderr, word
    assert not (daemon.folder / "var").exists()


def test_a_second_daemon_says_who_is_first(running: Start) -> None:
    daemon = running(EVERY_SECOND)
    daemon.child("job sla-check")
    second = daemon.run("run")
    assert second.returncode == 3
    assert f"process {daemon.pid}" in second.stderr


def test_commands_without_a_daemon(daemon: Daemon) -> None:
    daemon.write(EVERY_SECOND)
    assert daemon.run("jobs").returncode == 4
    assert daemon.run("fire", "sla-check").returncode == 4
    assert daemon.run("reload").returncode == 4
    assert daemon.run("history").returncode == 1
    assert daemon.run("check").returncode == 0
    assert daemon.run("-c", "x").returncode == 2


def test_a_blocked_log_stops_nothing(daemon: Daemon) -> None:
    read, write = os.pipe()
    daemon.write(EVERY_SECOND)
    daemon.environment["LOG_LEVEL"] = "debug"
    daemon.environment["TOCSIN_LOG_FORMAT"] = "json"
    os.set_blocking(write, False)
    while True:  # the pipe is full before the daemon writes its first line
        try:
            os.write(write, b"x" * 1024)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    daemon.start(stdout=write)
    os.close(write)
    until(lambda: runs(daemon, "success") >= 3, "runs in spite of the full pipe")
    until(lambda: (daemon.metric("tocsin_log_lines_dropped_total") or 0) > 0, "dropped lines to be counted")
    with os.fdopen(read, "rb") as pipe:
        until(lambda: b"log lines dropped" in os.read(pipe.fileno(), 65536), "the log to say so")
        assert daemon.stop() == 0


def test_the_secret_is_nowhere(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = lambda call: (400, {"Content-Type": "text/plain"}, f"bad {SECRET} {call.path}".encode())
    daemon = running(EVERY_SECOND + '[jobs.query]\nevery = "1s"\npath = "/q"\nsend_secret = "query:secret"\n')
    until(lambda: runs(daemon, "http_error") and runs(daemon, "http_error", "query"), "failed runs")
    assert SECRET in endpoint.of("query")[0].path
    shown = [daemon.get(path) for path in ("/metrics", "/healthz", "/api/jobs", "/", "/jobs/query")]
    shown += [daemon.run(*words).stdout for words in (["jobs"], ["history"], ["check"], ["history", "--json"])]
    shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in daemon.children().values()]
    daemon.stop()
    for file in daemon.folder.rglob("*"):
        if file.is_file() and file.name != "tocsin.toml":
            shown.append(file.read_bytes().decode("latin-1"))
    assert not [text for text in shown if SECRET in text]
    assert "[redacted]" in daemon.log()


@pytest.mark.parametrize(
    "words", [["next", "*/15 9-17 * * MON-FRI", "--timezone", "Europe/Berlin"], ["next", "@daily"]]
)
def test_next(words: list[str]) -> None:
    after = ["--after", "2026-03-28T12:00:00Z", "-n", "2", "--json"]
    result = subprocess.run([TOCSIN, *words, *after], capture_output=True, text=True, check=True)
    expected = {"@daily": ["2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"]}.get(
        words[1], ["2026-03-30T07:00:00Z", "2026-03-30T07:15:00Z"]
    )
    assert json.loads(result.stdout) == expected


def test_next_refuses_nonsense() -> None:
    result = subprocess.run([TOCSIN, "next", "61 * * * *"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "61" in result.stderr


def test_too_many_jobs_for_the_limits_are_refused(running: Start, endpoint: Endpoint) -> None:
    """At start, and at reload, where the current jobs keep running."""
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (100, 100))
    many = "".join(f'[jobs.j{n}]\nschedule = "@yearly"\npath = "/{n}"\n' for n in range(40))
    daemon.write(EVERY_SECOND + many)
    result = daemon.run("reload")
    assert result.returncode == 2
    assert "41 jobs need 146 open files, and the hard limit is 100, enough for 18 jobs; raise" in result.stderr
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "the old job to go on")
    daemon.stop()
    command = ["sh", "-c", 'ulimit -n 100; exec "$0" run', str(TOCSIN)]
    started = subprocess.run(
        command, cwd=daemon.folder, env=daemon.environment, capture_output=True, text=True, check=False
    )
    assert started.returncode == 2
    assert "LimitNOFILE" in started.stderr


def test_literal_secrets_of_the_job_file_are_said_nowhere(running: Start, endpoint: Endpoint) -> None:
    """Not by a job that is right and whose endpoint repeats them, nor by what refuses a file that is wrong."""
    ping = "AbCdEfGhIjKlMnOpQrSt"
    right = (
        '[jobs.tick]\nevery = "1s"\nsend_secret = "none"\n'
        f'path = "/hook/{ping}?token=hunter2-1"\nheaders = {{ X-Api-Key = "hunter2-2" }}\n'
    )
    endpoint.answer = lambda _: (500, {"Content-Type": "text/plain"}, f"{ping} hunter2-1 hunter2-2".encode())
    daemon = running(right)
    daemon.said("http_error")
    seen = [daemon.run(*words) for words in (["check"], ["check", "--json"], ["jobs", "--json"], ["history", "--json"])]
    seen += [daemon.run("doctor"), daemon.run("doctor", "--json")]
    daemon.write(
        right + f'[jobs.a]\nevery = "1s"\nurl = "https://bob:hunter2-3@app.example.com/{ping}?token=hunter2-1"\n'
        '[jobs.b]\nevery = "1s"\npath = "/x y?token=hunter2-1"\nheaders = { X-Api-Key = ["hunter2-2"] }\n'
    )
    refused = [daemon.run(*words) for words in (["reload"], ["check"], ["check", "--json"], ["jobs"], ["doctor"])]
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.log().count("[jobs.a] url = ") >= 2, "both refusals in the log")
    assert "https://…@app.example.com/…?…" in refused[0].stderr
    for text in (daemon.log(), *(one.stdout + one.stderr for one in (*seen, *refused))):
        assert "hunter2" not in text
        assert ping not in text

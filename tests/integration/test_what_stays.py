"""What outlives a restart, a reload, a new exporter: the past of a job, its pause, the call that runs."""

import contextlib
import json
import re
import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from harness import Daemon, Endpoint, Held, until
from tocsin.ledger.sqlite import FILE
from tocsin.timestamps import rfc3339

Start = Callable[[str], Daemon]
EVERY_SECOND = '[jobs.sla-check]\nevery = "1s"\npath = "/api/cron/sla-check"\n'
DAILY = '[jobs.{}]\nschedule = "0 0 * * *"\npath = "/{}"\nretries = 0\n'


def test_pause_outlives_a_restart(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    assert daemon.run("pause", "sla-check").returncode == 0
    until(lambda: [r for r in daemon.history() if r["reason"] == "paused"], "a paused slot")
    daemon.stop()
    calls = len(endpoint.calls)
    paused = sum(row["count"] for row in daemon.history() if row["reason"] == "paused")
    daemon.start()
    until(lambda: sum(r["count"] for r in daemon.history() if r["reason"] == "paused") > paused, "more paused slots")
    assert len(endpoint.calls) == calls
    [status] = daemon.json("jobs")
    assert status["paused"] is True
    assert status["since"].endswith("Z")
    assert daemon.run("resume", "sla-check").returncode == 0
    assert daemon.json("jobs")[0]["since"] != status["since"]
    until(lambda: len(endpoint.calls) > calls, "calls again")


def test_the_exporter_knows_the_past_after_a_restart(running: Start, endpoint: Endpoint) -> None:
    daemon = running(DAILY.format("good", "good") + DAILY.format("bad", "bad"))
    right, endpoint.answer = endpoint.answer, lambda _: (500, {}, b"out of order")
    for job in ("bad", "good"):
        daemon.child(f"job {job}")  # before it has a process, a fire is refused: exit 1 as well
    assert [daemon.run("fire", "bad").returncode for _ in range(2)] == [1, 1]
    endpoint.answer = right
    assert daemon.run("fire", "good").returncode == 0
    assert daemon.run("pause", "good").returncode == 0
    names = ("success_deadline_timestamp_seconds", "last_success_timestamp_seconds", "last_run_timestamp_seconds")

    def known() -> list[float | None]:
        return [
            *(daemon.metric(f"tocsin_job_{name}", job_name="good") for name in names),
            daemon.metric("tocsin_job_success_deadline_timestamp_seconds", job_name="bad"),
            daemon.metric("tocsin_job_paused", job_name="good"),
            daemon.metric("tocsin_job_last_run_outcome", job_name="bad", outcome="http_error"),
            daemon.metric("tocsin_job_consecutive_failures", job_name="bad"),
        ]

    until(lambda: known()[4:] == [1, 1, 2], "the exporter to hear of it all")
    before = known()
    assert daemon.stop() == 0
    daemon.start()
    until(lambda: known() == before, "the same after a restart")
    daemon.child("exporter", other_than=daemon.kill("exporter"))
    until(lambda: known() == before, "the same in a new exporter")


def test_a_job_that_nobody_ran_for_days_has_two_fires(running: Start) -> None:
    daemon = running(DAILY.format("good", "good"))
    daemon.child("job good")
    assert daemon.run("fire", "good").returncode == 0
    assert daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(daemon.folder / "var" / FILE, isolation_level=None)) as db:
        db.execute("UPDATE jobs SET last_success = last_success - 864000, since = since - 864000")
    daemon.start()
    name = "tocsin_job_success_deadline_timestamp_seconds"
    until(lambda: (daemon.metric(name, job_name="good") or 0) > time.time(), "a deadline that is to come")
    assert (daemon.metric("tocsin_job_last_success_timestamp_seconds", job_name="good") or 0) < time.time() - 800_000


def test_resumed_jobs_have_two_fires_also_in_a_new_exporter(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND.replace("1s", "2s"))
    until(lambda: endpoint.calls, "a call")
    assert daemon.run("pause", "sla-check").returncode == 0
    until(lambda: sum(r["count"] for r in daemon.history() if r["reason"] == "paused") >= 3, "paused slots")
    endpoint.answer = lambda _: (500, {}, b"out of order")
    assert daemon.run("resume", "sla-check").returncode == 0

    def deadline() -> float | None:
        return daemon.metric("tocsin_job_success_deadline_timestamp_seconds", job_name="sla-check")

    def success() -> float:
        return daemon.metric("tocsin_job_last_success_timestamp_seconds", job_name="sla-check") or 0.0

    before = until(lambda: deadline() if (deadline() or 0) > success() + 4 + 360 else None, "two fires more")
    daemon.child("exporter", other_than=daemon.kill("exporter"))
    until(lambda: deadline() == before, "the same in a new exporter")


def test_a_pause_outlives_a_job_that_is_disabled_meanwhile(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    assert daemon.run("pause", "sla-check").returncode == 0
    daemon.write(EVERY_SECOND + "enabled = false\n")
    assert daemon.run("reload").returncode == 0
    assert daemon.stop() == 0
    daemon.start()
    until(lambda: [job for job in daemon.json("jobs") if job["state"] == "disabled" and job["paused"]], "the pause")
    calls = len(endpoint.calls)
    disabled = rfc3339(int(time.time()) - 1)
    daemon.write(EVERY_SECOND)
    assert daemon.run("reload").returncode == 0
    until(lambda: daemon.json("jobs")[0]["paused"] is True, "the pause")
    until(lambda: [r for r in daemon.history() if r["reason"] == "paused"], "a paused slot")
    assert len(endpoint.calls) == calls
    assert daemon.run("resume", "sla-check").returncode == 0
    until(lambda: len(endpoint.calls) > calls, "calls again")
    missed = [row for row in daemon.history() if row["reason"] == "missed"]
    assert not [row for row in missed if row["due"] <= disabled <= row["last"]], (
        "its slots were not due while it was disabled"
    )


def test_a_slot_that_was_asked_for_and_not_yet_due_runs_in_the_next_daemon(running: Start, endpoint: Endpoint) -> None:
    """As after kill -9 between the two."""
    daemon = running(EVERY_SECOND.replace("1s", "10s"))
    daemon.child("job sla-check")
    until(lambda: daemon.history() or endpoint.calls, "a slot")
    assert daemon.stop() == 0
    due = (time.time() + 20) // 10 * 10
    with contextlib.closing(sqlite3.connect(daemon.folder / "var" / FILE, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO slots (job, due, last, state, trigger, run_id, owner)"
            " VALUES ('sla-check', ?, ?, 'started', 'schedule', 'earlier', 'earlier/1')",
            (due, due),
        )
        db.execute("UPDATE jobs SET last_due = ?", (due,))
    daemon.start()
    until(lambda: [row for row in daemon.history() if row["due"] == rfc3339(due) and row["outcome"]], "its fate")
    assert [row["outcome"] for row in daemon.history() if row["due"] == rfc3339(due)] == ["success"]
    scheduled = [call.headers["x-tocsin-scheduled-at"] for call in endpoint.calls]
    assert scheduled.count(rfc3339(due)) == 1


def test_another_spelling_of_a_schedule_is_shown_and_changes_nothing_else(running: Start, endpoint: Endpoint) -> None:
    """The process stays at a reload, and a start accounts for the slots of the downtime."""

    def spelled(schedule: str) -> str:
        return EVERY_SECOND.replace('every = "1s"', f'schedule = "{schedule}"')

    daemon = running(spelled("*/1 * * * * *"))
    until(lambda: endpoint.calls, "a call")
    pid = daemon.child("job sla-check")
    daemon.write(spelled("* * * * * *"))
    assert daemon.run("reload").returncode == 0
    until(lambda: daemon.json("jobs")[0]["schedule"] == "* * * * * *", "the new spelling in `tocsin jobs`")
    until(lambda: 'schedule="* * * * * *"' in daemon.get("/metrics"), "the new spelling in the metrics")
    assert daemon.child("job sla-check") == pid
    assert [one["detail"] for one in daemon.json("doctor") if one["check"] == "state.reload"] == []
    assert daemon.stop() == 0
    stopped = int(time.time())
    daemon.write(spelled("0-59 * * * * *"))
    until(lambda: time.time() > stopped + 3, "slots to come due")
    daemon.start()
    after = rfc3339(stopped)
    until(lambda: [r for r in daemon.history() if r["state"] == "missed" and r["last"] > after], "the missed slots")


def test_a_reload_leaves_a_paused_job_paused(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    assert daemon.run("pause", "sla-check").returncode == 0
    pid = daemon.child("job sla-check")
    daemon.write(EVERY_SECOND + 'timeout = "7s"\n')
    assert daemon.run("reload").returncode == 0
    daemon.child("job sla-check", other_than=pid)
    calls = len(endpoint.calls)
    passed = sum(row["count"] for row in daemon.history() if row["reason"] == "paused")
    until(lambda: sum(r["count"] for r in daemon.history() if r["reason"] == "paused") > passed + 1, "paused slots")
    assert len(endpoint.calls) == calls
    assert daemon.json("jobs")[0]["paused"] is True
    assert daemon.metric("tocsin_job_paused", job_name="sla-check") == 1


def test_a_reload_during_a_call_shows_the_call(running: Start, endpoint: Endpoint) -> None:
    """Its process finishes first, and is there."""
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    pid = daemon.child("job sla-check")
    until(lambda: daemon.metric("tocsin_job_running", job_name="sla-check") == 1, "the call to show")
    daemon.write(EVERY_SECOND + 'timeout = "40s"\n')
    assert daemon.run("reload").returncode == 0
    [status] = daemon.json("jobs")
    assert (status["state"], status["pid"]) == ("running", pid)
    assert daemon.get("/readyz")
    assert daemon.metric("tocsin_job_process_up", job_name="sla-check") == 1
    assert daemon.metric("tocsin_job_running", job_name="sla-check") == 1
    held.go.set()
    daemon.child("job sla-check", other_than=pid)
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "calls by the new process")


def test_a_pause_before_the_ledger_answers_holds(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    assert daemon.stop() == 0
    calls = len(endpoint.calls)
    db = sqlite3.connect(daemon.folder / "var" / FILE, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    daemon.start()
    said = until(lambda: (asked := daemon.run("pause", "sla-check")).returncode == 0 and asked.stdout, "it to be taken")
    assert "the ledger cannot write" in str(said)
    db.execute("ROLLBACK")
    db.close()
    daemon.child("job sla-check")
    until(lambda: [r for r in daemon.history() if r["reason"] == "paused"], "a paused slot")
    assert daemon.json("jobs")[0]["paused"] is True
    assert len(endpoint.calls) == calls


def test_a_new_state_folder_is_for_the_next_start(running: Start, endpoint: Endpoint) -> None:
    """Also where the ledger's process begins anew: the lock is in the old one."""
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    daemon.write(EVERY_SECOND, daemon='state_dir = "elsewhere"')
    daemon.signal(signal.SIGHUP)
    daemon.said("a change of state_dir takes effect at the next start")
    daemon.child("ledger", other_than=daemon.kill("ledger"))
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) >= calls + 2, "calls to go on")
    assert not (daemon.folder / "elsewhere").exists()
    assert daemon.stop() == 0


def test_calls_may_finish_when_the_ledger_is_lost(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    daemon.kill("ledger", signal.SIGSTOP)
    for kind in ("-wal", "-shm"):
        (daemon.folder / "var" / f"ledger.sqlite{kind}").unlink()
    (daemon.folder / "var" / "ledger.sqlite").write_bytes(b"\0" * 8192)
    daemon.kill("ledger")
    daemon.said("the ledger cannot be used")
    until(lambda: daemon.log().count("process started process=ledger") >= 3, "it to be tried again")
    held.go.set()
    assert daemon.wait() == 1
    assert "stopping at once" not in daemon.log()
    assert "sla-check: success" in daemon.log()


def test_a_reload_asked_for_during_the_start_comes_after_it(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    daemon.said("tocsin starts")
    daemon.signal(signal.SIGHUP)
    daemon.said("reloaded")
    until(lambda: endpoint.calls, "a call")


def test_a_success_long_ago_rings_no_alarm_at_a_start(running: Start, endpoint: Endpoint) -> None:
    """Why there was none since is not known: it may have been paused, or nobody ran."""
    daemon = running(DAILY.format("good", "good"))
    until(lambda: daemon.run("fire", "good").returncode == 0, "a success")
    assert daemon.stop() == 0
    long_ago = time.time() - 7 * 86400
    db = sqlite3.connect(daemon.folder / "var" / FILE, isolation_level=None)
    db.execute("UPDATE jobs SET last_success = ?", (long_ago,))
    db.close()
    daemon.start()

    def told(name: str) -> float:
        return daemon.metric(f"tocsin_job_{name}_timestamp_seconds", job_name="good") or 0.0

    until(lambda: told("last_success") == long_ago, "the success to be known")
    assert told("success_deadline") > time.time()
    daemon.child("exporter", other_than=daemon.kill("exporter"))
    until(lambda: told("last_success") == long_ago, "the success to be known again")
    assert told("success_deadline") > time.time()
    assert len(endpoint.calls) == 1


def test_a_stop_that_loses_results_says_so(daemon: Daemon, endpoint: Endpoint) -> None:
    """No file of the ledger may grow: for SQLite the same as a full disk."""
    daemon.write(EVERY_SECOND, daemon='drain = "0s"')
    daemon.start()
    until(lambda: len(endpoint.calls) >= 2, "calls")
    ledger = daemon.child("ledger")
    resource.prlimit(ledger, resource.RLIMIT_FSIZE, (4096, resource.prlimit(ledger, resource.RLIMIT_FSIZE)[1]))
    daemon.said("the ledger cannot write")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 1
    daemon.said("stopped before the ledger could write everything")


def test_the_pages_know_the_slots_from_before_a_restart(running: Start, endpoint: Endpoint) -> None:
    totals = 'totals = { unassigned = "unassignedCount" }\n'
    daemon = running(DAILY.format("good", "good") + totals + DAILY.format("bad", "bad"))
    right, endpoint.answer = endpoint.answer, lambda _: (500, {}, b"out of order")
    for job in ("bad", "good"):
        daemon.child(f"job {job}")
    assert daemon.run("fire", "bad").returncode == 1
    endpoint.answer = right
    assert daemon.run("fire", "good").returncode == 0

    def shown() -> list[Any]:
        """The slots and totals of both jobs, and what the page draws of them."""
        jobs = [json.loads(daemon.get(f"/api/jobs/{job}")) for job in ("good", "bad")]
        slots, totals = [job["slots"] for job in jobs], [job["totals"] for job in jobs]
        drawn = re.findall(r'<path class="(\w+)" d="M\d+ [\d.]+H\d+"', daemon.get("/jobs/bad"))
        return [slots, totals, drawn]

    until(lambda: len(shown()[0][0]) == len(shown()[0][1]) == 1, "both runs to be shown")
    before = shown()
    assert before[0][1][0]["fate"] == "http_error"
    assert before[1][0]["unassigned"] > 0
    daemon.child("exporter", other_than=daemon.kill("exporter"))
    until(lambda: shown() == before, "the same in a new exporter")
    daemon.child("ledger", other_than=daemon.kill("ledger"))
    daemon.child("exporter", other_than=daemon.kill("exporter"))
    until(lambda: shown() == before, "the same beside a new ledger")
    assert daemon.stop() == 0
    daemon.start()
    daemon.child("exporter")
    until(lambda: shown() == before, "the same after a restart")

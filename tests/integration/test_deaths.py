"""Kill anything: it comes back, no slot is called twice, and what was cut off is known."""

import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from exporter_rig import Client
from harness import Daemon, Endpoint, Held, fates, sla_checked, until
from tocsin.parent.main import REPEATED

EVERY_SECOND = '[jobs.tick]\nevery = "1s"\npath = "/tick"\n'
Start = Callable[[str], Daemon]


def accounted_once(daemon: Daemon, endpoint: Endpoint, job: str = "tick") -> list[str]:
    """Each slot was called at most once and has one row, without a gap; returns the fates in order of due."""
    due = [call.headers["x-tocsin-scheduled-at"] for call in endpoint.of(job)]
    assert len(due) == len(set(due)), "a slot was called twice"
    rows = [row for row in daemon.history(job) if row["trigger"] != "manual"]
    assert all(len(fate) == 1 for fate in fates(rows, job).values())
    span = _seconds(rows[-1]["last"]) - _seconds(rows[0]["due"]) + 1
    assert sum(row["count"] for row in rows) == span, "a slot is unaccounted for"
    assert all(row["state"] != "started" for row in rows), "a slot was begun and never ended"
    return [row["outcome"] or row["reason"] or row["state"] for row in rows]


def _seconds(instant: str) -> int:
    hours, minutes, seconds = instant[11:19].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


@pytest.mark.parametrize("title", ["job tick", "exporter", "ledger"])
def test_a_killed_child_comes_back(running: Start, endpoint: Endpoint, title: str) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    pid = daemon.kill(title)
    new = daemon.child(title, other_than=pid)
    assert new != pid
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) >= calls + 2, "calls to go on")
    until(lambda: daemon.metric("tocsin_job_process_up", job_name="tick") == 1, "the exporter to know the job")
    if title == "job tick":
        exits = daemon.metric("tocsin_job_process_exits_total", job_name="tick", reason="signal")
        assert exits == 1
    assert daemon.stop() == 0
    accounted_once(daemon, endpoint)


def test_a_call_cut_off_is_lost(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    daemon.kill("job tick")
    rows = until(lambda: [r for r in daemon.history() if r["outcome"] == "lost"], "the lost run")
    assert rows[0]["run_id"] == endpoint.calls[0].headers["idempotency-key"]
    assert "SIGKILL" in rows[0]["detail"]
    held.go.set()
    until(lambda: len(endpoint.calls) >= 3, "the next slots")
    assert daemon.stop() == 0
    assert accounted_once(daemon, endpoint).count("lost") == 1


def test_a_lost_run_is_delivered_again_where_asked(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running('[jobs.tick]\nschedule = "@yearly"\npath = "/tick"\ndelivery = "at-least-once"\n')
    daemon.child("job tick")
    thread = Thread(target=daemon.run, args=("fire", "tick"))
    thread.start()
    assert held.came.wait(30)
    daemon.kill("job tick")
    held.go.set()
    thread.join()
    until(lambda: len(endpoint.calls) == 2, "the second delivery")
    first, second = endpoint.calls
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert (first.headers["x-tocsin-attempt"], second.headers["x-tocsin-attempt"]) == ("0", "1")
    rows = until(lambda: [r for r in daemon.history() if r["outcome"] == "success"] and daemon.history(), "success")
    assert [(row["attempt"], row["outcome"]) for row in rows] == [(0, "lost"), (1, "success")]


def test_the_parent_dies_and_nobody_survives_it(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    children = daemon.children()
    assert set(children) == {"job tick", "exporter", "ledger"}
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children.values()), "the children to be gone")
    assert [row["state"] for row in daemon.history()] == ["started"]
    held.go.set()
    daemon.start()
    until(lambda: len(endpoint.calls) >= 3, "calls of the new daemon")
    assert daemon.stop() == 0
    assert accounted_once(daemon, endpoint)[0] == "lost"
    assert daemon.log().count("tick: lost") == 1


def test_the_new_daemon_waits_for_the_lock(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    first = daemon.process
    orphan = daemon.child("job tick")
    os.kill(orphan, signal.SIGSTOP)
    second = Daemon(daemon.folder, endpoint)
    second.environment = daemon.environment
    second.start()
    daemon.signal(signal.SIGTERM)
    os.kill(orphan, signal.SIGCONT)
    assert first is not None
    assert first.wait(30) == 0
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "the second daemon to fire")
    assert second.stop() == 0
    accounted_once(second, endpoint)


def test_a_stopped_job_process_holds_nothing_up(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND + '[jobs.other]\nevery = "1s"\npath = "/other"\n')
    until(lambda: endpoint.of("tick") and endpoint.of("other"), "calls")
    daemon.kill("job tick", signal.SIGSTOP)
    calls = len(endpoint.of("other"))
    until(lambda: len(endpoint.of("other")) >= calls + 3, "the other job to go on")
    daemon.kill("job tick", signal.SIGCONT)
    calls = len(endpoint.of("tick"))
    until(lambda: len(endpoint.of("tick")) > calls + 1, "the stopped job to go on")
    assert daemon.stop() == 0
    accounted_once(daemon, endpoint)


def test_a_stopped_ledger_means_no_calls(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    daemon.kill("ledger", signal.SIGSTOP)
    asked = daemon.log().count("asked")
    until(lambda: daemon.log().count("asked") >= asked + 3, "slots to pass")
    calls = len(endpoint.calls)
    asked = daemon.log().count("asked")
    until(lambda: daemon.log().count("asked") >= asked + 2, "more slots to pass")
    assert len(endpoint.calls) <= calls  # whatever was granted before has gone out by then
    daemon.kill("ledger", signal.SIGCONT)
    until(lambda: len(endpoint.calls) > calls, "calls again")
    assert daemon.stop() == 0
    assert "missed" in accounted_once(daemon, endpoint)


def test_a_stopped_parent_is_neither_alive_nor_ready(running: Start, endpoint: Endpoint) -> None:
    """The exporter answers on, and what it last heard of the jobs is no news any more."""
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    asked = Client(daemon.port)
    until(lambda: asked.ask("/readyz")[0] == 200, "readiness")
    daemon.signal(signal.SIGSTOP)
    try:
        until(lambda: b"nothing heard of the parent for" in asked.ask("/readyz")[2], "an end of readiness, and why")
        assert asked.ask("/readyz")[0] == 503
        assert asked.ask("/healthz")[0] == 503
    finally:
        daemon.signal(signal.SIGCONT)
    until(lambda: asked.ask("/readyz")[0] == 200, "readiness again")
    assert asked.ask("/healthz")[0] == 200
    assert daemon.stop() == 0


@pytest.mark.parametrize("title", ["job tick", "ledger", "exporter"])
def test_sigterm_to_a_child_is_not_for_it(running: Start, endpoint: Endpoint, title: str) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    pid = daemon.kill(title, signal.SIGTERM)
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 1, "calls to go on")
    assert daemon.child(title) == pid


def test_sigterm_lets_a_call_finish(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    daemon.signal(signal.SIGTERM)
    daemon.said("stopping")
    for command in (["reload"], ["fire", "sla-check"]):
        refused = daemon.run(*command)
        assert (refused.returncode, "the daemon is stopping" in refused.stderr) == (1, True)
    held.go.set()
    assert daemon.wait() == 0
    assert [row["outcome"] for row in daemon.history() if row["outcome"]] == ["success"]


def test_a_second_sigterm_hurries(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    daemon.signal(signal.SIGTERM)
    daemon.said("stopping why=SIGTERM")
    counts = time.monotonic() + REPEATED
    until(lambda: time.monotonic() > counts, "the moment from which another SIGTERM counts")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    held.go.set()
    assert [row["outcome"] for row in daemon.history() if row["outcome"]] == ["cancelled"]


def test_a_sigterm_that_comes_twice_at_once_still_drains(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    assert held.came.wait(30)
    daemon.signal(signal.SIGTERM)
    daemon.said("stopping why=SIGTERM")
    daemon.signal(signal.SIGTERM)
    assert not daemon.run("jobs").returncode  # it has been through its loop since
    held.go.set()
    assert daemon.wait() == 0
    assert "stopping at once" not in daemon.log()
    assert [row["outcome"] for row in daemon.history() if row["outcome"]] == ["success"]


def test_after_the_drain_calls_are_cancelled(daemon: Daemon, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon.write(EVERY_SECOND, 'drain = "1s"')
    daemon.start()
    assert held.came.wait(30)
    assert daemon.stop() == 0
    held.go.set()
    assert [row["outcome"] for row in daemon.history() if row["outcome"]] == ["cancelled"]


def test_a_call_that_cannot_be_interrupted_is_killed_at_its_deadline(running: Start, endpoint: Endpoint) -> None:
    """The endpoint holds the call; a stopped process cannot even see its alarm, as one inside getaddrinfo."""
    held = Held(endpoint)
    daemon = running('[jobs.tick]\nevery = "1s"\npath = "/tick"\ntimeout = "1s"\n')
    assert held.came.wait(30)
    pid = daemon.kill("job tick", signal.SIGSTOP)
    rows = until(lambda: [r for r in daemon.history() if r["outcome"]], "the run's end")
    held.go.set()
    assert rows[0]["outcome"] == "timeout"
    assert daemon.child("job tick", other_than=pid)
    until(lambda: daemon.metric("tocsin_job_process_exits_total", job_name="tick", reason="deadline") == 1, "the exit")


def test_a_damaged_ledger_is_refused(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    daemon.stop()
    file = daemon.folder / "var" / "ledger.sqlite"
    file.write_bytes(b"\0" * 8192)
    calls = len(endpoint.calls)
    daemon.start()
    assert daemon.wait() == 1
    daemon.said("is damaged")
    assert file.read_bytes() == b"\0" * 8192
    assert len(endpoint.calls) == calls


@pytest.mark.parametrize("kinds", [("", "-wal", "-shm"), ("-wal",)])
def test_a_ledger_that_is_deleted_is_begun_anew(running: Start, endpoint: Endpoint, kinds: tuple[str, ...]) -> None:
    """What was in it is gone, which is said; from there on everything is known again."""
    daemon = running(f'{EVERY_SECOND}[jobs.off]\nevery = "1s"\npath = "/off"\n')
    until(lambda: len(endpoint.of("tick")) >= 2, "calls")
    assert daemon.run("pause", "off").returncode == 0
    for kind in kinds:
        (daemon.folder / "var" / f"ledger.sqlite{kind}").unlink()
    daemon.said("was deleted or replaced while it was in use")
    daemon.said("the ledger has lost committed entries")
    calls = len(endpoint.of("tick"))
    until(lambda: len(endpoint.of("tick")) >= calls + 2, "calls to go on")
    assert daemon.stop() == 0
    daemon.start()
    until(lambda: len(endpoint.of("tick")) >= calls + 4, "calls after a restart")
    assert {job["name"]: job["paused"] for job in daemon.json("jobs")} == {"tick": False, "off": True}
    assert daemon.stop() == 0
    accounted_once(daemon, endpoint)


def test_garbage_on_the_control_socket_disturbs_nobody(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    clients = []
    for number in range(60):  # more than there are places; most of them say nothing
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(str(daemon.folder / "var" / "control.sock"))
        if number % 3 == 0:
            client.send(b"\xff" * 100)
        clients.append(client)
    assert daemon.json("jobs")[0]["name"] == "tick"
    for client in clients:
        client.close()
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "calls to go on")


def test_a_full_disk_is_said_once_and_passes(running: Start, endpoint: Endpoint) -> None:
    """No file of the ledger may grow: for SQLite the same as a full disk, and it needs no file system of its own."""
    daemon = running(EVERY_SECOND)
    until(lambda: len(endpoint.calls) >= 2, "calls")
    ledger = daemon.child("ledger")
    before = resource.prlimit(ledger, resource.RLIMIT_FSIZE)
    resource.prlimit(ledger, resource.RLIMIT_FSIZE, (4096, before[1]))
    until(lambda: daemon.metric("tocsin_ledger_up") == 0, "the gauge to fall")
    calls, asked = len(endpoint.calls), daemon.log().count("asked")
    until(lambda: daemon.log().count("asked") >= asked + 3, "slots to pass")
    assert len(endpoint.calls) <= calls + 1  # no start committed, no call; one may have been on its way
    resource.prlimit(ledger, resource.RLIMIT_FSIZE, before)
    until(lambda: daemon.metric("tocsin_ledger_up") == 1, "the gauge to rise")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 1, "calls again")
    assert daemon.child("ledger") == ledger
    assert daemon.stop() == 0
    assert daemon.log().count("the ledger cannot write") == 1
    assert "missed" in accounted_once(daemon, endpoint)


def test_a_storm_of_hang_ups_while_children_die(running: Start, endpoint: Endpoint) -> None:
    jobs = "".join(f'[jobs.j{n}]\nevery = "1s"\npath = "/{n}"\n' for n in range(10))
    daemon = running(jobs)
    until(lambda: len({call.path for call in endpoint.calls}) == 10, "a call of every job")
    for n in range(100):
        daemon.signal(signal.SIGHUP)
        if n % 10 == 0:
            os.kill(daemon.children()[f"job j{n // 10}"], signal.SIGKILL)
    until(lambda: len([name for name in daemon.children() if name.startswith("job ")]) == 10, "all jobs to be back")
    descriptors = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    marks = {path: len([c for c in endpoint.calls if c.path == path]) for path in (f"/{n}" for n in range(10))}
    until(
        lambda: all(len([c for c in endpoint.calls if c.path == path]) > mark for path, mark in marks.items()),
        "every job to go on",
    )
    zombies = [p for p in daemon.children().values() if "\nState:\tZ" in Path(f"/proc/{p}/status").read_text()]
    assert not zombies
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) <= descriptors + 2
    assert daemon.stop() == 0
    for n in range(10):
        accounted_once(daemon, endpoint, f"j{n}")


def test_a_run_cut_off_with_the_daemon_is_delivered_again_where_asked(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running('[jobs.tick]\nevery = "1s"\npath = "/tick"\ndelivery = "at-least-once"\n')
    assert held.came.wait(30)
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    held.go.set()
    daemon.start()
    first = endpoint.calls[0].headers
    again = until(lambda: [c.headers for c in endpoint.calls if c.headers["x-tocsin-attempt"] == "1"], "a delivery")[0]
    assert (again["idempotency-key"], again["x-tocsin-scheduled-at"]) == (
        first["idempotency-key"],
        first["x-tocsin-scheduled-at"],
    )
    until(lambda: len(endpoint.calls) >= 4, "the schedule to go on")
    daemon.stop()
    attempts = [
        (row["attempt"], row["outcome"]) for row in daemon.history() if row["run_id"] == first["idempotency-key"]
    ]
    assert attempts == [(0, "lost"), (1, "success")]


def test_a_child_that_dies_while_it_asks_costs_no_slot(running: Start, endpoint: Endpoint) -> None:
    """The ledger is stopped so that the question stays open; the slot is free again for the next process."""
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    daemon.kill("ledger", signal.SIGSTOP)
    asked = daemon.log().count("asked")
    until(lambda: daemon.log().count("asked") > asked, "a question")
    pid = daemon.kill("job tick")
    daemon.child("job tick", other_than=pid)
    daemon.kill("ledger", signal.SIGCONT)
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 1, "calls again")
    assert daemon.stop() == 0
    assert "lost" not in accounted_once(daemon, endpoint)


@pytest.mark.parametrize(("number", "why"), [(signal.SIGTERM, "was stopped"), (signal.SIGKILL, "had died")])
def test_why_slots_were_missed_is_said(running: Start, endpoint: Endpoint, number: int, why: str) -> None:
    daemon = running('[jobs.tick]\nevery = "1s"\npath = "/tick"\ncatch_up = "none"\n')
    until(lambda: endpoint.calls, "a call")
    daemon.signal(number)
    daemon.wait()
    last = _seconds(daemon.history()[-1]["last"])
    until(lambda: time.time() % 86400 > last + 2, "two slots to pass")
    daemon.start()
    missed = until(
        lambda: [row for row in daemon.history() if row["reason"] == "missed" and _seconds(row["due"]) > last],
        "missed slots",
    )
    assert missed[0]["detail"] == f"the daemon {why}"


def test_a_deleted_control_socket_is_made_anew(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    (daemon.folder / "var" / "control.sock").unlink()
    daemon.said("the control socket was deleted or replaced; creating it again")
    assert daemon.run("jobs").returncode == 0


def test_out_of_memory_in_a_child_is_that_jobs_trouble(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = lambda call: (200, {}, b"x" * 60_000_000) if call.path == "/tick" else sla_checked(0)
    limits = 'memory_limit = "64MiB"\nmax_reply = "100MiB"\n'
    daemon = running(EVERY_SECOND + limits + '[jobs.other]\nevery = "1s"\npath = "/other"\n')
    rows = until(lambda: [row for row in daemon.history("tick") if row["outcome"]], "the run's end")
    assert rows[0]["outcome"] == "invalid_response"
    assert "memory" in rows[0]["detail"]
    until(lambda: len(endpoint.of("other")) >= 3, "the other job to go on")


def test_two_hundred_jobs_on_the_same_second(running: Start, endpoint: Endpoint) -> None:
    names = [f"j{n}" for n in range(200)]
    daemon = running("".join(f'[jobs.{name}]\nevery = "2s"\npath = "/{name}"\n' for name in names))
    until(lambda: len({call.path for call in endpoint.calls}) == 200, "a call of every job")
    descriptors = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    until(lambda: len(endpoint.calls) >= 1200, "a thousand runs")
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) <= descriptors + 2
    assert daemon.stop() == 0
    called = [(call.path, call.headers["x-tocsin-scheduled-at"]) for call in endpoint.calls]
    assert len(called) == len(set(called))
    rows = daemon.history()
    for name in names:
        own = [row for row in rows if row["job"] == name]
        assert sum(row["count"] for row in own) == (_seconds(own[-1]["last"]) - _seconds(own[0]["due"])) // 2 + 1


def test_the_same_without_a_tracer(daemon: Daemon, endpoint: Endpoint) -> None:
    """As in production: under coverage the daemon forks as Python does, without it by the bare fork(2)."""
    daemon.environment = {name: it for name, it in daemon.environment.items() if not name.startswith("COVERAGE_")}
    jobs = "".join(f'[jobs.j{n}]\nevery = "1s"\npath = "/{n}"\n' for n in range(60))  # enough of them to give way
    daemon.write(f"{jobs}{EVERY_SECOND}")
    daemon.start()
    until(lambda: len({call.path for call in endpoint.calls}) == 61, "a call of every job")
    daemon.signal(signal.SIGHUP)
    for title in ("job tick", "exporter", "ledger"):
        pid = daemon.kill(title)
        daemon.child(title, other_than=pid)
    calls = len(endpoint.of("tick"))
    until(lambda: len(endpoint.of("tick")) > calls + 1, "calls again")
    proofs = [call.headers["traceparent"] for call in endpoint.calls]
    assert len(set(proofs)) == len(proofs), "chance that was inherited at the fork is none"
    assert daemon.stop() == 0
    assert accounted_once(daemon, endpoint)

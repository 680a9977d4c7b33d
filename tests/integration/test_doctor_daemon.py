"""What `tocsin doctor` finds of a daemon that runs: its processes, its address, its failures, a full disk."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from doctor_rig import JOB, Answer, App, health
from harness import PATIENCE, TOCSIN, Daemon, Endpoint, free_port, until
from volume import Volume, mounted

Start = Callable[[str], Daemon]
Finding = dict[str, str]
YEARLY = '[jobs.{}]\nschedule = "@yearly"\npath = "/{}"\nretries = 0\n'


def doctor(daemon: Daemon, check: str) -> list[Finding]:
    found = json.loads(daemon.run("doctor", "--json").stdout)
    return [one for one in found if one["check"] == check]


# ---- a full disk


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    yield from mounted(tmp_path / "volume", "64k")


def looked_at(volume: Volume, daemon: Daemon) -> dict[str, Finding]:
    daemon.environment["TOCSIN_STATE_DIR"] = str(volume.mount)
    result = subprocess.run(
        [*volume.within, TOCSIN, "doctor", "--json"],
        cwd=daemon.folder, env=daemon.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    return {one["check"]: one for one in json.loads(result.stdout) if one["check"].startswith("state.")}


def test_a_full_disk(volume: Volume, daemon: Daemon) -> None:
    """Not the owner is what is wrong, and the space is looked at all the same."""
    daemon.write(JOB)
    volume.fill()
    found = looked_at(volume, daemon)
    assert found["state.folder"]["detail"] == "cannot be written: No space left on device"
    assert "chown" not in found["state.folder"]["advice"]
    assert "free some space" in found["state.folder"]["advice"]
    assert (found["state.disk"]["status"], found["state.disk"]["detail"]) == ("FAIL", "only 0.0 MiB are free")


def test_a_disk_without_inodes(volume: Volume, daemon: Daemon) -> None:
    daemon.write(JOB)
    remount = ["mount", "-o", "remount,size=200m,nr_inodes=2", str(volume.mount)]
    subprocess.run([*volume.within, *remount], check=True)
    subprocess.run([*volume.within, "touch", volume.mount / "the-last"], check=True)
    found = looked_at(volume, daemon)
    assert found["state.folder"]["detail"] == "cannot be written: No space left on device"
    assert found["state.disk"]["status"] == "FAIL"
    assert found["state.disk"]["detail"].startswith("only 0 inodes are free, though 2")


# ---- failures of several kinds


def test_each_failure_is_named(running: Start, endpoint: Endpoint) -> None:
    replies: Iterator[Answer] = iter(
        [(500, {}, b""), (401, {}, b""), (200, {}, b"<!doctype html><p>hello"), (401, {}, b"")]
    )
    app = App()
    endpoint.answer = lambda call: app(call) if call.method == "OPTIONS" else next(replies)
    daemon = running(YEARLY.format("odd", "odd"))
    daemon.child("job odd")
    for _ in range(4):
        fired = daemon.run("fire", "odd")
        assert (fired.returncode, fired.stderr) == (1, "")
    until(lambda: len([row for row in daemon.history() if row["outcome"]]) == 4, "the ledger to have all four")
    (finding,) = doctor(daemon, "state.job")
    assert finding["status"] == "FAIL"
    whole = "4 failures in a row (2 × unauthorized, 1 × http_error, 1 × invalid_response); it has never succeeded: 401"
    assert finding["detail"].startswith(whole)


# ---- the address


def test_an_address_that_is_set_for_the_daemon_alone(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    daemon = running(JOB)
    until(lambda: health(daemon), "the exporter")
    there = daemon.environment.pop("TOCSIN_LISTEN")
    first, second = doctor(daemon, "exporter.listen")
    assert first["status"] == "warning"
    assert first["detail"] == f"the daemon listens on {there} instead"
    assert "if TOCSIN_LISTEN is set for the daemon or for doctor alone" in first["advice"]
    assert (second["status"], second["subject"]) == ("ok", there)
    assert daemon.run("doctor").returncode == 0


def test_an_address_that_was_changed_in_the_job_file(daemon: Daemon, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    there = daemon.environment.pop("TOCSIN_LISTEN")
    daemon.write(JOB, daemon=f'listen = "{there}"')
    daemon.start()
    until(lambda: health(daemon), "the exporter")
    daemon.write(JOB, daemon=f'listen = "127.0.0.1:{free_port()}"')
    first, _ = doctor(daemon, "exporter.listen")
    assert (first["status"], first["detail"]) == ("warning", f"the daemon listens on {there} instead")
    assert first["advice"].startswith("if `listen` was changed since: tocsin reload")


def test_a_state_folder_that_is_set_for_the_daemon_alone(daemon: Daemon, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    daemon.environment["TOCSIN_STATE_DIR"] = "elsewhere"
    daemon.write(JOB)
    daemon.start()
    until(lambda: health(daemon), "the exporter")
    del daemon.environment["TOCSIN_STATE_DIR"]
    (finding,) = doctor(daemon, "exporter.listen")
    assert finding["status"] == "FAIL"
    assert finding["detail"] == f"a Tocsin daemon listens there, and its state folder is not {daemon.folder / 'var'}"
    assert "TOCSIN_STATE_DIR" in finding["advice"]


# ---- processes


def test_processes_that_are_stopped(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    daemon = running(YEARLY.format("a", "a") + YEARLY.format("b", "b"))
    until(lambda: health(daemon), "the exporter")
    stopped = {name: daemon.child(name) for name in ("job a", "ledger")}
    daemon.child("job b")
    (fine,) = doctor(daemon, "state.processes")
    assert (fine["status"], fine["detail"]) == ("ok", "none of its 5 processes is stopped")
    try:
        for pid in stopped.values():
            os.kill(pid, signal.SIGSTOP)
        found = {one["subject"]: one for one in doctor(daemon, "state.processes")}
        assert found.keys() == {"a", "ledger"}
        assert found["a"]["status"] == "FAIL"
        pid = stopped["job a"]
        assert found["a"]["detail"] == f"its process {pid} is stopped (SIGSTOP): its slots do not run"
        assert found["a"]["advice"] == f"continue it: kill -CONT {pid}"
    finally:
        for pid in stopped.values():
            os.kill(pid, signal.SIGCONT)


def test_a_daemon_that_is_stopped(running: Start) -> None:
    daemon = running(YEARLY.format("a", "a"))
    until(lambda: health(daemon), "the exporter")
    daemon.signal(signal.SIGSTOP)
    try:
        found = doctor(daemon, "state.processes")
    finally:
        daemon.signal(signal.SIGCONT)
    assert [(one["subject"], one["status"]) for one in found] == [("daemon", "FAIL")]
    assert "nothing is called" in found[0]["detail"]


# ---- servers that take one connection at a time


ONE_AT_A_TIME = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_OPTIONS(self):
        self.send_response(204)
        self.send_header("Allow", "POST, OPTIONS")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.{kind}(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def serving() -> Iterator[Callable[[str], int]]:
    """The port of a server of Python's library, in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def serve(kind: str) -> int:
        command = [sys.executable, "-c", ONE_AT_A_TIME.format(kind=kind)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout
        return int(started[-1].stdout.readline())

    yield serve
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("kind", "status"), [("HTTPServer", "warning"), ("ThreadingHTTPServer", "ok")])
def test_whether_the_target_takes_one_connection_at_a_time(
    serving: Callable[[str], int], daemon: Daemon, kind: str, status: str
) -> None:
    daemon.environment["API_BASE_URL"] = f"http://127.0.0.1:{serving(kind)}"
    daemon.write(JOB)
    (finding,) = doctor(daemon, "target.idle")
    assert finding["status"] == status
    if status == "warning":
        assert finding["detail"].startswith("answers no one else while an idle connection to it is open")
        assert "`arm = false`" in finding["advice"]


def test_a_target_that_no_job_is_armed_for_is_not_asked(daemon: Daemon, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    daemon.write(JOB + "arm = false\n")
    assert not doctor(daemon, "target.idle")
    assert len(endpoint.calls) == 1

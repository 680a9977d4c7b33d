"""Some hundred jobs and a channel that holds next to nothing: what happens to thousands, in small."""

import os
import signal
import sys
import urllib.error

import pytest

from harness import Daemon, Endpoint, until

JOBS = 300  # their states as messages are more than the kernel and the queue below hold
TINY_QUEUE = """
import runpy, sys
from tocsin.ipc.channel import Channel
Channel.__init__.__kwdefaults__["queue_length"] = 20
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ASLEEP = "".join(f'[jobs.j{n}]\nschedule = "0 0 1 1 *"\npath = "/{n}"\n' for n in range(JOBS))


def ready(daemon: Daemon) -> bool:
    try:
        return '"ready"' in daemon.get("/readyz")
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        return False


@pytest.fixture
def crowd(daemon: Daemon) -> Daemon:
    daemon.within = [sys.executable, "-c", TINY_QUEUE]
    daemon.write(ASLEEP + '[jobs.tick]\nevery = "1s"\npath = "/tick"\n')
    daemon.start()
    return daemon


def test_the_exporter_gets_ready_again_and_again(crowd: Daemon) -> None:
    until(lambda: ready(crowd), "the exporter to be ready")
    for _ in range(2):
        crowd.child("exporter", other_than=crowd.kill("exporter"))
        until(lambda: ready(crowd), "the next exporter to be ready")
        assert len(crowd.json("jobs")) == JOBS + 1
        assert crowd.metric("tocsin_jobs", state="enabled") == JOBS + 1
    assert "does not read" not in crowd.log()
    assert "was behind" not in crowd.log()
    assert crowd.stop() == 0


def test_an_exporter_that_was_stopped_for_a_while_has_missed_nothing_that_is_counted(
    crowd: Daemon, endpoint: Endpoint
) -> None:
    until(lambda: ready(crowd), "the exporter to be ready")
    exporter = crowd.child("exporter")
    os.kill(exporter, signal.SIGSTOP)
    calls = len(endpoint.calls)
    names = [f"j{n}" for n in range(0, JOBS, 3)]
    for _ in range(2):
        for name in names:
            os.kill(crowd.child(f"job {name}"), signal.SIGKILL)
        until(lambda: all(f"job {name}" in crowd.children() for name in names), "the jobs to be back")
    until(lambda: len(endpoint.calls) > calls + 2, "calls to go on")
    os.kill(exporter, signal.SIGCONT)

    def restarts() -> list[float | None]:
        return [
            crowd.metric("tocsin_job_process_exits_total", job_name=name, reason="signal")
            for name in (names[0], names[-1])
        ]

    until(lambda: restarts() == [2, 2], "every end to be counted")
    until(lambda: ready(crowd), "the exporter to be ready")
    assert crowd.metric("tocsin_events_dropped_total") == 0
    runs = crowd.metric("tocsin_job_runs_total", job_name="tick", outcome="success") or 0
    assert runs >= calls + 2
    assert crowd.child("exporter") == exporter
    assert crowd.stop() == 0

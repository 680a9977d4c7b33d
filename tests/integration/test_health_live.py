"""Each health, produced for real: the page, readiness, /api/jobs, `tocsin jobs` and the metrics say the same."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import PATIENCE, TOCSIN, Daemon, Endpoint, Held, sla_checked, until
from tocsin.health import HEALTHS
from volume import Volume, mounted

Start = Callable[[str], Daemon]
YEARLY = '[jobs.{0}]\nschedule = "@yearly"\npath = "/{0}"\nretries = 0\n'


def rows(daemon: Daemon, query: str = "") -> dict[str, str]:
    return dict(re.findall(r'<tr data-name="([^"]+)" data-health="([^"]+)"', daemon.get(f"/{query}")))


def headline(daemon: Daemon) -> str:
    found = re.search(r"<h1>(.*?)</h1>", daemon.get("/"), re.DOTALL)
    assert found
    return found[1].strip()


def ready(daemon: Daemon) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.port}/readyz", timeout=PATIENCE) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def told(daemon: Daemon, job: str) -> list[str]:
    """What the page, the API, the command and the metrics say of a job."""
    api = {one["name"]: one["health"] for one in json.loads(daemon.get("/api/jobs"))}
    command = {one["name"]: one["health"] for one in daemon.json("jobs")}
    in_metrics = [one for one in HEALTHS if daemon.metric("tocsin_job_health", job_name=job, health=one) == 1]
    return [rows(daemon)[job], api[job], command[job], *in_metrics]


def agree(daemon: Daemon, job: str, health: str) -> None:
    many = 3 if health == "disabled" else 4  # a disabled job has no metrics but its info
    try:
        until(lambda: told(daemon, job) == [health] * many, f"{job} to be {health}")
    except AssertionError as error:
        raise AssertionError(f"{error}\nit is {told(daemon, job)}") from None


def doctor(daemon: Daemon) -> dict[str, str]:
    found = json.loads(daemon.run("doctor", "--json").stdout)
    return {one["subject"]: one["status"] for one in found if one["check"] == "state.job"}


def shown(daemon: Daemon) -> bool:
    try:
        return bool(rows(daemon))
    except OSError:
        return False


def test_jobs_that_run_or_wait(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    endpoint.answer = lambda call: (
        held(call) if call.path == "/runs" else (500, {}, b"") if call.path == "/bad" else sla_checked(1)
    )
    daemon = running("".join(map(YEARLY.format, ("good", "fresh", "held", "bad", "runs", "off"))) + "enabled = false\n")
    until(lambda: shown(daemon) and ready(daemon) == 200, "the jobs")
    assert daemon.run("fire", "good").returncode == 0
    assert daemon.run("fire", "bad").returncode == 1
    assert daemon.run("pause", "held").returncode == 0
    with subprocess.Popen([TOCSIN, "fire", "runs"], cwd=daemon.folder, env=daemon.environment) as fire:
        for job, health in {
            "good": "well", "fresh": "new", "held": "paused", "bad": "failing", "off": "disabled", "runs": "running",
        }.items():  # fmt: skip
            agree(daemon, job, health)
        assert ready(daemon) == 200
        assert headline(daemon) == "1 of 6 jobs is failing"
        assert next(iter(rows(daemon))) == "bad"
        assert rows(daemon, "?health=well") == {"good": "well"}
        said = doctor(daemon)
        assert (said["good"], said["bad"], said["held"], said["off"]) == ("ok", "warning", "warning", "skipped")
        held.go.set()
        assert fire.wait(PATIENCE) == 0
    agree(daemon, "runs", "well")


def test_a_stopped_process_is_a_stalled_job(running: Start) -> None:
    daemon = running(YEARLY.format("a") + YEARLY.format("b"))
    until(lambda: shown(daemon) and ready(daemon) == 200, "the jobs")
    assert headline(daemon) == "All is well"
    pid = daemon.kill("job a", signal.SIGSTOP)
    try:
        agree(daemon, "a", "stalled")
        agree(daemon, "b", "new")
        assert ready(daemon) == 503
        assert headline(daemon) == "1 of 2 jobs is stalled"
        assert f"a: stalled, its process {pid} is stopped (SIGSTOP)" in daemon.run("jobs").stdout
        assert doctor(daemon) == {"a": "FAIL", "b": "ok"}
    finally:
        os.kill(pid, signal.SIGCONT)
    agree(daemon, "a", "new")
    assert ready(daemon) == 200


def test_an_app_that_hangs_keeps_failing_while_the_next_try_runs(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running('[jobs.a]\nevery = "1s"\npath = "/a"\ntimeout = "1500ms"\n')
    until(lambda: shown(daemon) and rows(daemon)["a"] == "failing", "a first failure")
    while_it_ran = 0
    give_up = time.monotonic() + PATIENCE
    while while_it_ran < 5 and time.monotonic() < give_up:
        (one,) = json.loads(daemon.get("/api/jobs"))
        assert one["health"] == "failing", one
        assert headline(daemon) == "1 of 1 job is failing"
        while_it_ran += one["state"] == "running"
    assert while_it_ran == 5
    agree(daemon, "a", "failing")
    held.go.set()


def test_a_run_much_longer_than_usual_shows(running: Start, endpoint: Endpoint) -> None:
    daemon = running('[jobs.a]\nevery = "1s"\npath = "/a"\n')
    until(lambda: shown(daemon) and rows(daemon)["a"] == "well", "a success")
    held = Held(endpoint)
    agree(daemon, "a", "slow")
    assert headline(daemon) == "1 of 1 job is slow"
    assert doctor(daemon) == {"a": "warning"}
    held.go.set()


def test_no_success_by_the_deadline(running: Start, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _: (500, {}, b"")
    daemon = running('[jobs.a]\nevery = "1s"\npath = "/a"\ntimeout = "1s"\ngrace = "1s"\nretries = 0\n')
    until(lambda: shown(daemon), "the job")
    agree(daemon, "a", "overdue")
    deadline = daemon.metric("tocsin_job_success_deadline_timestamp_seconds", job_name="a")
    assert deadline
    assert deadline < time.time()
    assert ready(daemon) == 200
    assert doctor(daemon) == {"a": "FAIL"}
    endpoint.answer = lambda _: sla_checked(1)
    agree(daemon, "a", "well")


def test_runs_that_take_longer_than_their_schedule_miss_slots(running: Start, endpoint: Endpoint) -> None:
    def slowly(_: object) -> tuple[int, dict[str, str], bytes]:
        time.sleep(2.5)
        return sla_checked(1)

    endpoint.answer = slowly
    daemon = running('[jobs.a]\nevery = "1s"\npath = "/a"\n')
    until(lambda: shown(daemon), "the job")
    agree(daemon, "a", "missing")


# ---- the daemon


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    yield from mounted(tmp_path / "var", "1m")


def test_on_a_full_disk_nobody_is_well(volume: Volume, daemon: Daemon) -> None:
    daemon.within = volume.within
    daemon.write('[jobs.tick]\nevery = "1s"\npath = "/tick"\n' + YEARLY.format("held") + YEARLY.format("rare"))
    daemon.start()
    until(lambda: shown(daemon) and rows(daemon)["tick"] == "well", "a success")
    assert daemon.run("pause", "held").returncode == 0
    ballast = volume.fill()
    for job, health in {"tick": "stalled", "rare": "stalled", "held": "paused"}.items():
        agree(daemon, job, health)
    assert ready(daemon) == 503
    assert headline(daemon) == "The ledger does not commit"
    assert daemon.run("jobs").stdout.startswith("the ledger does not commit: ")
    assert 'aria-current="true">all 3' in daemon.get("/")
    assert rows(daemon, "?health=well") == {}
    ballast.unlink()
    agree(daemon, "tick", "well")
    agree(daemon, "rare", "new")
    assert ready(daemon) == 200


def test_a_refused_job_file_is_no_good_news(running: Start) -> None:
    daemon = running(YEARLY.format("a"))
    until(lambda: shown(daemon) and ready(daemon) == 200, "the job")
    daemon.write("[jobs.a]\nschedul = 3\n")
    assert daemon.run("reload").returncode == 2
    until(lambda: headline(daemon) == "The job file was refused", "the news")
    agree(daemon, "a", "new")
    first, second = daemon.run("jobs").stdout.splitlines()[:2]
    assert first.startswith("the job file was refused: ")
    assert first.count("tocsin.toml:") == second.count("tocsin.toml:") == 1, "a line for each fault"
    assert ready(daemon) == 200


def test_in_a_drain_idle_jobs_have_stopped(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running('[jobs.a]\nevery = "1s"\npath = "/a"\n' + YEARLY.format("idle"))
    assert held.came.wait(PATIENCE)
    daemon.signal(signal.SIGTERM)
    until(lambda: headline(daemon) == "The daemon is stopping", "the news")
    idle = until(lambda: [one for one in daemon.json("jobs") if one["name"] == "idle" and not one["pid"]], "its end")
    assert (idle[0]["state"], idle[0]["health"]) == ("stopped", "stalled")
    assert "backing off" not in daemon.get("/") + daemon.get("/jobs/idle")
    assert ready(daemon) == 503
    held.go.set()
    assert daemon.wait() == 0

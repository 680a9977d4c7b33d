"""An outage is one notification: a real daemon, Prometheus and Alertmanager with the shipped rules and example.

All waits are a twentieth of what the files say, and jobs run every three seconds instead of every minute, so that what
takes minutes takes seconds. A sink on loopback counts the webhooks.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana_files import ROOT, RULES
from harness import Call, Daemon, Endpoint, free_port, until

FACTOR = 20
JOBS = 20
INTERVAL = 300 / FACTOR  # seconds: the example's group_interval
SCRAPE_INTERVAL = "1500ms"  # and timeout: on a busy machine a scrape that fails would end every alert for a moment
EXAMPLE = ROOT / "grafana/examples/alertmanager.yml"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
EVERY_THREE_SECONDS = "".join(
    f'[jobs.job-{number}]\nschedule = "*/3 * * * * *"\npath = "/{number}"\ntimeout = "2s"\ngrace = "2s"\nretries = 0\n'
    for number in range(JOBS)
)
FEW = 4


def jobs_of(app: Endpoint, name: str) -> str:
    return "".join(
        f'[jobs.{name}-{number}]\nschedule = "*/3 * * * * *"\nurl = "{app.url}/{number}"\n'
        'timeout = "2s"\ngrace = "2s"\nretries = 0\nsend_secret = "none"\n'
        for number in range(FEW)
    )


DAILY = '[jobs.daily]\nschedule = "@daily"\npath = "/daily"\ntimeout = "2s"\nretries = 0\n'


def faster(duration: str) -> str:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()  # type: ignore[union-attr]
    return f"{int(number) * UNITS[unit] / FACTOR * 1000:.0f}ms"


def faster_everywhere(tree: Any, keys: set[str]) -> Any:
    if isinstance(tree, list):
        return [faster_everywhere(one, keys) for one in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: faster(one) if key in keys else faster_everywhere(one, keys) for key, one in tree.items()}


def rules() -> Any:
    text = RULES.read_text()
    for seconds in ("> 120\n", "< 300\n", "< 900\n", "> 86400\n"):
        assert seconds in text
        text = text.replace(seconds, re.sub(r"\d+", lambda number: f"{int(number[0]) / FACTOR:.0f}", seconds))
    text = re.sub(r"\[(15m|4m|1h)\]", lambda window: f"[{faster(window[1])}]", text)
    found = faster_everywhere(yaml.safe_load(text.replace("> 4320\n", "> 4\n")), {"for", "keep_firing_for"})
    for group in found["groups"]:
        group["interval"] = "500ms"
    return found


def routes(sink: str, *, inhibit: bool) -> Any:
    found = faster_everywhere(yaml.safe_load(EXAMPLE.read_text()), {"group_wait", "group_interval"})
    (receiver,) = found["receivers"]
    receiver["webhook_configs"] = [{"url": sink, "send_resolved": True}]
    return found if inhibit else {**found, "inhibit_rules": []}


@contextmanager
def running(folder: Path, *words: str, ready: str) -> Iterator[None]:
    """A program until the end of the block, once `ready` answers."""
    program = shutil.which(words[0])
    assert program, f"{words[0]} is missing; `make test` says how to install it"

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(ready, timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    with (folder / f"{words[0]}.log").open("wb") as output:
        process = subprocess.Popen([program, *words[1:]], cwd=folder, stdout=output, stderr=output)
    try:
        until(lambda: is_ready() or process.poll() is not None, f"{words[0]} to be ready")
        assert process.poll() is None, (folder / f"{words[0]}.log").read_text()
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Site:
    daemon: Daemon
    app: Endpoint
    sink: Endpoint
    prometheus: str
    alertmanager: str

    def firing(self) -> dict[str, int]:
        """How many alerts of each name fire in Prometheus."""
        found: dict[str, int] = {}
        for one in ask(f"{self.prometheus}/api/v1/alerts")["data"]["alerts"]:
            if one["state"] == "firing":
                found[one["labels"]["alertname"]] = found.get(one["labels"]["alertname"], 0) + 1
        return found

    def value(self, expression: str) -> float | None:
        """The value of the first series of an expression in Prometheus, if there is one."""
        query = urllib.parse.urlencode({"query": expression})
        rows = ask(f"{self.prometheus}/api/v1/query?{query}")["data"]["result"]
        return float(rows[0]["value"][1]) if rows else None

    def suppressed(self) -> dict[str, int]:
        """How many alerts of each name Alertmanager knows and keeps to itself."""
        found: dict[str, int] = {}
        for one in ask(f"{self.alertmanager}/api/v2/alerts"):
            if one["status"]["state"] == "suppressed":
                found[one["labels"]["alertname"]] = found.get(one["labels"]["alertname"], 0) + 1
        return found

    def notified(self, status: str = "firing") -> list[list[str]]:
        """The alerts of each notification."""
        told = [json.loads(call.body) for call in list(self.sink.calls)]
        return [
            sorted({alert["labels"]["alertname"] for alert in one["alerts"] if alert["status"] == status})
            for one in told
            if one["status"] == status
        ]


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as reply:
        return json.load(reply)


@contextmanager
def site(folder: Path, jobs: str, *, inhibit: bool = True) -> Iterator[Site]:
    app, sink = Endpoint(), Endpoint()
    sink.answer = lambda _: (200, {}, b"")
    app.start()
    sink.start()
    daemon = Daemon(folder, app)
    daemon.write(jobs)
    ports = [free_port(), free_port()]
    prometheus, alertmanager = (f"http://127.0.0.1:{port}" for port in ports)
    config = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}]}]},
        "scrape_configs": [{"job_name": "tocsin", "static_configs": [{"targets": [f"127.0.0.1:{daemon.port}"]}]}],
    }
    (folder / "rules.yml").write_text(yaml.safe_dump(rules()))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(routes(sink.url, inhibit=inhibit)))
    daemon.start()
    try:
        until(lambda: daemon.run("jobs").returncode == 0, "the daemon to answer")
        with (
            running(
                folder,
                "prometheus-alertmanager",
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                f"--web.listen-address=127.0.0.1:{ports[1]}",
                "--cluster.listen-address=",
                ready=f"{alertmanager}/-/ready",
            ),
            running(
                folder,
                "prometheus",
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus",
                f"--web.listen-address=127.0.0.1:{ports[0]}",
                "--log.level=warn",
                ready=f"{prometheus}/-/ready",
            ),
        ):
            yield Site(daemon, app, sink, prometheus, alertmanager)
    finally:
        daemon.cleanup()
        app.stop()
        sink.stop()


Answer = Callable[[Call], tuple[int, dict[str, str], bytes]]


def slowly(answer: Answer) -> Answer:
    """The same answer after five seconds, which is longer than most jobs here wait."""

    def answered(call: Call) -> tuple[int, dict[str, str], bytes]:
        time.sleep(5.0)
        return answer(call)

    return answered


def bad_gateway(_: Call) -> tuple[int, dict[str, str], bytes]:
    """What nginx answers when the app behind it is dead."""
    return 502, {"Content-Type": "text/html"}, b"<html><head><title>502 Bad Gateway</title></head></html>"


@pytest.mark.parametrize("inhibit", [True, False], ids=["as shipped", "without its inhibitions"])
def test_an_app_that_is_dead_behind_a_proxy_down_or_hung_is_one_notification(tmp_path: Path, inhibit: bool) -> None:
    """Three apps with an outage each, at once: the alerts of a host have its address."""
    down, hung = Endpoint(), Endpoint()
    jobs = EVERY_THREE_SECONDS + "".join(jobs_of(app, name) for app, name in ((down, "down"), (hung, "hung")))
    down.start()
    hung.start()
    with site(tmp_path, jobs, inhibit=inhibit) as here:
        apps = [here.app, down, hung]
        until(lambda: all(len(app.calls) > 2 * FEW for app in apps) and len(here.app.calls) > 2 * JOBS, "successes")
        well, here.app.answer = here.app.answer, bad_gateway
        hung.answer = slowly(well)
        down.stop()
        every = JOBS + 2 * FEW
        of_jobs = {"TocsinJobFailing": every, "TocsinJobNoSuccess": every}
        until(lambda: of_jobs.items() <= here.firing().items(), f"{of_jobs} to fire", 120)
        if not inhibit:
            until(lambda: len(here.notified()) > len(apps), "more notifications than outages", 60)
            return
        until(lambda: of_jobs.items() <= here.suppressed().items(), f"{of_jobs} to be kept back", 60)
        one_each = [["TocsinEndpointUnreachable"]] * len(apps)
        assert here.notified() == one_each
        hosts = [alert["labels"]["host"] for call in here.sink.calls for alert in json.loads(call.body)["alerts"]]
        assert sorted(hosts) == sorted(f"127.0.0.1:{app.port}" for app in apps)
        here.app.answer = hung.answer = well
        down.start()
        until(lambda: here.firing() == {}, "every alert to clear", 60)
        until(lambda: here.notified("resolved") == one_each, "the ends to be told", 60)
        assert here.notified() == one_each
    for app in (down, hung):
        app.stop()


def test_a_daily_job_is_told_at_its_first_failure_and_a_minute_job_that_fails_once_is_not(tmp_path: Path) -> None:
    """And scrapes that fail for a moment end no alert and begin none."""
    with site(tmp_path, DAILY + DAILY.replace("daily", "minutely").replace("@minutely", "* * * * *")) as here:
        here.app.answer = lambda _: (500, {}, b"")
        for job in ("minutely", "daily"):
            assert here.daemon.run("fire", job).returncode == 1
        until(lambda: here.notified() == [["TocsinJobFailing"]], "one notification", 60)
        (told,) = [alert for call in here.sink.calls for alert in json.loads(call.body)["alerts"]]
        assert told["labels"]["job_name"] == "daily"
        assert told["labels"]["host"] == f"127.0.0.1:{here.app.port}"
        assert "daily on 127.0.0.1" in told["annotations"]["summary"]
        here.daemon.kill("exporter", signal.SIGSTOP)
        until(lambda: here.value("up") == 0, "a scrape to fail", 30)
        here.daemon.kill("exporter", signal.SIGCONT)
        until(lambda: here.firing() == {"TocsinJobFailing": 1}, "the alert to fire again", 30)
        told_again = time.monotonic() + 1.5 * INTERVAL
        until(lambda: time.monotonic() > told_again, "the next time that Alertmanager tells of a change")
        assert (here.notified(), here.notified("resolved")) == ([["TocsinJobFailing"]], [])
        here.app.answer = Endpoint().answer
        assert here.daemon.run("fire", "daily").returncode == 0
        until(lambda: here.notified("resolved") == [["TocsinJobFailing"]], "the end to be told", 60)


def test_what_was_missed_while_the_daemon_was_down_is_told_once_after_it_is_back(tmp_path: Path) -> None:
    with site(tmp_path, EVERY_THREE_SECONDS) as here:
        until(lambda: len(here.app.calls) > 2 * JOBS, "every job to have succeeded")
        runs = 'tocsin_job_runs_total{job_name="job-0",outcome="success"}'
        before = until(lambda: here.daemon.metric("tocsin_job_runs_total", job_name="job-0", outcome="success"), runs)
        here.daemon.stop()
        until(lambda: here.notified() == [["TocsinDown"]], "TocsinDown to be told", 90)
        here.daemon.start()
        until(lambda: here.firing() == {"TocsinSlotsMissed": JOBS}, "the missed slots to be seen", 60)
        until(lambda: ["TocsinSlotsMissed"] in here.notified(), "them to be told", 60)
        assert here.notified() == [["TocsinDown"], ["TocsinSlotsMissed"]]
        missed = here.daemon.metric("tocsin_job_slots_not_run_total", job_name="job-0", reason="missed") or 0
        rows = [row for row in here.daemon.history("job-0", "--limit", "1000") if row["reason"] == "missed"]
        assert missed == sum(row["count"] for row in rows) > 0
        after = here.daemon.metric("tocsin_job_runs_total", job_name="job-0", outcome="success") or 0
        assert after >= before, "a counter that a restart does not reset"


def test_a_restart_that_misses_nothing_beyond_grace_is_silent(tmp_path: Path) -> None:
    often = '[jobs.tick]\nschedule = "* * * * * *"\npath = "/"\ntimeout = "2s"\ngrace = "60s"\n'
    with site(tmp_path, often) as here:
        until(lambda: len(here.app.calls) > 2, "calls")
        here.daemon.stop()
        here.daemon.start()
        caught_up = len(here.app.calls) + 3
        until(lambda: len(here.app.calls) > caught_up, "calls again")
        until(lambda: here.daemon.metric("tocsin_job_runs_total", job_name="tick", outcome="success"), "a scrape")
        assert here.daemon.metric("tocsin_job_last_missed_timestamp_seconds", job_name="tick") == 0
        assert "TocsinSlotsMissed" not in here.firing()


def test_a_stalled_job_a_refused_secret_a_refused_file_and_a_forgotten_pause_are_told(
    tmp_path: Path,
) -> None:
    jobs = EVERY_THREE_SECONDS.replace('path = "/1"', 'path = "/refused"')
    jobs += '[jobs.stalls]\nschedule = "*/15 * * * * *"\npath = "/stalls"\n'
    with site(tmp_path, jobs) as here:
        well = here.app.answer
        here.app.answer = lambda call: (401, {}, b"") if call.path == "/refused" else well(call)
        until(lambda: here.app.of("stalls"), "a call: now the job sleeps to its next")
        here.daemon.kill("job stalls", signal.SIGSTOP)
        assert here.daemon.run("pause", "job-2").returncode == 0
        file = tmp_path / "tocsin.toml"
        file.write_text(file.read_text() + "[jobs.broken]\n")
        assert here.daemon.run("reload").returncode != 0
        expected = {"TocsinJobStalled", "TocsinJobUnauthorized", "TocsinConfigReloadFailed", "TocsinPauseForgotten"}
        until(lambda: expected <= {name for one in here.notified() for name in one}, f"{expected}", 120)
        names = [name for one in here.notified() for name in one]
        assert "TocsinEndpointUnreachable" not in names
        assert names.count("TocsinConfigReloadFailed") == 1


SLOW = '[jobs.slow]\nschedule = "*/2 * * * * *"\npath = "/slow"\ntimeout = "20s"\nretries = 0\n'
LATE = 6.0  # seconds; TocsinFireLate speaks of five
ENOUGH = 15  # jobs, each late once: TocsinFireLate does not judge ten calls


def test_overlaps_a_ledger_that_dies_again_and_again_and_late_calls_are_told_once(tmp_path: Path) -> None:
    jobs = "".join(
        f'[jobs.job-{number}]\nschedule = "*/10 * * * * *"\npath = "/{number}"\ntimeout = "2s"\n'
        for number in range(ENOUGH)
    )
    with site(tmp_path, SLOW + jobs) as here:
        well = here.app.answer
        here.app.answer = lambda call: (slowly(well) if call.path == "/slow" else well)(call)
        until(lambda: here.value("tocsin_ledger_process_exits_total") == 0, "a scrape")
        for _ in range(5):
            pid = here.daemon.kill("ledger")
            here.daemon.child("ledger", other_than=pid)
        until(lambda: len(here.app.calls) > ENOUGH, "calls")

        def names(status: str = "firing") -> list[str]:
            return [name for one in here.notified(status) for name in one]

        def stopped_over_an_instant() -> bool:
            """As on a machine that has no time for them: every job is stopped when it is due, and goes on later."""
            pids = [pid for title, pid in here.daemon.children().items() if title.startswith("job job-")]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            due = (time.time() // 10 + 1) * 10
            until(lambda: time.time() > due + LATE, "the jobs to be late")
            for pid in pids:
                with suppress(ProcessLookupError):  # it was stopped within a call, and killed for that
                    os.kill(pid, signal.SIGCONT)
            before = len(here.app.calls)
            until(lambda: len(here.app.calls) >= before + len(pids) // 2, "them to call")
            return "TocsinFireLate" in names()

        until(stopped_over_an_instant, "TocsinFireLate to be told", 180)
        until(lambda: "TocsinJobOverlapping" in names(), "the overlaps to be told", 60)
        until(lambda: "TocsinChildCrashLooping" in names("resolved"), "the end of the deaths to be told", 60)
        assert here.daemon.run("pause", "slow").returncode == 0
        ends = {"TocsinJobOverlapping", "TocsinFireLate"}
        until(lambda: not ends & set(here.firing()), f"the end of {ends}", 180)
        # The overlaps are told anew with each other alert of the host's jobs: here of slots that were missed meanwhile.
        for name in ("TocsinFireLate", "TocsinChildCrashLooping"):
            assert names().count(name) == 1, name

"""The history over HTTP from a real daemon: a failed run is found and opened, also after a restart of everything."""

import contextlib
import json
import signal
import subprocess
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness import SECRET, TOCSIN, Daemon, Endpoint, until

Start = Callable[[str], Daemon]
OPENAPI = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
JOBS = """
[jobs.good]
every = "1s"
path = "/good"
[jobs.bad]
schedule = "0 0 * * *"
path = "/bad"
retries = 0
"""


def found(daemon: Daemon, path: str, schema: str = "Runs") -> Any:
    said = json.loads(daemon.get(path))
    document = {**OPENAPI, "$ref": f"#/components/schemas/{schema}", "unevaluatedProperties": False}
    jsonschema.Draft202012Validator(document, format_checker=jsonschema.FormatChecker()).validate(said)
    return said


def test_a_failed_run_is_found_and_opened_after_a_restart(running: Start, endpoint: Endpoint) -> None:
    daemon = running(JOBS)
    right = endpoint.answer
    endpoint.answer = lambda call: (500, {}, f"out of order: {SECRET}".encode()) if call.path == "/bad" else right(call)
    daemon.child("job bad")
    assert daemon.run("fire", "bad").returncode == 1
    until(lambda: len(found(daemon, "/api/runs?job=good&outcome=success")["runs"]) > 3, "runs of the other job")
    until(lambda: found(daemon, "/api/runs?outcome=failed")["runs"], "the failed run")
    [failed] = found(daemon, "/api/runs?outcome=failed&trigger=manual")["runs"]
    assert (failed["job"], failed["outcome"], failed["status"]) == ("bad", "http_error", 500)
    assert daemon.stop() == 0
    daemon.start()
    daemon.child("exporter")

    def again() -> Any:
        return found(daemon, "/api/runs?outcome=failed&trigger=manual")["runs"]

    until(lambda: again() == [failed], "the failed run in the next daemon")
    assert f"/runs/{failed['run_id']}" in daemon.get("/runs?job=bad")
    one = found(daemon, f"/api/runs/{failed['run_id']}", "OneRun")
    assert {key: value for key, value in one.items() if key in failed} == failed
    assert one["reply"] == "out of order: [redacted]"
    [attempt] = one["attempts"]
    assert (attempt["outcome"], attempt["status"], attempt["sent"]) == ("http_error", 500, failed["started"])
    assert attempt["parts"]["lookup"] is None, "an address needs none"
    assert attempt["parts"]["tls"] is None
    assert attempt["parts"]["connect"] > 0
    assert 0 < attempt["parts"]["first_byte"] <= attempt["parts"]["whole"]
    assert attempt["request"]["head"].startswith(f"POST {endpoint.url}/bad\nHost: 127.0.0.1:{endpoint.port}\n")
    assert f"Idempotency-Key: {failed['run_id']}" in attempt["request"]["head"]
    assert "x-cron-secret: [redacted]" in attempt["request"]["head"]
    assert attempt["reply"]["head"].startswith("HTTP/1.0 500 Internal Server Error\n")
    assert "Content-Length: " in attempt["reply"]["head"]
    assert SECRET not in json.dumps(one)
    shown = daemon.run("history", failed["run_id"]).stdout
    assert "bad: http_error, status 500" in shown
    assert "\n  out of order: [redacted]" in shown
    assert "request:\n  POST http" in shown
    assert "connect " in shown
    assert daemon.json("history", failed["run_id"])["reply"] == "out of order: [redacted]"
    page = daemon.get(f"/runs/{failed['run_id']}")
    assert "\n\nout of order: [redacted]</pre>" in page
    assert "x-cron-secret: [redacted]" in page
    assert failed["started"][11:23] in page, "with milliseconds"
    [good] = found(daemon, "/api/runs?job=good&outcome=success&limit=1")["runs"]
    well = found(daemon, f"/api/runs/{good['run_id']}", "OneRun")
    assert well["reply"] is None
    [attempt] = well["attempts"]
    assert (attempt["request"], attempt["reply"]) == (None, None)
    assert attempt["parts"]["whole"] == pytest.approx(well["duration"], abs=2e-6)
    assert 0 < attempt["parts"]["first_byte"] <= attempt["parts"]["whole"]
    assert attempt["parts"]["connect"] > 0
    assert any(
        found(daemon, f"/api/runs/{run['run_id']}", "OneRun")["attempts"][0]["parts"]["ahead"]
        for run in found(daemon, "/api/runs?job=good&outcome=success&limit=3")["runs"]
    ), "a request is armed before it is due"

    pages, path = [], "/api/runs?job=good&limit=2"
    while path:
        page = found(daemon, path)
        pages.append([(run["due"], run["attempt"]) for run in page["runs"]])
        path = page["next"]
    flat = [one for page in pages for one in page]
    assert len(pages) > 1
    assert len(set(flat)) == len(flat)
    assert flat == sorted(flat, reverse=True)


def test_pages_are_there_while_the_ledger_is_not(running: Start) -> None:
    daemon = running(JOBS)
    daemon.child("exporter")
    until(lambda: found(daemon, "/api/runs")["runs"], "a run")
    ledger = daemon.kill("ledger")
    daemon.child("ledger", other_than=ledger)

    def answered() -> Any:
        with contextlib.suppress(urllib.error.HTTPError):  # 503 until the next ledger listens
            return found(daemon, "/api/runs?outcome=success")["runs"]

    until(answered, "an answer of the next ledger")


def test_a_follower_survives_a_restart_of_the_daemon(running: Start, endpoint: Endpoint, tmp_path: Path) -> None:
    daemon = running(JOBS)
    daemon.child("job bad")
    out = tmp_path / "followed"
    with out.open("wb") as stream:
        follower = subprocess.Popen(
            [TOCSIN, "history", "--follow", "--json"], env=daemon.environment, stdout=stream, stderr=stream
        )
    try:

        def told() -> list[dict[str, Any]]:
            return [json.loads(line) for line in out.read_text().splitlines()]

        def goods() -> list[str]:
            return [row["due"] for row in told() if row["job"] == "good" and row["outcome"] == "success"]

        until(lambda: len(goods()) > 1, "runs as they end")
        assert daemon.stop() == 0
        daemon.start()
        daemon.child("job bad")
        endpoint.answer = lambda _: (500, {}, b"no")
        assert daemon.run("fire", "bad").returncode == 1
        [failed] = until(lambda: [row for row in told() if row["job"] == "bad"], "the failed run")
        assert (failed["outcome"], failed["trigger"]) == ("http_error", "manual")
        last = daemon.json("history", "good")[-1]
        until(lambda: any(row["due"] == last["due"] for row in told()), "the runs of the next daemon")
        keys = [(row["job"], row["due"], row["attempt"], row["count"]) for row in told()]
        assert len(set(keys)) == len(keys), "each once"
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 0, out.read_text()

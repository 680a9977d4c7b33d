"""The JSON lines of a real daemon: each is as docs/log.schema.json says, whatever became of the slot."""

import json
import signal
from pathlib import Path
from typing import Any

import jsonschema

from harness import SECRET, Call, Daemon, Endpoint, until

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/log.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
OF_A_SLOT = {"node", *SCHEMA["then"]["required"]}
JOBS = """
[jobs.well]
schedule = "* * * * * *"
path = "/well"
totals = { unassigned = "unassignedCount", run_id = "durationMs", gone = "nothing" }
[jobs.refused]
schedule = "* * * * * *"
path = "/refused"
[jobs.away]
schedule = "* * * * * *"
url = "http://127.0.0.1:1/"
retries = 0
[jobs.slow]
schedule = "* * * * * *"
path = "/slow"
timeout = "10s"
"""


def lines(daemon: Daemon) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in daemon.log().splitlines()]
    assert all(isinstance(one, dict) for one in found)
    return found


def of(daemon: Daemon, job: str, outcome: str) -> list[dict[str, Any]]:
    return [one for one in lines(daemon) if (one.get("job"), one.get("outcome")) == (job, outcome)]


def test_every_line_is_as_the_schema_says(daemon: Daemon, endpoint: Endpoint) -> None:
    well = endpoint.answer

    def answer(call: Call) -> tuple[int, dict[str, str], bytes]:
        if call.path == "/slow":
            until(lambda: of(daemon, "well", "success"), "a run of another job")
        return (401, {}, SECRET.encode()) if call.path == "/refused" else well(call)

    endpoint.answer = answer
    daemon.write(JOBS, 'log_format = "json"\nnode = "node-a"\n')
    daemon.start()
    (success, *_) = until(lambda: of(daemon, "well", "success"), "a success")
    until(lambda: of(daemon, "refused", "unauthorized"), "a refusal")
    (away, *_) = until(lambda: of(daemon, "away", "connection_error"), "no answer")
    assert daemon.run("pause", "slow").returncode == 0
    (paused, *_) = until(lambda: of(daemon, "slow", "paused"), "a slot of the pause")
    daemon.kill("job well", signal.SIGKILL)
    until(lambda: [one for one in lines(daemon) if one["message"] == "process exited"], "its end")
    daemon.stop()
    found = lines(daemon)
    for one in found:
        VALIDATOR.validate(one)
    assert all(one["node"] == "node-a" for one in found)
    slots = [one for one in found if "outcome" in one]
    assert len({frozenset(one) for one in slots}) == 1, "the same names whatever the outcome"
    assert set(slots[0]) - {"time", "level", "message"} >= OF_A_SLOT
    assert success["reported"] == {"unassigned": 1.0, "run_id": 4.0}, "a total may be called as a field is"
    assert (success["status"], success["attempt"], success["tries"]) == (200, 0, 1)
    assert success["trigger"] in ("schedule", "catch-up")
    assert (away["status"], away["reported"]) == (None, {})
    assert (paused["run_id"], paused["count"], paused["status"]) == (None, 1, None)
    assert SECRET not in daemon.log()


def test_the_schema_can_refuse() -> None:
    for line in ({}, {"time": "2026-01-01T00:00:00Z", "level": "info", "message": "x", "outcome": "success"}):
        assert not VALIDATOR.is_valid(line)

"""What the commands print."""

import os
from collections.abc import Callable
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tocsin import display, health, units
from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.health import Judged
from tocsin.ipc.job import Finished
from tocsin.ipc.tried import Tried
from tocsin.parent import statuses

MakeJob = Callable[..., Job]
RUN = Finished("sla-check", 60.0, "run-id", "manual", 0, "success", finished=61.0)
ROW: dict[str, Any] = {
    "job": "sla-check",
    "due": 1_800_000_000.0,
    "attempt": 0,
    "last": 1_800_000_000.0,
    "count": 1,
    "state": "finished",
    "reason": None,
    "trigger": "schedule",
    "run_id": "run-id",
    "owner": "s/1",
    "started": 1_800_000_000.002,
    "finished": 1_800_000_000.5,
    "lateness": 0.002,
    "duration": 0.045,
    "outcome": "success",
    "status": 200,
    "detail": "",
    "reported": {"unassigned": 1234567.0},
}


def test_local_and_utc() -> None:
    assert display.local_and_utc(1_800_000_000, "UTC") == "2027-01-15T08:00:00Z"
    berlin = "2027-01-15 09:00:00+01:00 Europe/Berlin  (2027-01-15T08:00:00Z)"
    assert display.local_and_utc(1_800_000_000, "Europe/Berlin") == berlin


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 µs"),
        (0.00012, "120 µs"),
        (0.045, "45 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.0, "1 s"),
        (2.314, "2.31 s"),
        (59.99, "1 min"),
        (119.0, "1 min 59 s"),
        (120.0, "2 min"),
        (3600.0, "1 h"),
        (7260.0, "2 h 1 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


def test_sizes() -> None:
    assert units.size(None) == "-"
    assert units.size(3 * 1024**2 + 512 * 1024) == "3.5 MiB"


def test_the_secret_in_words() -> None:
    assert display.secret_in_words(None) == "no secret is sent"
    words = display.secret_in_words(Secret("the-secret-itself", "header:x-cron-secret", "CRON_SECRET"))
    assert words == "secret from CRON_SECRET as header:x-cron-secret"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "sla-check: success, run run-id"),
        (
            {"status": 200, "duration": 0.045, "reported": {"unassigned": 1234567.0, "b": 0.5}},
            "sla-check: success, status 200, in 45 ms, unassigned 1234567, b 0.5, run run-id",
        ),
        ({"outcome": "timeout", "detail": "too long"}, "sla-check: timeout, run run-id\ntoo long"),
        (
            {
                "outcome": "http_error",
                "detail": "503",
                "retries": 3,
                "attempts": (Tried("timeout"), *(Tried("http_error", "503"),) * 3),
            },
            "attempt 1: timeout\nattempts 2 to 4: http_error, 503\nsla-check: http_error, run run-id\n503",
        ),
    ],
)
def test_a_run_in_words(changes: dict[str, Any], words: str) -> None:
    assert click.unstyle(display.run_in_words(replace(RUN, **changes))) == words


def test_a_status_as_json(make_job: MakeJob) -> None:
    here = replace(statuses.of(make_job()), pid=os.getpid(), next_fire=60.0, last_run=1.5, process_started=2.0)
    found = health.as_json(here, Judged("well"), 4096)
    assert {"name", "state", "next_fire", "last_outcome", "pid"} <= found.keys()
    assert found["next_fire"] == "1970-01-01T00:01:00.000Z"
    assert found["last_run"] == "1970-01-01T00:00:01.500Z"
    assert found["process_started"] == "1970-01-01T00:00:02.000Z"
    assert found["last_success"] is None
    assert (found["memory"], found["health"], found["why"], found["labels"]) == (4096, "well", "", {})


def test_a_row_as_json() -> None:
    found = display.row_as_json(ROW)
    assert {"job", "due", "count", "state", "outcome", "run_id"} <= found.keys()
    assert found["due"] == "2027-01-15T08:00:00Z"
    assert found["started"] == "2027-01-15T08:00:00.002Z"
    assert found["lateness"] == 0.002
    assert ROW["due"] == 1_800_000_000.0, "the row itself stays as it was"


def columns(table: str) -> list[list[str]]:
    return [[cell for cell in line.split("  ") if cell] for line in click.unstyle(table).splitlines()]


def test_the_table_of_jobs(make_job: MakeJob) -> None:
    up = replace(
        statuses.of(make_job()),
        state="sleeping",
        paused=True,
        paused_until=7200.0,
        paused_by="ann",
        paused_why="deploy",
        next_fire=60.0,
        last_outcome="success",
        pid=os.getpid(),
    )
    off = statuses.of(make_job(name="b", enabled=False))
    judged = {"sla-check": Judged("failing", "its last run failed"), "b": Judged("disabled")}
    head, first, second, _, pause, why = columns(display.jobs_table([up, off], judged))
    assert pause == ["sla-check: paused until 1970-01-01T02:00:00Z, by ann: deploy"]
    assert why == ["sla-check: failing, its last run failed"]
    assert [cell.strip() for cell in head] == ["JOB", "HEALTH", "NEXT FIRE", "LAST", "PID", "MEMORY", "SCHEDULE"]
    assert [cell.strip() for cell in first[:5]] == [
        "sla-check",
        "failing, paused",
        "paused",
        "success",
        str(os.getpid()),
    ]
    assert [cell.strip() for cell in second[:6]] == ["b", "disabled", "-", "-", "-", "-"]
    assert display.jobs_table([], {}).split()[0] == "JOB"


@pytest.mark.parametrize(
    ("changes", "outcome", "detail"),
    [
        ({}, "success", "unassigned=1234567"),
        ({"state": "started", "outcome": None, "reported": {}}, "started", ""),
        ({"state": "skipped", "outcome": None, "reason": "overlap", "reported": {}, "detail": "why"}, "overlap", "why"),
        (
            {"state": "missed", "outcome": None, "reason": "missed", "count": 3, "last": 1_800_000_120.0},
            "missed × 3",
            "until 2027-01-15T08:02:00Z unassigned=1234567",
        ),
    ],
)
def test_the_table_of_slots(changes: dict[str, Any], outcome: str, detail: str) -> None:
    head, row = columns(display.history_table([{**ROW, **changes}]))
    assert head[0].strip() == "JOB"
    cells = [cell.strip() for cell in row]
    assert cells[:3] == ["sla-check", "2027-01-15T08:00:00Z", outcome]
    assert cells[6:] == ([detail] if detail else [])


@pytest.mark.parametrize(
    ("word", "colour"),
    [
        ("success", "green"),
        ("overlap", "yellow"),
        ("paused × 3", "yellow"),
        ("cancelled", "yellow"),
        ("missed", "red"),
        ("timeout", "red"),
        ("started", "cyan"),
    ],
)
def test_colours(word: str, colour: str) -> None:
    assert click.style(word, fg=colour) in display.table(["A"], [[word]], coloured=0)


cells = st.text(max_size=12)


@given(st.lists(st.tuples(cells, cells, cells), max_size=4))
def test_a_table_has_a_line_for_each_row_whatever_stands_in_it(rows: list[tuple[str, str, str]]) -> None:
    text = display.table(["A", "B", "C"], rows, coloured=1)
    lines = text.split("\n")
    assert len(lines) == len(rows) + 1
    assert all(click.unstyle(line).isprintable() for line in lines)

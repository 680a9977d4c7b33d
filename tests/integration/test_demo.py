"""The demo app: requests expire, the check takes them from their agents, only the secret opens it."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

from tocsin import demo

NOW = 1_800_000_000.0
SECRET = "a-secret-of-the-demo-tests"
SLA, EVERY = 15.0, 1.0
CHECK = "/api/cron/sla-check"
PROGRAM = (
    "import os, sys; from pathlib import Path; from tocsin import demo, log; log.set_up();"
    "demo.run(('127.0.0.1', int(sys.argv[1])), Path(sys.argv[2]), os.environ['CRON_SECRET'])"
)


@pytest.fixture
def tickets(tmp_path: Path) -> Iterator[demo.Tickets]:
    opened = demo.Tickets(tmp_path / "folder" / "demo.sqlite", SLA, EVERY)
    yield opened
    opened.close()


def calls(tickets: demo.Tickets, *requests: tuple[str, str, dict[str, str]]) -> list[tuple[int, str, str]]:
    """Status, content type and body of each (method, path, headers), called in turn."""

    async def call_all() -> list[tuple[int, str, str]]:
        app = demo.application(tickets, SECRET, lambda: NOW)
        async with TestClient(TestServer(app)) as client:
            replies = []
            for method, path, headers in requests:
                async with client.request(method, path, headers=CIMultiDict(headers)) as reply:
                    replies.append((reply.status, reply.content_type, await reply.text()))
        return replies

    return asyncio.run(call_all())


def rows(database: Path) -> tuple[list[Any], list[Any]]:
    """Everything in the file: the requests, and what became of them and when."""
    with closing(sqlite3.connect(database)) as connection:
        requests = connection.execute("SELECT * FROM requests ORDER BY id").fetchall()
        history = connection.execute("SELECT request_id, action, at, agent FROM request_history").fetchall()
    return requests, sorted(history)


def test_one_in_three_expires_and_is_unassigned_once(tickets: demo.Tickets) -> None:
    assert tickets.unassign_expired(NOW) == 0  # the first fifteen were created up to now
    assert [row["id"] for row in tickets.latest(NOW)] == list(range(15, 0, -1))
    later = NOW + SLA
    assert tickets.unassign_expired(later) == 5  # requests 3, 6, 9, 12, 15
    assert tickets.unassign_expired(later) == 0
    assert tickets.timeouts() == 5
    states = {row["id"]: (row["status"], row["assigned_to"]) for row in tickets.latest(later)}
    assert states[3] == ("unassigned", None)
    assert states[4] == ("resolved", "Ken")
    assert states[30] == ("assigned", "Ada")


def test_a_check_every_few_seconds_always_finds_something(tickets: demo.Tickets) -> None:
    counts = [tickets.unassign_expired(NOW + 5 * fire) for fire in range(3, 20)]
    assert all(count in (1, 2) for count in counts[1:]), counts


def test_what_has_happened_depends_on_the_clock_alone(tickets: demo.Tickets, tmp_path: Path) -> None:
    tickets.latest(NOW)
    for step in range(41):
        tickets.latest(NOW + step)
    other = demo.Tickets(tmp_path / "other.sqlite", SLA, EVERY)
    other.latest(NOW)
    other.latest(NOW + 40)
    other.close()
    assert rows(tmp_path / "folder" / "demo.sqlite") == rows(tmp_path / "other.sqlite")


def test_a_long_stop_and_a_clock_set_back_leave_a_small_file(tickets: demo.Tickets) -> None:
    tickets.latest(NOW)
    week = tickets.latest(NOW + 7 * 86400)
    assert len(week) == demo.SHOWN
    assert week[0]["id"] == 15 + demo.KEPT
    assert tickets.unassign_expired(NOW + 7 * 86400) <= demo.KEPT
    back = [row["created_at"] for row in tickets.latest(NOW)]
    assert back == [NOW - n for n in range(15)]  # what is dated after now has not happened


def test_history_goes_with_its_request(tickets: demo.Tickets) -> None:
    tickets.unassign_expired(NOW)
    tickets.unassign_expired(NOW + SLA)
    assert tickets.timeouts() == 5
    tickets.latest(NOW + 10 * demo.KEPT)
    assert tickets.timeouts() == 0


def test_the_check_answers_as_the_ticketing_app_does(tickets: demo.Tickets) -> None:
    tickets.latest(NOW - SLA)
    (reply,) = calls(tickets, ("POST", CHECK, {"x-cron-secret": SECRET}))
    status, kind, body = reply
    answer: dict[str, Any] = json.loads(body)
    assert (status, kind) == (200, "application/json")
    assert answer.pop("durationMs") >= 0
    assert answer == {"success": True, "unassignedCount": 5, "timestamp": "2027-01-15T08:00:00.000Z"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-cron-secret": ""}, {"x-cron-secret": SECRET + "x"}, {"x-cron-secret": "ключ"}],
    ids=["none", "empty", "wrong", "not ASCII"],
)
def test_a_wrong_secret_changes_nothing(tickets: demo.Tickets, headers: dict[str, str]) -> None:
    tickets.latest(NOW - SLA)
    (reply,) = calls(tickets, ("POST", CHECK, headers))
    assert reply[0] == 401
    assert json.loads(reply[2]) == {"success": False, "error": "Unauthorized"}
    assert tickets.timeouts() == 0


def test_get_is_not_a_check(tickets: demo.Tickets) -> None:
    (reply,) = calls(tickets, ("GET", CHECK, {"x-cron-secret": SECRET}))
    assert reply[0] == 405


def test_page_and_json_show_the_requests(tickets: demo.Tickets) -> None:
    tickets.latest(NOW - SLA)
    secret = {"x-cron-secret": SECRET}
    _, listed, page = calls(tickets, ("POST", CHECK, secret), ("GET", "/api/requests", {}), ("GET", "/", {}))
    rows = json.loads(listed[2])["requests"]
    assert len(rows) == 30
    assert rows[-3] | {"created_at": "", "sla_deadline": ""} == {
        "id": 3,
        "subject": "Invoice is wrong",
        "status": "unassigned",
        "assigned_to": None,
        "created_at": "",
        "sla_deadline": "",
    }
    assert rows[0]["sla_deadline"] == "2027-01-15T08:00:15.000Z"
    assert page[:2] == (200, "text/html")
    assert "5 taken from their agents" in page[2]
    assert page[2].count('class="unassigned"') == 5
    assert "http" not in page[2].replace("http-equiv", "")  # nothing from elsewhere


def start(port: int, folder: Path, secret: str = SECRET) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port), str(folder / "demo.sqlite")],
        env={**os.environ, "CRON_SECRET": secret},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_process_serves_and_stops_at_sigterm(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with start(port, tmp_path) as process:
        try:
            assert process.stdout is not None
            assert "serves" in process.stdout.readline()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{CHECK}", method="POST", headers={"x-cron-secret": SECRET}
            )
            with urllib.request.urlopen(request, timeout=30) as reply:
                assert json.load(reply)["success"] is True
            request.add_header("x-cron-secret", "wrong")
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                urllib.request.urlopen(request, timeout=30)
            refused.value.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            rest = process.stdout.read()
        finally:
            process.kill()
    assert "has stopped" in rest
    assert SECRET not in rest


def test_a_taken_port_is_said_clearly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(port, tmp_path) as process:
            out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in out


def test_without_a_secret_it_does_not_start(tmp_path: Path) -> None:
    with start(1, tmp_path, secret="undefined") as process:
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert 'the secret in CRON_SECRET holds the word "undefined"' in out
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with start(1, tmp_path / "file") as process:
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cannot open the database" in out

"""Pauses with an end and a reason: they end by themselves, at their instant, also while the daemon is down."""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from harness import Daemon, Endpoint, until
from tocsin.ledger.sqlite import FILE

Start = Callable[[str], Daemon]
EVERY_SECOND = '[jobs.tick]\nevery = "1s"\npath = "/tick"\n'


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def status(daemon: Daemon) -> dict[str, Any]:
    (found,) = until(lambda: daemon.json("jobs"), "the daemon to answer")
    return dict(found)


def fates(daemon: Daemon) -> dict[int, str]:
    """Each slot with what became of it; no slot has two fates, and none is left out."""
    found: dict[int, str] = {}
    for row in daemon.history("tick"):
        if row["state"] != "started":
            for due in range(seconds(row["due"]), seconds(row["last"]) + 1):
                assert due not in found
                found[due] = row["outcome"] or row["reason"]
    assert list(found) == list(range(min(found), max(found) + 1))
    return found


def test_a_pause_ends_at_its_instant(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    said = daemon.run("pause", "tick", "--for", "15s", "--why", "deploy")
    assert said.stdout.startswith("tick is paused until 20")
    one = status(daemon)
    end = seconds(one["paused_until"])
    assert (one["paused"], one["paused_why"]) == (True, "deploy")
    assert one["paused_by"]
    for page in (daemon.run("jobs").stdout, daemon.get("/jobs/tick"), daemon.get("/")):
        assert f"until {one['paused_until'][:19]}" in page
        assert "deploy" in page
    until(lambda: not status(daemon)["paused"], "the end of the pause")
    until(lambda: {end, end + 1} <= fates(daemon).keys(), "the slots at the end")
    found = fates(daemon)
    assert [found[end - 1], found[end], found[end + 1]] == ["paused", "success", "success"]
    assert "by Tocsin (daemon): the end of the pause has come" in daemon.run("history", "tick").stdout
    ended, began = daemon.json("history", "tick", "--actions")[::-1]
    assert (began["action"], began["way"], began["why"], seconds(began["until"])) == ("pause", "command", "deploy", end)
    assert (ended["action"], ended["by"]) == ("resume", "Tocsin")
    daemon.said('tick: resumed by="Tocsin (daemon)"')


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_pause_whose_end_comes_while_the_daemon_is_down(running: Start, endpoint: Endpoint, how: str) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    assert daemon.run("pause", "tick", "--for", "10s", "--why", "<b>deploy</b>").returncode == 0
    end = seconds(status(daemon)["paused_until"])
    until(lambda: "paused" in fates(daemon).values(), "a slot of the pause")
    if how == "stop":
        assert daemon.stop() == 0
    else:
        daemon.cleanup()
    until(lambda: time.time() > end + 3, "the end to be over")
    daemon.start()
    until(lambda: endpoint.of("tick")[-1].at > end, "calls again")
    assert status(daemon)["paused"] is False
    found = fates(daemon)
    assert {found[due] for due in range(end - 3, end)} == {"paused"}, "also where nobody ran"
    assert "paused" not in {fate for due, fate in found.items() if due >= end}
    assert found[end] in ("missed", "lost"), "asked for ahead, perhaps, by the daemon that died"
    with contextlib.closing(sqlite3.connect(daemon.folder / "var" / FILE)) as db:
        rows = db.execute("SELECT what, job, way, why, until FROM actions ORDER BY at").fetchall()
    assert rows == [
        ("pause", "tick", "command", "<b>deploy</b>", end),
        ("resume", "tick", "daemon", "the end of the pause has come", None),
    ]


def test_a_pause_outlives_restarts_with_its_end(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    assert daemon.run("pause", "tick", "--until", "2199-01-01T00:00Z").returncode == 2, "too far away"
    assert daemon.run("pause", "tick", "--for", "1h", "--until", "2099-01-01T00:00Z").returncode == 2
    assert daemon.run("pause", "tick", "--for", "1h", "--why", "deploy").returncode == 0
    before = status(daemon)
    daemon.cleanup()
    daemon.start()
    until(lambda: daemon.metric("tocsin_job_paused_until_timestamp_seconds", job_name="tick"), "the pause")
    after = status(daemon)
    for key in ("paused", "paused_since", "paused_until", "paused_why", "paused_by"):
        assert after[key] == before[key], key
    assert daemon.run("resume", "tick", "--why", "done").returncode == 0
    until(lambda: daemon.metric("tocsin_job_paused_until_timestamp_seconds", job_name="tick") == 0, "the resume")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "calls again")

"""The ledger's process: it answers what it has committed."""

import gc
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness import Ends
from ledger_rig import Ledger, T, ask, finished, history, serve
from tocsin.ipc.channel import AnyChannel, ChannelClosed
from tocsin.ipc.job import Finished, Grant, Stop
from tocsin.ipc.ledger import Committed, Entry, LedgerReady, LedgerRoom, LedgerTrouble, LedgerUnusable
from tocsin.ipc.types import Message
from tocsin.ledger import main as process
from tocsin.ledger.sqlite import FILE, PRUNE_AT_ONCE, PRUNE_EVERY
from tocsin.ledger.store import Passing

PAST = 1_700_000_000.0


def said(channel: AnyChannel) -> list[Message]:
    return list(channel.waiting(1000))


def test_the_process_answers_what_it_has_committed(ends: Ends, tmp_path: Path) -> None:
    for message in (Entry(1, ask()), Entry(2, ask(T + 60)), Entry(3, finished()), Stop()):
        ends[0].send(message)
    serve(ends[1], tmp_path, "s1")
    ready, one, two, committed = said(ends[0])
    assert ready == LedgerReady()
    assert [one, two] == [Grant("a", T), Grant("a", T + 60)]
    assert isinstance(committed, Committed)
    assert committed.seq == 3
    assert len(history(tmp_path)) == 2


def test_the_process_tells_of_lost_runs_first(ends: Ends, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "s0")
    ledger.put(ask(PAST, owner="s0/1"))
    ledger.close()
    ends[0].send(Stop())
    serve(ends[1], tmp_path, "s1")
    lost, ready = said(ends[0])
    assert isinstance(lost, Finished)
    assert (lost.due, lost.outcome) == (PAST, "lost")
    assert ready == LedgerReady("the daemon had died")


def test_the_process_tells_that_the_one_before_was_stopped(ends: Ends, tmp_path: Path) -> None:
    for session in ("s0", "s1"):
        ends[0].send(Stop())
        serve(ends[1], tmp_path, session)
    assert said(ends[0]) == [LedgerReady(), LedgerReady("the daemon was stopped")]


def test_a_ledger_that_cannot_be_used_says_so_and_ends(ends: Ends, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    serve(ends[1], tmp_path, "s1")
    (message,) = said(ends[0])
    assert isinstance(message, LedgerUnusable)


def test_the_process_ends_with_its_parent(ends: Ends, tmp_path: Path) -> None:
    ends[0].close()
    with pytest.raises(ChannelClosed):
        serve(ends[1], tmp_path, "s1")


def test_trouble_is_said_once_and_its_end_too(ends: Ends, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is kept and tried again."""
    monkeypatch.setattr(process, "RETRY", 0.0)
    tries = iter([True, True, True, False])
    commit = ledger.ledger.commit

    def failing(entries: Any) -> Any:
        if next(tries):
            raise Passing("database or disk is full")
        return commit(entries)

    monkeypatch.setattr(ledger.ledger, "commit", failing)
    process._commit(ledger.ledger, [Entry(1, ask())], ends[1])
    first, second, grant, committed = said(ends[0])
    assert isinstance(first, LedgerTrouble)
    assert first.detail
    assert "database or disk is full" in first.detail
    assert second == LedgerTrouble(None)
    assert grant == Grant("a", T)
    assert isinstance(committed, Committed)


def test_pruning_that_fails_is_no_failure(ledger: Ledger) -> None:
    kept, ledger.ledger._db = ledger.ledger._db, sqlite3.connect(":memory:")
    assert ledger.ledger.idle(T) > 0
    ledger.ledger._db.close()
    ledger.ledger._db = kept


def test_what_is_old_is_deleted_while_nothing_else_is_to_do(ledger: Ledger) -> None:
    ledger.ledger._retention = 60.0
    ledger.put(*[finished(T + number) for number in range(PRUNE_AT_ONCE + 5)])
    after = T + 2 * PRUNE_AT_ONCE + 60
    assert ledger.ledger.idle(after) == 0, "there is more of it"
    assert ledger.ledger.idle(after) > 0
    assert ledger.rows() == []
    ledger.put(finished(T))
    assert ledger.ledger.idle(after + 1) > 0
    assert len(ledger.rows()) == 1, "it looks again later"
    assert ledger.ledger.idle(after + PRUNE_EVERY) > 0
    assert ledger.rows() == []


def test_a_daemon_that_cannot_note_its_end_stops_all_the_same(ends: Ends, ledger: Ledger) -> None:
    def full(_: float) -> None:
        raise Passing("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger.ledger, "stopped", full)
        ends[0].send(Stop())
        serve(ends[1], ledger.folder, "s1", store=ledger.ledger)
    assert said(ends[0]) == [LedgerReady()]


def test_its_process_collects_garbage_though_the_parent_does_not(ends: Ends, tmp_path: Path) -> None:
    ends[0].send(Stop())
    gc.disable()
    try:
        serve(ends[1], tmp_path, "session")
        assert gc.isenabled()
    finally:
        gc.enable()


def test_while_there_is_nothing_to_commit_it_tells_of_its_room_once_a_minute(
    ends: Ends, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([0.0, 0.0, 0.0])
    idle = ledger.ledger.idle

    def counted(now: float) -> float:
        idle(now)
        wait = next(looks, None)
        if wait is None:
            ends[0].send(Stop())
        return 0.0

    monkeypatch.setattr(ledger.ledger, "idle", counted)
    serve(ends[1], ledger.folder, "s1", store=ledger.ledger)
    rooms = [message for message in said(ends[0]) if isinstance(message, LedgerRoom)]
    (room,) = rooms
    assert room.size > 0
    assert room.free

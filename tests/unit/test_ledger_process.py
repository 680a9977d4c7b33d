"""The ledger's process: it answers what it has committed."""

import gc
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness import Ends
from ledger_rig import Ledger, T, ask, finished
from tocsin.ipc.channel import Channel, ChannelClosed
from tocsin.ipc.messages import (
    Committed,
    Entry,
    Finished,
    Grant,
    LedgerReady,
    LedgerTrouble,
    LedgerUnusable,
    Message,
    Stop,
)
from tocsin.ledger import main as process
from tocsin.ledger.history import history
from tocsin.ledger.sqlite import FILE

PAST = 1_700_000_000.0


def said(channel: Channel) -> list[Message]:
    return list(channel.waiting(1000))


def test_the_process_answers_what_it_has_committed(ends: Ends, tmp_path: Path) -> None:
    for message in (Entry(1, ask()), Entry(2, ask(T + 60)), Entry(3, finished()), Stop()):
        ends[0].send(message)
    process.main(ends[1], tmp_path, "s1", keep=1e9)
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
    process.main(ends[1], tmp_path, "s1", keep=1e9)
    lost, ready = said(ends[0])
    assert isinstance(lost, Finished)
    assert (lost.due, lost.outcome) == (PAST, "lost")
    assert ready == LedgerReady("the daemon had died")


def test_the_process_tells_that_the_one_before_was_stopped(ends: Ends, tmp_path: Path) -> None:
    for session in ("s0", "s1"):
        ends[0].send(Stop())
        process.main(ends[1], tmp_path, session, keep=1e9)
    assert said(ends[0]) == [LedgerReady(), LedgerReady("the daemon was stopped")]


def test_a_ledger_that_cannot_be_used_says_so_and_ends(ends: Ends, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    process.main(ends[1], tmp_path, "s1", keep=1e9)
    (message,) = said(ends[0])
    assert isinstance(message, LedgerUnusable)


def test_the_process_ends_with_its_parent(ends: Ends, tmp_path: Path) -> None:
    ends[0].close()
    with pytest.raises(ChannelClosed):
        process.main(ends[1], tmp_path, "s1", keep=1e9)


def test_trouble_is_said_once_and_its_end_too(ends: Ends, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is kept and tried again."""
    monkeypatch.setattr(process, "RETRY", 0.0)
    tries = iter([True, True, True, False])
    commit = ledger.ledger.commit

    def failing(entries: Any) -> Any:
        if next(tries):
            raise sqlite3.OperationalError("database or disk is full")
        return commit(entries)

    monkeypatch.setattr(ledger.ledger, "commit", failing)
    process._commit(ledger.ledger, [Entry(1, ask())], ends[1])
    first, second, grant, committed = said(ends[0])
    assert isinstance(first, LedgerTrouble)
    assert "database or disk is full" in first.detail
    assert second == LedgerTrouble("")
    assert grant == Grant("a", T)
    assert isinstance(committed, Committed)


def test_pruning_that_fails_is_no_failure(ledger: Ledger) -> None:
    ledger.close()
    ledger.ledger._db = sqlite3.connect(":memory:")
    assert process._prune(ledger.ledger, 1.0) == 0


def test_its_process_collects_garbage_though_the_parent_does_not(ends: Ends, tmp_path: Path) -> None:
    ends[0].send(Stop())
    gc.disable()
    try:
        process.main(ends[1], tmp_path, "session", 3600.0)
        assert gc.isenabled()
    finally:
        gc.enable()

"""The -wal file of the ledger stays small, whatever is committed. (A full volume: integration/test_full_volume.py.)"""

import os
import sqlite3
from pathlib import Path

import pytest

from ledger_rig import Ledger, T, ask, finished
from tocsin.ledger import room
from tocsin.ledger.sqlite import FILE

A_TRANSACTION = 256 * 1024  # bytes, at most, of one of those below


def wal(ledger: Ledger) -> int:
    return Path(ledger.folder, f"{FILE}-wal").stat().st_size


def fill(ledger: Ledger, first: int, commits: int) -> int:
    """So many commits; the largest size of the -wal file."""
    largest = 0
    for n in range(first, first + commits):
        ledger.put(ask(T + 60 * n), finished(T + 60 * n))
        largest = max(largest, wal(ledger))
    return largest


def test_thousands_of_commits_leave_a_small_wal_file(ledger: Ledger) -> None:
    ledger.ledger._db.execute("PRAGMA synchronous = OFF")  # which changes what a power cut leaves, and no size
    ledger.past(now=T - 60)
    assert fill(ledger, 0, 4000) < room.WAL_KEPT + A_TRANSACTION
    ledger.ledger.prune(T + 60 * 4000)
    assert fill(ledger, 4000, 1000) < room.WAL_KEPT + A_TRANSACTION


def test_after_a_long_reader_the_wal_file_is_cut_off_again(ledger: Ledger) -> None:
    ledger.ledger._db.execute("PRAGMA synchronous = OFF")
    ledger.past(now=T - 60)
    reader = sqlite3.connect(ledger.folder / FILE, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM slots").fetchall()
    first = 0
    while wal(ledger) < 2 * room.WAL_KEPT:
        fill(ledger, first, 100)
        first += 100
    reader.close()
    fill(ledger, first, 100)
    assert wal(ledger) < room.WAL_KEPT + A_TRANSACTION


def test_at_rest_the_database_has_it_all(ledger: Ledger) -> None:
    """Then it has grown by what was committed, while there was room."""
    ledger.past(now=T - 60)
    ledger.put(ask(T), finished(T))
    ledger.ledger.idle(T + 600)
    (Path(ledger.folder, "copy.sqlite")).write_bytes((ledger.folder / FILE).read_bytes())
    copy = sqlite3.connect(ledger.folder / "copy.sqlite")
    copy.execute("PRAGMA journal_mode = DELETE")
    assert copy.execute("SELECT state FROM slots").fetchall() == [("finished",)]
    copy.close()


@pytest.mark.parametrize(("free", "short"), [(room.SHORT, False), (room.SHORT - 4096, True)])
def test_room_is_short_below_the_bound(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, free: int, short: bool) -> None:
    class Volume:
        f_frsize, f_bavail = 4096, free // 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Volume)
    ledger.past(now=T - 60)
    assert (wal(ledger) == 0) is short


def test_where_room_is_short_no_reader_is_waited_for(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    """A reader that stays would hold up each commit for as long as a lock is waited for."""
    monkeypatch.setattr(room, "is_short", lambda _: True)
    ledger.past(now=T - 60)
    reader = sqlite3.connect(ledger.folder / FILE, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM slots").fetchall()
    waited = []
    db = ledger.ledger._db
    db.set_trace_callback(lambda sql: waited.append(sql))
    ledger.put(ask(T))
    db.set_trace_callback(None)
    position = waited.index("PRAGMA wal_checkpoint(TRUNCATE)")
    assert waited[position - 1 : position + 2 : 2] == ["PRAGMA busy_timeout = 0", "PRAGMA busy_timeout = 5000"]
    assert not room.give_back(db)
    reader.close()
    assert room.give_back(db)

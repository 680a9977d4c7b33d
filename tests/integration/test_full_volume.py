"""The ledger on a volume of one megabyte: it takes what fits, and goes on by itself when there is room again."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Daemon, Endpoint, fates, until
from ledger_rig import Ledger, T, ask, finished, skipped
from tocsin.ledger import room
from tocsin.ledger.sqlite import FILE
from tocsin.ledger.store import Passing
from volume import Volume, filled, mounted, resize

EVERY_SECOND = '[jobs.tick]\nevery = "1s"\npath = "/tick"\n'
MUCH = 900  # runs of one job that surely fit into a megabyte, with what SQLite needs beside them


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    yield from mounted(tmp_path / "var", "1m")


def wal(folder: Path) -> int:
    return (folder / f"{FILE}-wal").stat().st_size


def a_small_volume_is_used_by_slots_and_not_by_the_wal_file(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.past(now=T - 60)
    for n in range(MUCH):
        ledger.put(ask(T + 60 * n))
        ledger.put(finished(T + 60 * n))
    assert wal(folder) < 256 * 1024
    assert len(ledger.rows()) == MUCH
    ledger.close()


def what_found_no_room_goes_in_once_there_is_some(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.past(now=T - 60)
    count = 0
    with contextlib.suppress(Passing):
        for count in range(100_000):
            ledger.put(ask(T + 60 * count))
            ledger.put(finished(T + 60 * count))
    for _ in range(3):
        with pytest.raises(Passing, match="full"):
            ledger.ledger.commit(ledger.last)
    resize(folder, "2m")
    ledger.ledger.commit(ledger.last)
    for n in range(count + 1, count + 20):
        ledger.put(ask(T + 60 * n), finished(T + 60 * n))
    rows = ledger.rows(limit=100_000)
    assert [row["due"] for row in rows] == [T + 60 * n for n in range(count + 20)]
    assert {row["state"] for row in rows[:-20]} == {"finished"}
    ledger.close()


def a_wal_file_from_better_times_gives_its_room_back(folder: Path) -> None:
    """It grew while there was room; then others took the rest."""
    resize(folder, "40m")
    ledger = Ledger(folder)
    ledger.past(now=T - 60)
    db = ledger.ledger._db
    db.execute("PRAGMA wal_autocheckpoint = 0")
    while wal(folder) < room.WAL_KEPT:
        ledger.put(ask(T), finished(T))
    db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    filled(folder, leaving=64 * 1024)
    before = wal(folder)
    for n in range(60):
        ledger.put(*[skipped(T + 3600 * n + k, T + 3600 * n + k, 1, "missed", f"{k}" + "x" * 400) for k in range(60)])
    assert wal(folder) < before
    assert len(ledger.rows(limit=100_000)) == 60 * 60
    ledger.close()


@pytest.mark.parametrize(
    "function",
    [
        a_small_volume_is_used_by_slots_and_not_by_the_wal_file,
        what_found_no_room_goes_in_once_there_is_some,
        a_wal_file_from_better_times_gives_its_room_back,
    ],
)
def test_the_ledger_alone(volume: Volume, function: Callable[[Path], None]) -> None:
    volume.run(__file__, function.__name__)


def test_a_daemon_on_a_full_volume_says_so_once_and_goes_on_when_there_is_room(
    volume: Volume, daemon: Daemon, endpoint: Endpoint
) -> None:
    daemon.within = volume.within
    daemon.write(EVERY_SECOND)
    daemon.start()
    until(lambda: len(endpoint.calls) >= 2, "calls")
    ballast = volume.fill()
    until(lambda: daemon.metric("tocsin_ledger_up") == 0, "the gauge to fall")
    calls, asked = len(endpoint.calls), daemon.log().count("asked")
    until(lambda: daemon.log().count("asked") >= asked + 3, "slots to pass")
    assert len(endpoint.calls) <= calls + 1  # no start committed, no call; one may have been on its way
    ballast.unlink()
    until(lambda: daemon.metric("tocsin_ledger_up") == 1, "the gauge to rise")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 1, "calls again")
    assert daemon.stop() == 0
    assert daemon.log().count("the ledger cannot write") == 1
    rows = daemon.history("tick")
    dues = [call.headers["x-tocsin-scheduled-at"] for call in endpoint.calls]
    assert len(dues) == len(set(dues)), "a slot was called twice"
    assert all(len(fate) == 1 for fate in fates(rows, "tick").values())
    assert "missed" in [row["reason"] for row in rows]
    assert all(row["state"] != "started" for row in rows)


def test_a_stop_on_a_full_volume_is_in_order(volume: Volume, daemon: Daemon) -> None:
    daemon.within = volume.within
    daemon.write('[jobs.tick]\nschedule = "0 0 1 1 *"\npath = "/tick"\n')
    daemon.start()
    until(lambda: daemon.metric("tocsin_job_process_up", job_name="tick") == 1, "the job's process")
    volume.fill()
    assert daemon.stop() == 0
    assert "the process failed" not in daemon.log()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))

"""Rows that are read and deleted; files that are none, and a full disk, which leaves nothing half done."""

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Ends, until
from ledger_rig import Ledger, T, ask, finished, history, serve, skipped
from tocsin.ipc.job import Finished, Grant, Stop
from tocsin.ipc.ledger import Body, Enroll, Entry, LedgerReady, LedgerUnusable
from tocsin.ledger.schema import VERSION
from tocsin.ledger.sqlite import FILE, PRUNE_AT_ONCE, SqliteLedger
from tocsin.ledger.store import Absent, Moved, Passing, Unreadable, Unusable

# ---- pruning


def test_old_rows_are_deleted_some_at_a_time(ledger: Ledger) -> None:
    ledger.put(*[finished(T + number) for number in range(PRUNE_AT_ONCE + 5)])
    before = T + PRUNE_AT_ONCE + 3
    assert ledger.ledger.prune(before) == PRUNE_AT_ONCE
    assert ledger.ledger.prune(before) == 3
    assert ledger.ledger.prune(before) == 0
    assert len(ledger.rows()) == 2


def test_what_is_open_or_reaches_into_the_kept_time_stays(ledger: Ledger) -> None:
    ledger.put(ask(), skipped(T + 60, T + 600, 10))
    assert ledger.ledger.prune(T + 300) == 0
    assert ledger.ledger.prune(T + 601) == 1
    assert ledger.brief() == [(0, "started", None, 1)]


# ---- reading


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    ledger.put(ask(), finished(), finished(T + 60, "timeout"), skipped(T + 120, T + 240, 3), ask(T + 300))
    ledger.put(finished(T + 30, job="b"), skipped(T + 360, T + 360, 1, "overlap"), finished(T + 420, "cancelled"))
    return ledger


@pytest.mark.parametrize(
    ("filters", "dues"),
    [
        ({}, [0, 30, 60, 120, 300, 360, 420]),
        ({"job": "a"}, [0, 60, 120, 300, 360, 420]),
        ({"job": "nobody"}, []),
        ({"since": T + 60}, [60, 120, 300, 360, 420]),
        ({"since": T + 200}, [120, 300, 360, 420]),
        ({"failed": True}, [60, 120, 420]),
        ({"limit": 2}, [360, 420]),
        ({"job": "a", "since": T + 60, "failed": True, "limit": 1}, [420]),
        ({"job": "' OR 1=1 --"}, []),
    ],
)
def test_history(filled: Ledger, filters: dict[str, Any], dues: list[float]) -> None:
    assert [row["due"] - T for row in filled.rows(**filters)] == dues


def test_history_reads_while_the_daemon_writes(filled: Ledger) -> None:
    kept = filled.rows()
    filled.ledger._db.execute("BEGIN IMMEDIATE")
    filled.ledger._ask(ask(T + 900), new=True)
    assert filled.rows() == kept
    filled.ledger._db.execute("COMMIT")
    assert len(filled.rows()) == len(kept) + 1


def test_no_ledger_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(Absent):
        history(tmp_path)
    assert not list(tmp_path.iterdir()), "reading makes no file"
    (tmp_path / FILE).write_bytes(b"garbage, and long enough to look like something " * 100)
    with pytest.raises(Unreadable):
        history(tmp_path)


def test_history_of_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %20"
    folder.mkdir()
    ledger = Ledger(folder)
    ledger.put(finished())
    assert len(ledger.rows()) == 1
    ledger.close()


# ---- files that are none


def test_the_file_is_for_this_user_alone(ledger: Ledger) -> None:
    ledger.put(ask())
    for file in ledger.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_its_files_stay_the_same_while_it_is_used(ledger: Ledger) -> None:
    for due in range(5):
        ledger.put(ask(T + due))
        ledger.rows()  # opens and closes the database beside it
        ledger.ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.ledger.look()


@pytest.mark.parametrize("kind", ["", "-wal", "-shm"])
@pytest.mark.parametrize("replaced", [False, True])
def test_files_that_were_deleted_or_replaced_are_noticed(ledger: Ledger, kind: str, replaced: bool) -> None:
    ledger.put(ask())
    file = Path(f"{ledger.ledger.file}{kind}")
    content = file.read_bytes()
    file.rename(ledger.folder / "away")
    if replaced:
        file.write_bytes(content)
    with pytest.raises(Moved, match=re.escape(f"{ledger.ledger.file} (or its -wal or -shm file) was deleted or repl")):
        ledger.put(ask(T + 60))


def test_who_lost_its_files_leaves_those_alone_that_took_their_place(ledger: Ledger) -> None:
    ledger.put(ask())
    for file in ledger.folder.iterdir():
        file.rename(ledger.folder / f"away{file.name}")
    other = Ledger(ledger.folder, "s2")
    other.put(ask(T + 60))
    with pytest.raises(Moved):
        ledger.ledger.look()
    ledger.ledger.close()
    assert [row["due"] for row in other.rows()] == [T + 60]
    other.ledger.look()
    other.close()


def test_a_power_cut_loses_no_commit(ledger: Ledger) -> None:
    assert ledger.ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert ledger.ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_newer_schema_is_refused_and_left_alone(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.put(finished())
    ledger.ledger._db.execute("PRAGMA user_version = 99")
    with pytest.raises(Unusable, match=rf"was written by a newer Tocsin \(schema 99, this one knows {VERSION}\)"):
        again("s2")
    assert len(history(ledger.folder)) == 1


INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name NOT GLOB 'sqlite_*' ORDER BY name"
COLUMNS = 'SELECT m.name, c.name, c.type, c."notnull" FROM sqlite_master m, pragma_table_info(m.name) c ORDER BY 1, 2'


def test_a_ledger_of_the_first_schema_goes_on(tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    db = sqlite3.connect(tmp_path / FILE)
    db.executescript("""
        CREATE TABLE slots (
            job TEXT NOT NULL, due REAL NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, last REAL NOT NULL,
            count INTEGER NOT NULL DEFAULT 1, state TEXT NOT NULL, reason TEXT, trigger TEXT, run_id TEXT, owner TEXT,
            started REAL, finished REAL, lateness REAL, duration REAL,
            outcome TEXT, status INTEGER, detail TEXT NOT NULL DEFAULT '', reported TEXT,
            PRIMARY KEY (job, due, attempt)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE jobs (
            job TEXT PRIMARY KEY, schedule TEXT NOT NULL, roster INTEGER NOT NULL, last_due REAL NOT NULL,
            paused INTEGER NOT NULL DEFAULT 0,
            last_outcome TEXT, last_detail TEXT NOT NULL DEFAULT '', last_run REAL, last_success REAL,
            consecutive_failures INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE progress (
            one INTEGER PRIMARY KEY CHECK (one = 1), session TEXT NOT NULL, seq INTEGER NOT NULL, stopped REAL
        ) STRICT;
        INSERT INTO progress VALUES (1, 's0', 7, NULL);
        INSERT INTO jobs (job, schedule, roster, last_due, paused) VALUES ('a', '* * * * * UTC', 1, 60.0, 1);
        INSERT INTO slots (job, due, last, state, owner, run_id, trigger)
            VALUES ('a', 60.0, 60.0, 'started', 's0/1', 'r', 'schedule');
        INSERT INTO slots (job, due, last, count, state, outcome, reason) VALUES
            ('a', 0.0, 0.0, 1, 'finished', 'success', NULL), ('a', 10.0, 30.0, 3, 'missed', NULL, 'missed'),
            ('b', 0.0, 0.0, 1, 'finished', 'timeout', NULL);
        PRAGMA user_version = 1;
    """)
    db.close()
    before = int(time.time())
    for session in ("s1", "s2"):
        ledger = Ledger(tmp_path, session)
        assert len(ledger.ledger.recover(120.0)) == (session == "s1")
        past = ledger.past(generation=2)
        assert (past.accounted, past.paused) == (60.0, True)
        assert past.counts == {"success": 1, "missed": 3, "lost": 1}, "what is there is counted"
        assert past.paused_since
        assert (past.paused_until, past.paused_why, past.paused_by) == (None, "", "")
        assert before <= past.paused_since <= time.time()
        assert before <= past.since <= time.time()
        ledger.close()
    fresh = Ledger(tmp_path / "fresh")
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as db:
        made, new = (
            {name: " ".join((sql or "").split()) for name, sql in one.execute(INDEXES)}
            for one in (db, fresh.ledger._db)
        )
        since_the_first = new.keys() - {"slots_due", "slots_open"}
        assert {name: new[name] for name in since_the_first if made.get(name) != new[name]} == {}
        assert db.execute(COLUMNS).fetchall() == fresh.ledger._db.execute(COLUMNS).fetchall()
    fresh.close()


def test_what_is_pruned_stays_counted(ledger: Ledger) -> None:
    ledger.past()
    ledger.put(ask(), finished(), *(finished(T + 60 * number, "timeout") for number in range(1, 4)))
    ledger.put(skipped(T + 600, T + 720, 3))
    counts = {"success": 1, "timeout": 3, "missed": 3}
    assert ledger.past(generation=2).counts == counts
    assert ledger.ledger.prune(T + 10_000) == 5
    assert ledger.rows() == []
    ledger.close()
    again = Ledger(ledger.folder, "s2")
    assert again.past(generation=3).counts == counts
    again.close()


def _overwrite(file: Path, page: int) -> None:
    with file.open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)


@pytest.mark.parametrize("table", ["slots", "slots_open", "jobs", "progress"])
def test_a_damaged_table_is_said(ends: Ends, ledger: Ledger, table: str) -> None:
    ledger.past()
    ledger.put(*(ask(T + 60 * number) for number in range(500)))
    (page,) = ledger.ledger._db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    ledger.ledger.close()
    _overwrite(ledger.ledger.file, page)
    for entry in (Entry(1, Enroll("a", "* * * * * UTC", 2, T)), Entry(2, ask(owner="s2/1"))):
        ends[0].send(entry)
    ends[0].send(Stop())
    serve(ends[1], ledger.folder, "s2")
    message = list(ends[0].waiting(1000))[-1]
    assert isinstance(message, LedgerUnusable)
    assert "is damaged" in message.detail


def test_damage_in_old_rows_keeps_nothing_from_running(ends: Ends, ledger: Ledger) -> None:
    ledger.past()
    ledger.put(*(finished(60.0 * number) for number in range(1, 3000)))
    ledger.ledger.close()
    content = ledger.ledger.file.read_bytes()
    pages = [at // 4096 + 1 for at in range(0, len(content), 4096) if b"it was success" in content[at : at + 4096]]
    _overwrite(ledger.ledger.file, pages[len(pages) // 4])  # of the table, not of an index
    db = sqlite3.connect(ledger.ledger.file)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        db.execute("SELECT sum(finished) FROM slots").fetchone()
    db.close()
    served = threading.Thread(target=serve, args=(ends[1], ledger.folder, "s2", 1.0))
    served.start()
    until(lambda: any(isinstance(one, LedgerReady) for one in ends[0].waiting(1000)), "the ledger")
    ends[0].send(Entry(1, ask(owner="s2/1")))
    until(lambda: any(isinstance(one, Grant) for one in ends[0].waiting(1000)), "a grant")
    ends[0].send(Stop())
    served.join()


def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path) -> None:
    garbage = b"this is not a database " * 500
    (tmp_path / FILE).write_bytes(garbage)
    with pytest.raises(Unusable) as raised:
        SqliteLedger(tmp_path, "s1", 1.0)
    why = str(raised.value)
    assert str(tmp_path / FILE) in why
    for word in ("is damaged", "Nothing was changed", "backup", ".recover", "-wal"):
        assert word in why
    assert (tmp_path / FILE).read_bytes() == garbage


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(Unusable, match=r"cannot open the ledger .*it is not a regular file"):
        SqliteLedger(tmp_path, "s1", 1.0)


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_this_user_may_not_write(existing: bool) -> None:
    """Root may write everywhere, so a root that tests becomes nobody for a moment."""
    folder = Path(tempfile.mkdtemp())
    try:
        if existing:
            Ledger(folder).close()
            (folder / FILE).chmod(0o444)
        folder.chmod(0o555)
        if root := os.geteuid() == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(Unusable, match=r"cannot open the ledger .*may this user write"):
                SqliteLedger(folder, "s2", 1.0)
        finally:
            if root:
                os.seteuid(0)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


# ---- a full disk


def test_a_full_disk_leaves_nothing_half_applied(ledger: Ledger) -> None:
    ledger.past(now=T - 60)
    ledger.put(ask())
    db = ledger.ledger._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    kept, open_before = ledger.rows(), ledger.ledger.seq
    bodies: list[Body] = [
        finished(),
        *[skipped(T + 60 * n, T + 60 * n, 1, "missed", f"{n} " + "x" * 400) for n in range(1, 200)],
    ]
    with pytest.raises(Passing, match="full"):
        ledger.put(*bodies)
    entries = ledger.last
    assert not db.in_transaction
    assert (ledger.rows(), ledger.ledger.seq) == (kept, open_before)
    with pytest.raises(Passing):
        ledger.ledger.commit(entries)
    db.execute("PRAGMA max_page_count = 1000000")
    assert ledger.ledger.commit(entries) == []
    assert len(ledger.rows()) == 200
    assert ledger.rows()[0]["outcome"] == "success"


def test_an_error_in_the_middle_leaves_nothing_half_applied(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after which SQLite itself does not roll back."""
    apply = ledger.ledger._apply

    def failing(body: Any, *, new: bool) -> Any:
        if isinstance(body, Finished):
            raise sqlite3.OperationalError("disk I/O error")
        return apply(body, new=new)

    monkeypatch.setattr(ledger.ledger, "_apply", failing)
    with pytest.raises(Passing):
        ledger.put(ask(), finished())
    assert ledger.rows() == []
    assert not ledger.ledger._db.in_transaction
    monkeypatch.undo()
    assert ledger.ledger.commit(ledger.last) == [Grant("a", T)]
    assert ledger.brief() == [(0, "finished", "success", 1)]


def test_the_ledger_is_for_its_user_alone_before_sqlite_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def watched(file: Path, **words: Any) -> sqlite3.Connection:
        seen.append(stat.S_IMODE(file.stat().st_mode))
        return connect(file, **words)

    monkeypatch.setattr(sqlite3, "connect", watched)
    Ledger(tmp_path).close()
    (tmp_path / FILE).chmod(0o644)
    Ledger(tmp_path).close()
    assert seen == [0o600, 0o600]


@pytest.mark.parametrize("kind", ["", "-wal", "-shm", "-journal"])
def test_a_link_is_not_followed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "victim").write_bytes(b"")
    (tmp_path / f"{FILE}{kind}").symlink_to(tmp_path / "victim")
    with pytest.raises(Unusable, match=f"{FILE}{kind}: it is a link"):
        Ledger(tmp_path)
    assert (tmp_path / "victim").read_bytes() == b""

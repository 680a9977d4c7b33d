"""Room on the volume: committed entries must get into the database while its file can still grow.

A commit appends to the -wal file. A checkpoint copies that file into the database; after a complete one the next commit
starts at the beginning of the -wal file again (sqlite.org/wal.html). By itself SQLite makes a checkpoint at 1,000 pages
(4 MB). A small volume is full before that. Then the database cannot grow, and no checkpoint works until somebody makes
room. So when room is short, each commit is followed by a checkpoint that also truncates the -wal file.
"""

import os
import sqlite3
from pathlib import Path

from tocsin import log
from tocsin.ipc.ledger import LedgerRoom
from tocsin.ledger.store import Passing

WAL_KEPT = 4 * 1024 * 1024  # bytes of the -wal file kept for the next commits: its size under steady load
SHORT = 4 * WAL_KEPT  # bytes free: with less, the -wal file of one large transaction could fill the volume
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}  # the second comes from a quota or a limit of the process


def is_short(file: Path) -> bool:
    """Whether the file's volume has little room left."""
    volume = os.statvfs(file.parent)
    return volume.f_bavail * volume.f_frsize < SHORT


def measured(file: Path) -> LedgerRoom:
    """The size of the database's files, and the room on their volume. Raises OSError."""
    volume = os.statvfs(file.parent)
    size = sum(found.stat().st_size for kind in ("", "-wal", "-shm") if (found := Path(f"{file}{kind}")).exists())
    return LedgerRoom("sqlite", size, volume.f_bavail * volume.f_frsize)


def checkpoint(db: sqlite3.Connection) -> None:
    """Copy committed entries into the database, except what a reader still needs. Never waits for a reader."""
    _checkpoint(db, "PASSIVE")


def give_back(db: sqlite3.Connection) -> bool:
    """Make a checkpoint and truncate the -wal file. Returns whether that worked. Never waits for a reader."""
    (patience,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute("PRAGMA busy_timeout = 0")
    try:
        return _checkpoint(db, "TRUNCATE")
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


def made_after(error: Passing, db: sqlite3.Connection) -> bool:
    """If the error says that the volume is full, try to free some of it. Returns whether that worked."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in FULL and give_back(db)


def _checkpoint(db: sqlite3.Connection, kind: str) -> bool:
    try:
        ((busy, _, _),) = db.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
    except sqlite3.OperationalError as error:  # the volume is full: nothing is lost, and the next checkpoint may work
        log.debug("cannot copy committed entries into the ledger's database yet", why=str(error))
        return False
    return not busy

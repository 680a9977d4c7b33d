"""Room on the volume: what was committed must reach the database while its file can still grow.

A commit appends to the -wal file. A checkpoint copies what that file holds into the database; after a whole one the
next commit uses the -wal file again from its start (sqlite.org/wal.html). SQLite makes one by itself at 1,000 pages
(4 MB). A small volume is full before that, and then the database cannot grow by what the -wal file holds: no
checkpoint works until somebody makes room. So where room is short, one is made after each commit, and the -wal file
is cut off.
"""

import os
import sqlite3
from pathlib import Path

from tocsin import log
from tocsin.ledger.store import Passing

WAL_KEPT = 4 * 1024 * 1024  # bytes of the -wal file that are kept for the next commits: its size under steady load
SHORT = 4 * WAL_KEPT  # bytes free: less, and the -wal file with one large transaction could fill the volume
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}  # the second where a quota or a limit of the process is reached


def is_short(file: Path) -> bool:
    """Whether the volume of the file has little room left."""
    volume = os.statvfs(file.parent)
    return volume.f_bavail * volume.f_frsize < SHORT


def checkpoint(db: sqlite3.Connection) -> None:
    """Copy what was committed into the database, as far as no reader needs it otherwise. Never waits for one."""
    _checkpoint(db, "PASSIVE")


def give_back(db: sqlite3.Connection) -> bool:
    """The same, and give the volume back what the -wal file took; whether that worked. Never waits for a reader."""
    (patience,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute("PRAGMA busy_timeout = 0")
    try:
        return _checkpoint(db, "TRUNCATE")
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


def made_after(error: Passing, db: sqlite3.Connection) -> bool:
    """Whether the error says that the volume is full, and some room could be given back to it."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in FULL and give_back(db)


def _checkpoint(db: sqlite3.Connection, kind: str) -> bool:
    try:
        ((busy, _, _),) = db.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
    except sqlite3.OperationalError as error:  # the volume is full: nothing is lost, and the next one may work
        log.debug("cannot copy committed entries into the ledger's database yet", why=str(error))
        return False
    return not busy

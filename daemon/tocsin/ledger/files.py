"""The database's files. Somebody may delete, replace or damage them."""

import os
import sqlite3
from pathlib import Path

from tocsin import files
from tocsin.ledger.store import Passing

BESIDE = ("-wal", "-shm")  # files that SQLite keeps next to the open database

# Connections to files that are gone. They must stay open and referenced: when one closes, SQLite deletes the -wal file
# at that path, which may belong to another database now.
abandoned: list[sqlite3.Connection] = []


def make_ready(file: Path) -> None:
    """Create the database file so that only this user can ever open it and the files next to it. Raises OSError, also
    for a symbolic link."""
    if not files.make_own(file):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for kind in (*BESIDE, "-journal"):  # SQLite creates them with the database's mode
        files.make_own(Path(f"{file}{kind}"))


class Files:
    """The files of an open database. SQLite keeps them as long as it is open."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._opened = self._found()

    def are_there(self) -> bool:
        return self._found() == self._opened

    def _found(self) -> list[tuple[int, int] | None]:
        """Return device and inode of each."""
        return [_identity(f"{self._file}{kind}") for kind in ("", *BESIDE)]


def _identity(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def what_to_do(file: Path, error: sqlite3.Error) -> str:
    return (
        f"the ledger {file} is damaged: {error}. Nothing was changed. Restore it from a backup, or save what is"
        f" left (sqlite3 {file.name} .recover) and move it away together with its -wal and -shm files:"
        " Tocsin then creates a new one, without the history"
    )


def passing(file: Path, error: sqlite3.OperationalError) -> Passing:
    return Passing(f"{file}: {error} (disk full, or may this user not write it?)")

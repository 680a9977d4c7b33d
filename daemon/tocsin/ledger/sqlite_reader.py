"""Reads a ledger in SQLite while the daemon writes it: for the pages, `tocsin history` and `tocsin doctor`."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tocsin.ipc.actions import Acted
from tocsin.ipc.history import Actions, Question
from tocsin.ledger import actions, schema, sqlite_find
from tocsin.ledger.sqlite import BUSY_TIMEOUT, FILE
from tocsin.ledger.store import Absent, Examined, Found, Unreadable

STEP = 10_000  # SQLite instructions between looks at the clock
LONGEST = 2.0  # seconds for one search: the asker waits only a little longer
_COLUMNS = (
    "job, due, attempt, last, count, state, reason, trigger, run_id, owner, started, finished, lateness, duration,"
    " outcome, status, detail, reported"
)
_AFTER = f"""
WITH place (of, at) AS (SELECT key, value FROM json_each(:places)
    UNION ALL SELECT job, :since FROM jobs WHERE job NOT IN (SELECT key FROM json_each(:places)))
SELECT {_COLUMNS} FROM place CROSS JOIN slots WHERE job = of AND due >= at ORDER BY due, job, attempt LIMIT :limit
"""


class SqliteReader:
    """`node` is the name of this machine."""

    def __init__(self, folder: Path, node: str = "") -> None:
        self._file = folder / FILE
        self._node = node

    @property
    def name(self) -> str:
        return self._file.name

    def history(
        self, *, job: str | None = None, since: float | None = None, failed: bool = False, limit: int = 50
    ) -> list[dict[str, Any]]:
        wanted = ["1"]
        if job is not None:
            wanted.append("job = :job")
        if since is not None:
            wanted.append("last >= :since")
        if failed:
            wanted.append("(outcome != 'success' OR state = 'missed')")
        return self._rows(
            f"SELECT {_COLUMNS} FROM slots WHERE {' AND '.join(wanted)} ORDER BY due DESC, attempt DESC LIMIT :limit",
            {"job": job, "since": since, "limit": limit},
        )[::-1]

    def places(self) -> dict[str, float]:
        found = self._fetched(
            "SELECT job, (SELECT max(due) FROM slots WHERE slots.job = jobs.job) AS due FROM jobs", {}
        )
        return {row["job"]: row["due"] for row in found if row["due"] is not None}

    def after(self, places: Mapping[str, float], since: float, limit: int) -> list[dict[str, Any]]:
        return self._rows(_AFTER, {"places": json.dumps(places), "since": since, "limit": limit})

    def _rows(self, sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        found = [dict(row) for row in self._fetched(sql, values)]
        for row in found:
            row["reported"] = json.loads(row["reported"]) if row["reported"] else {}
        return found

    def _fetched(self, sql: str, values: dict[str, Any]) -> list[sqlite3.Row]:
        if not self._file.exists():
            raise Absent(str(self._file))
        try:
            with self._opened() as db:
                db.row_factory = sqlite3.Row
                return db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise Unreadable(str(error)) from error

    def find(self, question: Question) -> Found:
        if not self._file.exists():
            raise Absent(str(self._file))
        try:
            with self._opened() as db:
                _give_up_at(db, time.monotonic() + LONGEST)
                return sqlite_find.find(db, question, self._node)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise Unreadable(f"it takes longer than {LONGEST:g} s: ask for less") from error
            raise Unreadable(str(error)) from error

    def actions(self, question: Actions) -> list[Acted]:
        if not self._file.exists():
            raise Absent(str(self._file))
        try:
            with self._opened() as db:
                _give_up_at(db, time.monotonic() + LONGEST)
                return actions.find(db, question)
        except sqlite3.Error as error:
            raise Unreadable(str(error)) from error

    def examine(self, seconds: float) -> Examined:
        """Check the whole file (PRAGMA quick_check)."""
        if not self._file.exists():
            return Examined("absent", "does not exist yet; the daemon creates it at its first start")
        size = self._file.stat().st_size
        if size == 0:
            return Examined("absent", "is empty; the daemon fills it at its start")
        try:
            with self._opened() as db:
                return _examined(db, seconds, size)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return Examined("busy", f"could not be read: {error}", "try again")
            return Examined("unusable", f"cannot be read: {error}", "who owns it and its folder?")
        except sqlite3.DatabaseError as error:
            return _damaged(str(error))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self._file.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT)) as db:
            yield db


def _give_up_at(db: sqlite3.Connection, end: float) -> None:
    db.set_progress_handler(lambda: int(time.monotonic() > end), STEP)


def _examined(db: sqlite3.Connection, seconds: float, size: int) -> Examined:
    _give_up_at(db, time.monotonic() + seconds)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 0 < version <= schema.VERSION:  # the next start upgrades an earlier version
        advice = "use the Tocsin version that wrote it" if version > schema.VERSION else "is it a ledger? move it away"
        return Examined("unusable", f"has schema {version}, and this Tocsin knows {schema.VERSION}", advice)
    succeeded: frozenset[str] = frozenset()
    try:
        succeeded = frozenset(job for (job,) in db.execute("SELECT job FROM jobs WHERE last_outcome = 'success'"))
        (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return Examined("sound", f"the first {seconds:g} s of reading found no damage", "", size, succeeded)
    return Examined("sound", "undamaged", "", size, succeeded) if said == "ok" else _damaged(said)


def _damaged(why: str) -> Examined:
    return Examined(
        "unusable",
        f"is damaged: {' '.join(why.split())[:200]}",
        "stop the daemon; restore it from a backup, or save what is left (sqlite3 … .recover) and move it away with"
        " its -wal and -shm files: Tocsin begins a new one",
    )

"""Reads a ledger on PostgreSQL while the daemon writes it: for the pages, `tocsin history` and `tocsin doctor`."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from tocsin.config.ledger import Postgres
from tocsin.ipc.actions import Acted
from tocsin.ipc.history import Actions, Question
from tocsin.ledger import pg_actions, pg_find, pg_schema
from tocsin.ledger.link import Link
from tocsin.ledger.store import Absent, Examined, Found, Passing, Unreadable, Unusable


class PostgresReader:
    def __init__(self, ledger: Postgres) -> None:
        self._ledger = ledger
        self._link = Link(ledger)

    @property
    def name(self) -> str:
        return str(self._ledger)

    def history(
        self, *, job: str | None = None, since: float | None = None, failed: bool = False, limit: int = 50
    ) -> list[dict[str, Any]]:
        wanted = []
        if job is not None:
            wanted.append("job = %(job)s")
        if since is not None:
            wanted.append("last >= %(since)s")
        if failed:
            wanted += [pg_find.TROUBLE, "(outcome IS NOT NULL OR state = 'missed')"]
        values = {"job": job, "since": since, "limit": limit}
        with self._read() as db:
            found = pg_find.rows(db, self._ledger.schema, wanted, values)
        for one in found:
            one["reported"] = one["reported"] or {}
        return found[::-1]

    def places(self) -> dict[str, float]:
        with self._read() as db:
            return pg_find.places(db, self._ledger.schema)

    def after(self, places: Mapping[str, float], since: float, limit: int) -> list[dict[str, Any]]:
        with self._read() as db:
            found = pg_find.after(db, self._ledger.schema, places, since, limit)
        for one in found:
            one["reported"] = one["reported"] or {}
        return found

    def find(self, question: Question) -> Found:
        with self._read() as db:
            return pg_find.find(db, self._ledger.schema, question)

    def actions(self, question: Actions) -> list[Acted]:
        with self._read() as db:
            return pg_actions.find(db, self._ledger.schema, question)

    @contextlib.contextmanager
    def _read(self) -> Iterator[psycopg.Connection[Any]]:
        """Raises Absent and Unreadable."""
        try:
            with self._link.transaction(read_only=True) as db:
                if not self._is_there(db):
                    raise Absent(f"schema {self._ledger.schema} of {self._ledger}")
                pg_schema.check(db, self._ledger.schema)
                yield db
        except (Passing, Unusable) as error:
            raise Unreadable(str(error)) from error
        finally:
            self._link.close()

    def examine(self, seconds: float) -> Examined:  # noqa: ARG002  every transaction has a time limit
        s = self._ledger.schema
        began = time.monotonic()
        try:
            with self._link.transaction(read_only=True) as db:
                connected = time.monotonic()
                if not self._is_there(db):
                    why = f"has no tables in schema {s} yet; the daemon creates them at its first start"
                    return Examined("absent", why)
                pg_schema.check(db, s)
                version, off = db.execute(
                    "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8"
                ).fetchone() or ("?", 0.0)
                answered, clock = time.monotonic(), float(off) - time.time()
                size = pg_schema.size(db, s)
                succeeded = db.execute(f"SELECT job FROM \"{s}\".jobs WHERE last_outcome = 'success'").fetchall()
        except (Passing, Unusable) as error:
            return Examined("unusable", f"cannot be used: {error}", "is the server up, and may this user use it?")
        finally:
            self._link.close()
        detail = (
            f"PostgreSQL {version}, connected in {(connected - began) * 1000:.0f} ms, answers in"
            f" {(answered - connected) * 1000:.0f} ms, its clock {clock:+.1f} s from this machine's"
        )
        return Examined("sound", detail, "", size, frozenset(name for (name,) in succeeded))

    def _is_there(self, db: psycopg.Connection[Any]) -> bool:
        name = f'"{self._ledger.schema}".meta'
        row = db.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
        return bool(row and row[0])

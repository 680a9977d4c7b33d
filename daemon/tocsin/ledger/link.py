"""The connection to PostgreSQL: how it is made, what bounds it in time, and what its errors mean.

It works through a pooler in transaction mode: no prepared statements, no session's settings, explicit transactions.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import Connection

from tocsin.config.ledger import Postgres
from tocsin.config.secrets import SecretError
from tocsin.ledger.store import Passing, Unusable
from tocsin.redact import redact

LONGEST = 2.5  # seconds of a transaction, by this machine's clock: a commit that waits for a standby ends by no other
CONNECT = {
    "connect_timeout": "2",  # seconds, for each address
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",  # ms: what was sent into a void is noticed; keepalives alone would not see it
    "application_name": "tocsin",
    "client_encoding": "utf8",
}
# A stopped daemon must hold no lock, and a lock must not hold a daemon.
LOCAL = (
    "SELECT set_config('statement_timeout', '2s', true), set_config('lock_timeout', '1s', true),"
    " set_config('idle_in_transaction_session_timeout', '3s', true)"
)
NOT_REPLICATED = "01000"  # the notice of a commit that stopped waiting for its standby: it looks like a success
logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what it would say of a lost connection is said here


class Link:
    """One connection, made when it is needed and thrown away at the first error."""

    def __init__(self, ledger: Postgres) -> None:
        self.ledger = ledger
        self._db: Connection[Any] | None = None
        self._notice = ""

    @property
    def is_open(self) -> bool:
        """As far as is known: the server may have closed it meanwhile."""
        return self._db is not None and not self._db.closed

    @contextlib.contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[Connection[Any]]:
        """Raises Passing and Unusable; then nothing of it is certain but that it was begun."""
        try:
            db = self._opened()
            self._notice = ""
            with _bounded(db), db.pipeline():
                db.execute("BEGIN READ ONLY" if read_only else "BEGIN")
                db.execute(LOCAL)
                yield db
                done = db.execute("COMMIT")
            if done.statusmessage != "COMMIT":
                raise Passing(f"{self.ledger}: the transaction was rolled back")
        except psycopg.Error as error:
            self.close()
            raise self._judged(error) from error
        except BaseException:
            self.close()
            raise
        if self._notice:
            self.close()
            raise Passing(f"{self.ledger}: {self._notice}")

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _opened(self) -> Connection[Any]:
        if self._db is None or self._db.closed:
            self._db = connect(self.ledger)
            self._db.add_notice_handler(self._on_notice)
        return self._db

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.sqlstate == NOT_REPLICATED:
            self._notice = f"{notice.message_primary}: a commit is not on the standby"

    def _judged(self, error: psycopg.Error) -> Passing | Unusable:
        why = f"{self.ledger}: {in_words(error)}"
        if error.sqlstate == "42501":
            return Unusable(
                f"{why}. As the owner of the database run: CREATE SCHEMA {self.ledger.schema} AUTHORIZATION the_user"
            )
        if isinstance(error, psycopg.DataError | psycopg.ProgrammingError | psycopg.NotSupportedError):
            return Unusable(why)  # tables that are others than ours, perhaps: no retry will mend that
        return Passing(why)


def connect(ledger: Postgres) -> Connection[Any]:
    """Raises psycopg.Error, Passing."""
    parameters = {**CONNECT, **dict(ledger.parameters)}
    if len(ledger.hosts) > 1:
        parameters.setdefault("target_session_attrs", "read-write")
    try:
        if ledger.password:
            parameters["password"] = ledger.password.reread().value
    except SecretError as error:
        raise Passing(f"{ledger}: ledger_password_file: {error}") from error
    return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)  # type: ignore[arg-type]


def in_words(error: psycopg.Error) -> str:
    """On one line. Of a server's errors their first line; none of libpq's repeats an address as it was written, since
    it is never given one."""
    said = error.diag.message_primary or str(error) or type(error).__name__
    return redact(" ".join(said.split())[:300])


@contextlib.contextmanager
def _bounded(db: Connection[Any]) -> Iterator[None]:
    """Shuts the connection down when the time is over, so that whatever waits for it fails. No signal does that: the
    pages' questions are answered in a thread."""
    wire = socket.socket(fileno=os.dup(db.fileno()))

    def over() -> None:
        with contextlib.suppress(OSError):  # it is closed already
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(LONGEST, over)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        wire.close()

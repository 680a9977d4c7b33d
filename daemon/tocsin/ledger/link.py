"""The connection to PostgreSQL: its settings, its time limits, and what its errors mean.

It works through a pooler in transaction mode: no prepared statements, no session settings, explicit transactions.
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

LONGEST = (
    2.5  # seconds for a transaction, by this machine's clock: the server never ends a commit that awaits a standby
)
CONNECT = {
    "connect_timeout": "2",  # seconds, for each address
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",  # ms without an acknowledgement: keepalives do not notice that sent data is lost
    "application_name": "tocsin",
    "client_encoding": "utf8",
}
# A daemon that was stopped (SIGSTOP) must not hold a lock, and a lock must not block a daemon for long.
LOCAL = (
    "SELECT set_config('statement_timeout', '2s', true), set_config('lock_timeout', '1s', true),"
    " set_config('idle_in_transaction_session_timeout', '3s', true)"
)
NOT_REPLICATED = "01000"  # the notice of a commit that stopped waiting for its standby, which looks like a success
logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # lost connections are reported here


class Link:
    """One connection. It is opened when needed and closed at the first error."""

    def __init__(self, ledger: Postgres) -> None:
        self.ledger = ledger
        self._db: Connection[Any] | None = None
        self._notice = ""

    @property
    def is_open(self) -> bool:
        """Whether it is open, as far as is known: the server may have closed it meanwhile."""
        return self._db is not None and not self._db.closed

    @contextlib.contextmanager
    def transaction(self, *, read_only: bool = False) -> Iterator[Connection[Any]]:
        """Raises Passing and Unusable. After that it is not known whether the transaction was committed."""
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
            return Unusable(why)  # perhaps the tables are not Tocsin's: no retry helps
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
    """Describe the error in one line: the first line of a server's error. libpq never gets the address as it was
    written, so its errors cannot repeat it."""
    said = error.diag.message_primary or str(error) or type(error).__name__
    return redact(" ".join(said.split())[:300])


@contextlib.contextmanager
def _bounded(db: Connection[Any]) -> Iterator[None]:
    """Shut the connection down when the time is over, so that whatever waits for it fails. A signal cannot do that,
    because the pages' questions are answered in a thread."""
    wire = socket.socket(fileno=os.dup(db.fileno()))

    def over() -> None:
        with contextlib.suppress(OSError):  # it is already closed
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(LONGEST, over)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        wire.close()

"""The connection to PostgreSQL: its settings, its time limits, and what its errors mean.

It works through a pooler in transaction mode: no prepared statements, no session settings, explicit transactions.
"""

import contextlib
import logging
import os
import re
import socket
import ssl
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
PATIENT = (
    "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '5s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)"
)
READ_ONLY = "25006"  # a standby, or a demoted primary: the next connection may lead to another server
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
    def transaction(self, *, read_only: bool = False, patient: bool = False) -> Iterator[Connection[Any]]:
        """A patient one is not limited in time. Raises Passing and Unusable. After that it is not known whether the
        transaction was committed."""
        try:
            db = self._opened()
            self._notice = ""
            with contextlib.nullcontext(threading.Event()) if patient else _bounded(db) as over:
                try:
                    with db.pipeline():
                        db.execute("BEGIN READ ONLY" if read_only else "BEGIN")
                        db.execute(PATIENT if patient else LOCAL)
                        yield db
                        done = db.execute("COMMIT")
                except psycopg.Error as error:
                    if over.is_set():
                        raise Passing(f"{self.ledger}: no answer within {LONGEST:g} s") from error
                    raise
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
        if error.sqlstate == READ_ONLY:
            return Passing(
                f"{self.ledger} takes no writes: it is a standby, or a primary that was demoted ({in_words(error)})"
            )
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
    if parameters.get("sslmode") == "verify-full" and parameters.get("sslrootcert", "system") == "system":
        parameters |= _public_authorities()
    try:
        if ledger.password:
            parameters["password"] = ledger.password.reread().value
    except SecretError as error:
        raise Passing(f"{ledger}: ledger_password_file: {error}") from error
    return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)  # type: ignore[arg-type]


def _public_authorities() -> dict[str, str]:
    """Name the file with this machine's authorities. psycopg's own libpq looks for "system" where its builder had it,
    which may be nowhere."""
    paths = ssl.get_default_verify_paths()
    return {"sslrootcert": os.environ.get(paths.openssl_cafile_env) or paths.cafile or "system"}


def in_words(error: psycopg.Error) -> str:
    """Describe the error in one line: the first line of a server's error, or what each of several hosts said. libpq
    never gets the address as it was written, so its errors cannot repeat it."""
    said = error.diag.message_primary or str(error) or type(error).__name__
    each = [f"{host}:{port or '5432'}: {_short(why)}" for host, port, why in _ATTEMPT.findall(said)]
    return redact("; ".join(each) if each else _short(said))[:500]


_ATTEMPT = re.compile(  # psycopg's list of them
    r"^- host: '([^']*)'(?:, port: '([^']*)')?(?:, hostaddr: '[^']*')?: (.*(?:\n(?!- host: ).*)*)", re.MULTILINE
)
_OBVIOUS = re.compile(  # that a connection failed, and to what
    r"connection (?:failed|is bad): |connection to server (?:at|on socket) \"[^\"]*\"(?:, port \d+)? failed: "
    r"|\s*Is the server running .*\?"
)


def _short(said: str) -> str:
    return " ".join(_OBVIOUS.sub("", said).split())[:300]


@contextlib.contextmanager
def _bounded(db: Connection[Any]) -> Iterator[threading.Event]:
    """Shut the connection down when the time is over, so that whatever waits for it fails; the event says so. A signal
    cannot do that, because the pages' questions are answered in a thread."""
    wire = socket.socket(fileno=os.dup(db.fileno()))
    is_over = threading.Event()

    def over() -> None:
        is_over.set()
        with contextlib.suppress(OSError):  # it is already closed
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(LONGEST, over)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()
        wire.close()

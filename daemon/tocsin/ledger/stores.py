"""Chooses the store. No other module knows them all.

It imports psycopg only when it is used, in the ledger's process and in commands that read: it is an optional extra, and
takes memory that the other processes do not need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tocsin.config import Config
from tocsin.config.ledger import Postgres
from tocsin.ipc.actions import Acted
from tocsin.ipc.history import Actions, Question
from tocsin.ledger.place import place_of
from tocsin.ledger.sqlite import SqliteLedger
from tocsin.ledger.sqlite_reader import SqliteReader
from tocsin.ledger.store import Examined, Found, Reader, Store, Unreadable, Unusable

if TYPE_CHECKING:  # psycopg is an extra
    from tocsin.ledger.copying import Copied
    from tocsin.ledger.pg_nodes import Nodes

HOW = "a ledger on PostgreSQL needs psycopg: pip install 'tocsin[postgres]'"


def opener(config: Config, session: str) -> Callable[[], Store]:
    """Return a function that opens the ledger for writing. It raises tocsin.ledger.store.Passing and Unusable. After
    Passing, call it again."""
    if config.ledger == "sqlite":
        return lambda: SqliteLedger(config.state_dir, session, config.retention, config.replies_retention)
    try:
        from tocsin.ledger import opening
    except ImportError as error:
        return _unusable(_why(error))
    try:
        place = place_of(config.state_dir)
    except OSError as error:
        return _unusable(f"cannot use {error.filename or config.state_dir}: {error.strerror}")
    return opening.Opener(config.ledger, config.node, place, session, config.retention, config.replies_retention)


def copy_to_postgres(config: Config) -> "Copied":
    """Copy the ledger in the state folder to the server that the configuration names. Raises what `copying.copy`
    does."""
    try:
        from tocsin.ledger import copying
    except ImportError as error:
        raise Unusable(_why(error)) from error
    assert isinstance(config.ledger, Postgres)
    return copying.copy(config.state_dir, config.ledger, config.node)


def nodes(ledger: Postgres) -> "Nodes":
    """The nodes that share this ledger. Raises Absent and Unreadable."""
    try:
        from tocsin.ledger import pg_nodes
    except ImportError as error:
        raise Unreadable(_why(error)) from error
    return pg_nodes.read(ledger)


def reader(ledger: Postgres | str, state_dir: Path, node: str = "") -> Reader:
    """Return a reader of this ledger. `node` is the name of this machine, which the pages show."""
    if not isinstance(ledger, Postgres):
        return SqliteReader(state_dir, node)
    try:
        from tocsin.ledger import pg_reader
    except ImportError as error:
        return _NoReader(str(ledger), _why(error))
    return pg_reader.PostgresReader(ledger)


@dataclass(frozen=True)
class _NoReader:
    """A `Reader` of a ledger that cannot be read."""

    name: str
    why: str

    def history(self, **_: object) -> list[dict[str, Any]]:
        raise Unreadable(self.why)

    def places(self) -> dict[str, float]:
        raise Unreadable(self.why)

    def after(self, places: Mapping[str, float], since: float, limit: int) -> list[dict[str, Any]]:  # noqa: ARG002
        raise Unreadable(self.why)

    def find(self, question: Question) -> Found:  # noqa: ARG002
        raise Unreadable(self.why)

    def actions(self, question: Actions) -> list[Acted]:  # noqa: ARG002
        raise Unreadable(self.why)

    def examine(self, seconds: float) -> Examined:  # noqa: ARG002
        return Examined("unusable", "cannot be read", self.why)


def _unusable(why: str) -> Callable[[], NoReturn]:
    def unusable() -> NoReturn:
        raise Unusable(why)

    return unusable


def _why(error: ImportError) -> str:
    return HOW if error.name == "psycopg" else f"{HOW} ({error})"

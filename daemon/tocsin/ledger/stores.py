"""Which store keeps the slots: the one place that knows them all."""

from pathlib import Path

from tocsin.config import Config
from tocsin.ledger.sqlite import SqliteLedger
from tocsin.ledger.sqlite_reader import SqliteReader
from tocsin.ledger.store import Reader, Store


def opened(config: Config, session: str) -> Store:
    """The ledger of this configuration, opened to write. Raises tocsin.ledger.store.Passing and Unusable."""
    return SqliteLedger(config.state_dir, session, config.retention)


def reader(state_dir: Path, node: str = "") -> Reader:
    """`node` is the name of this machine, where the pages show it."""
    return SqliteReader(state_dir, node)

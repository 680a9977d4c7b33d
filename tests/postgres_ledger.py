"""A ledger on PostgreSQL for the tests that SQLite's ledger has too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger_rig import FOR_EVER, Ledger
from tocsin.config.ledger import Postgres
from tocsin.ledger.opening import Opener
from tocsin.ledger.pg_reader import PostgresReader
from tocsin.ledger.place import place_of
from tocsin.ledger.store import Reader


class OnPostgres(Ledger):
    def __init__(self, folder: Path, session: str, kept: Postgres, node: str = "here") -> None:
        self.kept, self.node = kept, node
        super().__init__(folder, session)

    def opener(self, session: str, keep: float = FOR_EVER) -> Opener:
        return Opener(self.kept, self.node, place_of(self.folder), session, keep)

    def opened(self, session: str) -> Any:
        return self.opener(session)()

    def reader(self) -> Reader:
        return PostgresReader(self.kept)

    def reopened(self, session: str) -> "OnPostgres":
        return OnPostgres(self.folder, session, self.kept, self.node)

    @staticmethod
    def storable(text: str) -> str:
        return text.replace("\0", "␀")

    def close(self) -> None:
        self.ledger.close()


Make = Callable[[Path], OnPostgres]

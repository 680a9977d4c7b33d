"""What the ledger's process, the commands and the doctor need of a store, whichever keeps the slots.

A new store is one more class that fits `Store`, one that fits `Reader`, and a line in `stores.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tocsin.ipc.history import Place, Question, Row
from tocsin.ipc.job import Deny, Finished, Grant
from tocsin.ipc.ledger import Entry, JobHistory


class Passing(Exception):
    """The store refuses for now (a full disk, a lock, a lost connection). The same call may work later."""


class Unusable(Exception):
    """The store cannot serve as a ledger, and no retry will mend that."""


class Held(Unusable):
    """Another daemon has the ledger."""


class Moved(Exception):
    """The opened ledger was deleted or replaced. A new process opens what is there now."""


class Absent(Exception):
    """There is no ledger to read yet."""


class Unreadable(Exception):
    """The ledger cannot be read, and why."""


class Store(Protocol):
    """The ledger of one daemon, opened to write. To open one raises Passing and Unusable, and so does each method.

    Entries are numbered within a session, which is one life of the daemon, and applied once.
    """

    @property
    def name(self) -> str:
        """What people know it by, for messages: a path, or an address without its password."""

    @property
    def seq(self) -> int:
        """The last entry of this session that is durable."""

    @property
    def before(self) -> str | None:
        """What kept slots from running until this session began, or None where nothing did."""

    def recover(self, now: float) -> list[Finished]:
        """Mark the runs that an earlier session left open as lost, and return them. `now` is Unix time."""

    def commit(self, entries: Sequence[Entry]) -> list[Grant | Deny | JobHistory]:
        """Apply the entries in one transaction, and return the answers that they get.

        Where it raises Passing nothing was applied, and the same entries may come again. Raises Moved, too.
        """

    def idle(self, now: float) -> float:
        """Do some of what can wait (delete old rows, say). Called while nothing is to be committed.

        Returns the seconds until it wants to be called again. `now` is Unix time. Raises Passing and Moved.
        """

    def stopped(self, now: float) -> None:
        """The session ends in order."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Examined:
    """What a look at a ledger found. `detail` says it in words, `advice` what to do about it ("" when all is well)."""

    verdict: Literal["absent", "sound", "busy", "unusable"]
    detail: str
    advice: str = ""
    size: int | None = None  # bytes
    succeeded: frozenset[str] = frozenset()  # the jobs whose last run was a success


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of slots, newest first, and from where to go on if there may be more."""

    rows: Sequence[Row]
    more: Place | None = None


class Reader(Protocol):
    """Reads the ledger beside the process that writes it."""

    @property
    def name(self) -> str:
        """What people know it by, in short."""

    def history(
        self, *, job: str | None = None, since: float | None = None, failed: bool = False, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The latest rows, oldest first, as dicts with the columns of `slots`. Raises Absent and Unreadable."""

    def find(self, question: Question) -> Found:
        """What the pages show, in a bounded time. Raises Absent, Unreadable and OSError."""

    def examine(self, seconds: float) -> Examined:
        """Look for damage, for so long at most. Raises PermissionError."""

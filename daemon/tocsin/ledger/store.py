"""The interface of a store, for the ledger's process, the commands and the doctor.

A new store needs a class that implements `Store`, one that implements `Reader`, and a line in `stores.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tocsin.ipc.actions import Acted
from tocsin.ipc.history import Actions, Place, Question, Row
from tocsin.ipc.job import Finished
from tocsin.ipc.ledger import Entry, LedgerRoom, Told


class Passing(Exception):
    """The store refuses for now (a full disk, a lock, a lost connection). The same call may work later."""


class Unusable(Exception):
    """The store cannot serve as a ledger, and no retry helps."""


class Held(Unusable):
    """Another daemon holds the ledger."""


class Moved(Exception):
    """The opened ledger was deleted or replaced. A new process opens what is there now."""


class Absent(Exception):
    """The ledger does not exist yet."""


class Unreadable(Exception):
    """The ledger cannot be read, and why."""


class Store(Protocol):
    """The ledger of one daemon, opened for writing. Opening it raises Passing and Unusable, and so does each method.

    Entries are numbered within a session, which is one start of the daemon. Each is applied once.
    """

    @property
    def name(self) -> str:
        """Its name in messages: a path, or an address without the password."""

    @property
    def seq(self) -> int:
        """The last committed entry of this session."""

    @property
    def before(self) -> str | None:
        """Why no slots ran before this session. None for the first session, or if only this process started again."""

    def recover(self, now: float) -> list[Finished]:
        """Record the runs that an earlier session left unfinished as lost, and return them. `now` is Unix time."""

    @property
    def epoch(self) -> int:
        """How often this session has joined the nodes that share the ledger; 0 if only one daemon can use it."""

    def commit(self, entries: Sequence[Entry]) -> list[Told]:
        """Apply the entries in one transaction, and return the answers.

        May also raise Moved. If it raises Passing, call it again with the same entries.
        """

    def beat(self, now: float) -> tuple[list[Told], float]:
        """Look after the nodes that share the ledger: what is to be told of them, and the seconds until it wants to be
        called again, also while there is much to commit. Raises Passing, Unusable and Moved."""

    def idle(self, now: float) -> float:
        """Do some work that can wait, such as to delete old rows. Called while there is nothing to commit.

        Returns the seconds until it must be called again. `now` is Unix time. Raises Passing and Moved.
        """

    def room(self) -> LedgerRoom:
        """Measure how many bytes the ledger takes, and how many are left to it. Raises Passing, Unusable and Moved."""

    def stopped(self, now: float) -> None:
        """Record that the session ends cleanly."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of an examination. `detail` describes it. `advice` says what to do about it, or is ""."""

    verdict: Literal["absent", "sound", "busy", "unusable"]
    detail: str
    advice: str = ""
    size: int | None = None  # bytes
    succeeded: frozenset[str] = frozenset()  # the jobs whose last run was a success


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of slots, newest first, and where to continue if there may be more."""

    rows: Sequence[Row]
    more: Place | None = None


class Reader(Protocol):
    """Reads the ledger while another process writes it."""

    @property
    def name(self) -> str:
        """Its short name in messages."""

    def history(
        self, *, job: str | None = None, since: float | None = None, failed: bool = False, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Return the latest rows, oldest first, as dicts with the columns of `slots`. Raises Absent and Unreadable."""

    def places(self) -> dict[str, float]:
        """Return the due instant of the latest slot of each job. Raises Absent and Unreadable."""

    def after(self, places: Mapping[str, float], since: float, limit: int) -> list[dict[str, Any]]:
        """Return the rows of each job from its place on, that one included, and of other jobs those due at `since` or
        later. At most `limit`, oldest first, as dicts like those of `history`. Raises Absent and Unreadable."""

    def find(self, question: Question) -> Found:
        """Find slots for the pages, within a limited time. Raises Absent, Unreadable and OSError."""

    def actions(self, question: Actions) -> list[Acted]:
        """Return the actions that the question asks for, and one more if there is one. Raises as `find`."""

    def examine(self, seconds: float) -> Examined:
        """Look for damage for at most `seconds`. Raises PermissionError."""

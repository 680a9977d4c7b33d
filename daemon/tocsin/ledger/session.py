"""This node's part in the ledger on PostgreSQL: its row in `nodes`, which is its lease and its fence.

Each transaction first locks that row and renews the lease. A node that gives up another changes the other's row. So a
node that was given up no longer finds its row, and its transaction writes nothing. It then joins again, with the next
epoch. The row also counts the applied entries: if the connection breaks at COMMIT, the entries are sent again, and the
count tells which were committed.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from psycopg import Connection

from tocsin import log
from tocsin.config.ledger import Postgres
from tocsin.ipc.cluster import GivenUp
from tocsin.ledger import pg_schema
from tocsin.ledger.link import Link
from tocsin.ledger.peers import Contact, Peer
from tocsin.ledger.statements import Statements
from tocsin.ledger.store import Held, Passing
from tocsin.timestamps import began, boottime

STEP = 0.05  # seconds: if `began` differs by more, the clock was set
T = TypeVar("T")


class NotAlive(Passing):
    """The other nodes gave this one up. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Node:
    """This node, as it joins. `session` identifies this start of its daemon, `place` its state folder."""

    session: str
    node: str
    place: str
    version: str

    def joining(self, epoch: int) -> dict[str, Any]:
        return {**asdict(self), "epoch": epoch, "began": began()}


class Fence:
    """The node's own row, locked: to give this node up, another one waits until this transaction has ended."""

    def __init__(self, row: Callable[[], tuple[Any, ...] | None] = lambda: None) -> None:
        self._row = row
        self._seq: int | None = None

    @property
    def seq(self) -> int:
        """The last entry that is applied. Raises NotAlive if the row is gone."""
        if self._seq is None:
            row = self._row()
            if row is None:
                raise NotAlive("the other nodes gave this one up")
            self._seq = int(row[0])
        return self._seq


class Session:
    """`joined_anew` holds what the parent must be told of joining again. `roster` is the hash of the node's roster."""

    def __init__(self, link: Link, sql: Statements, me: Node, epoch: int) -> None:
        self.sql, self.me, self.epoch = sql, me, epoch
        self.contact = Contact()
        self.fence = Fence()
        self.roster = ""
        self.joined_anew: list[GivenUp] = []
        self._link = link

    @property
    def owner(self) -> str:
        """Return the owner in the rows of its jobs."""
        return f"{self.me.session}:{self.epoch}"

    @property
    def here(self) -> dict[str, Any]:
        """Return the parameters that identify its row."""
        return {"session": self.me.session, "epoch": self.epoch}

    def peers(self, db: Connection[Any]) -> list[Peer]:
        """Return all nodes, in the order in which they joined."""
        return [Peer(*row) for row in db.execute(self.sql.nodes).fetchall()]

    @contextlib.contextmanager
    def transaction(self, *, seq: int = 0, clock_off: float | None = None) -> Iterator[Connection[Any]]:
        """A transaction behind the fence, which renews the lease. The fence's row is requested first, and looked at
        before the commit at the latest. `seq` is the last entry that the transaction applies. Raises NotAlive."""
        with self._link.transaction() as db:
            self.fence = Fence(db.execute(self.sql.fence, self.here).fetchone)
            yield db
            values = {"seq": max(seq, self.fence.seq), "began": began(), "step": STEP, "clock_off": clock_off}
            db.execute(self.sql.renew, {**self.here, **values})
        self.contact.made(boottime())

    def alive(self, work: Callable[[], T]) -> T:
        """Return the result of `work`. A node that was given up joins again first."""
        try:
            return self._anew(work)
        except NotAlive:
            self._rejoin()
            return self._anew(work)

    def _anew(self, work: Callable[[], T]) -> T:
        """Do the work, and once more if the server had closed the connection meanwhile, as at its restart."""
        was_open = self._link.is_open
        try:
            return work()
        except NotAlive:
            raise
        except Passing as error:
            if not was_open:
                raise
            log.debug("the ledger connects again", why=str(error))
            return work()

    def _rejoin(self) -> None:
        with self._link.transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (pg_schema.LOCK,))
            found = self.peers(db)
            if any(one.is_live and one.node == self.me.node and one.session != self.me.session for one in found):
                raise Held(taken_over(self._link.ledger, self.me.node))
            epoch = next((one.epoch for one in found if one.session == self.me.session), self.epoch + 1)
            db.execute(self.sql.join, self.me.joining(epoch))
            if self.roster:
                db.execute(self.sql.say, {**self.here, "epoch": epoch, "state": None, "roster": self.roster})
        self.epoch = epoch
        self.joined_anew.append(GivenUp(epoch))


def taken_over(ledger: Postgres, name: str) -> str:
    return (
        f"this daemon was silent for too long: another one has taken over the node's name {name} in schema"
        f" {ledger.schema} of {ledger}"
    )

"""Opens the ledger on PostgreSQL: makes the tables, and joins the nodes that share them."""

import time

from tocsin import __version__
from tocsin.config.ledger import Postgres
from tocsin.ledger import pg_schema
from tocsin.ledger.link import Link
from tocsin.ledger.peers import CONTACT, Peer
from tocsin.ledger.postgres import PostgresLedger
from tocsin.ledger.session import Node
from tocsin.ledger.statements import Statements
from tocsin.ledger.store import Held, Passing

WEEK = 7 * 86400.0
ANOTHER = 10.0  # seconds to wait for another daemon with this node's name: it may be about to end


class Waiting(Passing):
    """Another daemon has this node's name."""


class Opener:
    """Opens the ledger for one session. It is called again until that succeeds. `place` identifies the state folder.
    Only one daemon at a time holds it, so an earlier session of that place has certainly ended. `node` is this
    machine's name."""

    def __init__(
        self, ledger: Postgres, node: str, place: str, session: str, retention: float, replies: float = WEEK
    ) -> None:
        self._ledger, self._kept = ledger, (retention, min(retention, replies))
        self._me = Node(session, node, place, __version__)
        self._since: float | None = None  # monotonic: when another daemon was first found to have the name
        self._seen: tuple[str, float] | None = None  # the session whose lease had ended, and since when it is watched

    def __call__(self) -> PostgresLedger:
        """Raises Passing and Unusable."""
        link = Link(self._ledger)
        try:
            return self._open(link)
        except BaseException as error:
            link.close()
            if not isinstance(error, Waiting):
                self._seen = None  # contact was lost, so perhaps the other daemon could not renew its lease either
            raise

    def _open(self, link: Link) -> PostgresLedger:
        sql = Statements(self._ledger.schema)
        epoch, seq = 0, 0
        before: str | None = None
        with link.transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (pg_schema.LOCK,))
            pg_schema.set_up(db, self._ledger.schema)
            for peer in [Peer(*row) for row in db.execute(sql.nodes).fetchall()]:
                if peer.session == self._me.session:
                    epoch, seq, before = peer.epoch, peer.seq, None
                    continue
                here = peer.place == self._me.place
                if peer.is_live and (here or peer.node == self._me.node):
                    if not here and not self._is_over(peer):
                        self._wait_for(peer)
                    db.execute(sql.bury, (peer.session,))
                if not epoch and (here or peer.node == self._me.node):
                    before = "the daemon was stopped" if peer.state == "left" else "the daemon had died"
            joined = db.execute(sql.join, self._me.joining(epoch or 1)).fetchone()
            epoch = int(joined[0]) if joined else epoch
            db.execute(sql.disown, (before or "the daemon had died",))
        return PostgresLedger(link, sql, self._me, epoch, seq, before, *self._kept)

    def _is_over(self, peer: Peer) -> bool:
        """Whether its lease has ended, and it has not renewed it since, although it could have."""
        if peer.left >= 0:
            self._seen = None
            return False
        if self._seen is None or self._seen[0] != peer.session:
            self._seen = peer.session, time.monotonic()
        return time.monotonic() - self._seen[1] >= CONTACT

    def _wait_for(self, peer: Peer) -> None:
        now = time.monotonic()
        self._since = self._since or now
        held = f"another daemon in schema {self._ledger.schema} of {self._ledger} has the node's name {peer.node}"
        if peer.state == "live" and not self._seen and now - self._since > ANOTHER:
            raise Held(f"{held}: give each daemon a name of its own (`node` in [daemon], or TOCSIN_NODE)")
        raise Waiting(f"{held}; waiting for it to end")

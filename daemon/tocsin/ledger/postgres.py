"""The ledger on PostgreSQL. One daemon at a time uses a schema: it holds a lease, by the server's clock.

Each transaction first locks the daemon's own row in `nodes`. A session that gives up a daemon changes that row. So a
daemon that was given up no longer finds its row, and its transaction writes nothing. The row also counts the applied
entries: if the connection breaks at COMMIT, the entries are sent again, and the count tells which were committed.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from psycopg import Connection

from tocsin import __version__, log
from tocsin.config.ledger import Postgres
from tocsin.ipc.actions import Acted
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Release, Skipped
from tocsin.ipc.ledger import Enrolled, Entry, JobHistory
from tocsin.ledger import pg_schema
from tocsin.ledger.books import Books, SlotRow, lost
from tocsin.ledger.link import Link
from tocsin.ledger.pg_replies import Replies
from tocsin.ledger.statements import Statements, job_row
from tocsin.ledger.store import Held, Passing
from tocsin.timestamps import began

BEAT = 1.0  # seconds without a transaction before the lease is renewed; it lasts three
STEP = 0.05  # seconds: if `began` differs by more, the clock was set
PRUNE_AT_ONCE = 2000  # rows deleted in one transaction
PRUNE_EVERY = 600.0  # seconds between deletions of rows older than `retention`
CONTACT = 3.0  # seconds of contact before another daemon is given up: after an outage it needs time to renew its lease
ANOTHER = 10.0  # seconds to wait for a daemon on another node, which may be stopping
WEEK = 7 * 86400.0
NAMESAKE = 300.0  # seconds to wait for a daemon with this node's name: an overlapping deploy takes that long
T = TypeVar("T")
DIED = "the daemon died while it ran; whether the app did the work is unknown"


class Waiting(Passing):
    """Another daemon holds the schema."""


class Opener:
    """Opens the ledger for one session. It is called until that works. `node` is this machine's name.

    `place` names the state folder, which one daemon at a time holds: an earlier session at the same place has ended.
    """

    def __init__(
        self, ledger: Postgres, node: str, place: str, session: str, retention: float, replies: float = WEEK
    ) -> None:
        self._ledger, self._node, self._place = ledger, node, place
        self._session, self._retention, self._replies = session, retention, replies
        self._since: float | None = None  # monotonic: when it first found that another daemon holds the schema
        self._seen: tuple[str, float] | None = None  # a session whose lease had expired, and since when it is watched

    def __call__(self) -> "PostgresLedger":
        """Raises Passing and Unusable."""
        link = Link(self._ledger)
        try:
            return self._open(link)
        except BaseException as error:
            link.close()
            if not isinstance(error, Waiting):
                self._seen = None  # contact was lost, perhaps for the other daemon too
            raise

    def _open(self, link: Link) -> "PostgresLedger":
        sql = Statements(self._ledger.schema)
        epoch, seq = 1, 0
        before: str | None = None
        with link.transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (pg_schema.LOCK,))
            pg_schema.set_up(db, self._ledger.schema)
            found = False
            for session, node, its_epoch, state, place, _, its_seq, lapsed in db.execute(sql.nodes).fetchall():
                if session == self._session:
                    if state == "dead":
                        raise Held(given_up(self._ledger))
                    found, epoch, seq, before = True, its_epoch, its_seq, None
                    continue
                if state in ("live", "leaving"):
                    if place != self._place and not self._is_over(session, lapsed):
                        self._wait_for(node)
                    db.execute(sql.give_up, (session,))
                if not found:
                    before = "the daemon was stopped" if state == "left" else "the daemon had died"
            if not found:
                db.execute(sql.join, (self._session, self._node, __version__, self._place, began()))
        kept = self._retention, min(self._retention, self._replies)
        return PostgresLedger(link, sql, self._node, self._place, self._session, epoch, seq, before, *kept)

    def _is_over(self, session: str, lapsed: bool) -> bool:
        """Whether its lease has expired, and it has not renewed it though it had the time to."""
        if not lapsed:
            self._seen = None
            return False
        if self._seen is None or self._seen[0] != session:
            self._seen = session, time.monotonic()
        return time.monotonic() - self._seen[1] >= CONTACT

    def _wait_for(self, node: str) -> None:
        now = time.monotonic()
        self._since = self._since or now
        held = f"schema {self._ledger.schema} of {self._ledger} is held by the daemon on node {node}"
        patience = NAMESAKE if node == self._node else ANOTHER
        if not self._seen and now - self._since > patience:
            raise Held(f"{held}; one daemon at a time can have it (another ledger_schema makes another ledger)")
        raise Waiting(f"{held}; waiting for it to end")


class PostgresLedger:
    """A `tocsin.ledger.store.Store`. `retention` and `replies` are in seconds: older rows are deleted."""

    def __init__(
        self,
        link: Link,
        sql: Statements,
        node: str,
        place: str,
        session: str,
        epoch: int,
        seq: int,
        before: str | None,
        retention: float,
        replies: float,
    ) -> None:
        self.session, self.seq, self.before = session, seq, before
        self._link, self._sql = link, sql
        self._node, self._place, self._epoch = node, place, epoch
        self._retention, self._keep_replies = retention, replies
        self._replies = Replies(link.ledger.schema)
        self._next_prune = 0.0
        self._renewed = time.monotonic()

    @property
    def name(self) -> str:
        return str(self._link.ledger)

    def stopped(self, now: float) -> None:  # noqa: ARG002  the lease uses the server's clock
        with self._link.transaction() as db:
            db.execute(self._sql.leave, (self.session,))

    def close(self) -> None:
        self._link.close()

    # ---- while there is nothing to commit

    def idle(self, now: float) -> float:
        if now >= self._next_prune or now < self._next_prune - PRUNE_EVERY:  # the clock was set back
            pruned = self._anew(lambda: self._prune(now))
            self._next_prune = now if pruned == PRUNE_AT_ONCE else now + PRUNE_EVERY
            if pruned == PRUNE_AT_ONCE:
                return 0.0
        elif time.monotonic() - self._renewed >= BEAT:
            self._anew(self._beat)
        return max(0.0, min(self._renewed + BEAT - time.monotonic(), self._next_prune - now))

    def _beat(self) -> None:
        with self._link.transaction() as db:
            if db.execute(self._sql.beat, (self.session, self._epoch)).fetchone() is None:
                raise Held(given_up(self._link.ledger))
        self._renewed = time.monotonic()

    def _prune(self, now: float) -> int:
        with self._link.transaction() as db:
            self._fence(db)
            slots = self._sql.prune(db, now - self._retention, PRUNE_AT_ONCE)
            replies = self._replies.prune(db, now - self._keep_replies, PRUNE_AT_ONCE)
            self._renew(db, self.seq)
        self._renewed = time.monotonic()
        return max(slots, replies)

    # ---- writing

    def recover(self, now: float) -> list[Finished]:
        """Record unfinished runs as lost. But if the instant of a slot is still to come, no call was made, and the slot
        is free again: provided that the earlier daemon has ended, and that the clock was not set meanwhile."""
        gone = []
        with self._link.transaction() as db:
            self._fence(db)
            sessions = {row[0]: (row[4], row[5]) for row in db.execute(self._sql.nodes).fetchall()}
            books = Books(self._owner, dict(map(job_row, self._sql.open_jobs(db).fetchall())), {}, {})
            for run in [job.open for job in books.jobs.values() if job.open]:
                session = run.owner.partition("/")[0]
                if session == self.session:
                    continue
                place, its_began = sessions.get(session, ("", None))
                same_clock = place == self._place and its_began is not None and abs(its_began - began()) < STEP
                if run.due > now and same_clock and run.trigger == "schedule" and not run.attempt:
                    books.release(Release(run.job, run.due, run.attempt, run.owner))
                else:
                    gone.append(lost(run, DIED, now))
                    books.finish(gone[-1])
            self._write(db, books)
            db.execute(self._sql.bury)
            self._renew(db, self.seq)
        self._renewed = time.monotonic()
        return gone

    def commit(self, entries: Sequence[Entry]) -> list[Grant | Deny | JobHistory]:
        return self._anew(lambda: self._commit(entries))

    def _anew(self, work: Callable[[], T]) -> T:
        """Do the work, and once more if the server had closed the connection meanwhile, as at its restart."""
        was_open = self._link.is_open
        try:
            return work()
        except Passing as error:
            if not was_open:
                raise
            log.debug("the ledger connects anew", why=str(error))
            return work()

    def _commit(self, entries: Sequence[Entry]) -> list[Grant | Deny | JobHistory]:
        with self._link.transaction() as db:
            seq, books = self._read(db, entries)
            answers = [answer for entry in entries if (answer := books.apply(entry.body, new=entry.seq > seq))]
            new = [entry.body for entry in entries if entry.seq > seq]
            seq = max(seq, entries[-1].seq)
            self._write(db, books)
            self._replies.keep(db, [body for body in new if isinstance(body, Finished)])
            self._renew(db, seq)
        self.seq, self._renewed = seq, time.monotonic()
        return answers

    def _read(self, db: Connection[Any], entries: Sequence[Entry]) -> tuple[int, Books]:
        """Read all that the entries touch, in one round trip to the server."""
        bodies = [entry.body for entry in entries]
        everything = any(isinstance(body, Enrolled) for body in bodies)
        names = None if everything else {body.job for body in bodies if not isinstance(body, Enrolled | Acted)}
        keys = {(body.job, body.due, body.attempt) for body in bodies if isinstance(body, Ask | Finished)}
        keys |= {(body.job, body.first, 0) for body in bodies if isinstance(body, Skipped)}
        skipped = {body.job for body in bodies if isinstance(body, Skipped)}
        fence = db.execute(self._sql.fence, (self.session, self._epoch))
        jobs = self._sql.jobs(db, names)
        taken = self._sql.taken(db, keys) if keys else None
        newest = self._sql.newest(db, skipped) if skipped else None
        row = fence.fetchone()
        if row is None:
            raise Held(given_up(self._link.ledger))
        return int(row[0]), Books(
            self._owner,
            dict(map(job_row, jobs.fetchall())),
            {(job, due, attempt): state for job, due, attempt, state in taken.fetchall()} if taken else {},
            {one[0]: SlotRow(*one) for one in newest.fetchall()} if newest else {},
        )

    def _fence(self, db: Connection[Any]) -> None:
        if db.execute(self._sql.fence, (self.session, self._epoch)).fetchone() is None:
            raise Held(given_up(self._link.ledger))

    def _write(self, db: Connection[Any], books: Books) -> None:
        self._sql.write_slots(db, self._node, books.new.values(), books.continued.values())
        self._sql.write_jobs(db, books.changed)
        self._sql.write_actions(db, self._node, books.acted)

    def _renew(self, db: Connection[Any], seq: int) -> None:
        db.execute(self._sql.renew, {"session": self.session, "seq": seq, "began": began(), "step": STEP})

    @property
    def _owner(self) -> str:
        return f"{self.session}:{self._epoch}"


def given_up(ledger: Postgres) -> str:
    return (
        f"this daemon was silent for too long: another one has taken over schema {ledger.schema} of {ledger}, and calls"
        " the jobs now"
    )

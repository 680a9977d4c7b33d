"""The ledger on PostgreSQL, which several nodes share: each job has one owner (session.py, watch.py)."""

from collections.abc import Sequence

from msgspec.structs import replace

from tocsin import log
from tocsin.ipc.cluster import Leave, Roster
from tocsin.ipc.job import Ask, Finished, Grant, Pause
from tocsin.ipc.ledger import Entry, JobHistory, LedgerRoom, Told
from tocsin.ledger import folding, pg_schema
from tocsin.ledger.link import Link
from tocsin.ledger.peers import LEASE, MARGIN
from tocsin.ledger.pg_replies import Replies
from tocsin.ledger.session import STEP, Node, NotAlive, Session
from tocsin.ledger.statements import Statements
from tocsin.ledger.watch import Watch
from tocsin.timestamps import began, boottime

PRUNE_AT_ONCE = 2000  # rows deleted in one transaction
PRUNE_EVERY = 600.0  # seconds between deletions of rows older than `retention`
STOPPED = "the daemon was stopped"


class PostgresLedger:
    """A `tocsin.ledger.store.Store`. `retention` and `replies` are in seconds: older rows are deleted."""

    def __init__(
        self,
        link: Link,
        sql: Statements,
        me: Node,
        epoch: int,
        seq: int,
        before: str | None,
        retention: float,
        replies: float,
    ) -> None:
        self.seq, self.before = seq, before
        self._link, self._sql, self._me = link, sql, me
        self._session = Session(link, sql, me, epoch)
        self._watch = Watch(self._session)
        self._retention, self._keep_replies = retention, replies
        self._replies = Replies(link.ledger.schema)
        self._next_prune = 0.0
        self._prunes = False

    @property
    def name(self) -> str:
        return str(self._link.ledger)

    @property
    def epoch(self) -> int:
        return self._session.epoch

    def close(self) -> None:
        self._link.close()

    def beat(self, now: float) -> tuple[list[Told], float]:
        seconds = self._watch.beat(now)
        return self._watch.told(), seconds

    # ---- while there is nothing to commit

    def idle(self, now: float) -> float:
        if now >= self._next_prune or now < self._next_prune - PRUNE_EVERY:  # the clock was set back
            pruned = self._session.alive(lambda: self._prune(now))
            self._prunes = pruned == PRUNE_AT_ONCE
            self._next_prune = now if self._prunes else now + PRUNE_EVERY
            if self._prunes:
                return 0.0
        return max(0.0, self._next_prune - now)

    def room(self) -> LedgerRoom:
        return LedgerRoom("postgresql", self._session.alive(self._size))

    def _size(self) -> int:
        with self._session.transaction() as db:
            return pg_schema.size(db, self._link.ledger.schema)

    def _prune(self, now: float) -> int:
        """Delete old rows, unless another node did so a moment ago. Returns how many of one table."""
        with self._session.transaction() as db:
            if not self._sql.may_prune(db, now, PRUNE_EVERY, going_on=self._prunes):
                return 0
            slots = self._sql.prune(db, now - self._retention, PRUNE_AT_ONCE)
            return max(slots, self._replies.prune(db, now - self._keep_replies, PRUNE_AT_ONCE))

    # ---- beginning and end

    def recover(self, now: float) -> list[Finished]:
        """Record unfinished runs as lost. But if the instant of a slot is still to come, no call was made, and the slot
        is free again: provided that the earlier daemon has ended, and that the clock was not set meanwhile."""
        return self._session.alive(lambda: self._recover(now))

    def _recover(self, now: float) -> list[Finished]:
        with self._session.transaction() as db:
            ended_here = {
                peer.session
                for peer in self._session.peers(db)
                if peer.place == self._me.place and peer.began is not None and abs(peer.began - began()) < STEP
            }

            def free(run: Ask) -> bool:
                here = run.owner.partition("/")[0] in ended_here
                return here and run.due > now and run.trigger == "schedule" and not run.attempt

            return folding.settle(self._session, db, self.before or "the daemon had died", now, free)

    def stopped(self, now: float) -> None:
        """Leave the jobs without an owner. Record a run whose end nobody knows as lost."""
        try:
            with self._session.transaction() as db:
                db.execute(self._sql.leave, (self._me.session,))
                folding.settle(self._session, db, STOPPED, now)
        except NotAlive:
            log.debug("the other nodes gave this one up before it left")

    # ---- writing

    def commit(self, entries: Sequence[Entry]) -> list[Told]:
        answers = self._session.alive(lambda: self._commit(entries))
        return [*self._watch.told(), *answers]

    def _commit(self, entries: Sequence[Entry]) -> list[Told]:
        session, sent = self._session, boottime()
        with session.transaction(seq=entries[-1].seq) as db:
            books = folding.read(session, db, [entry.body for entry in entries])
            seq = session.fence.seq
            answers = [
                answer
                for entry in entries
                if (answer := books.apply(entry.body, new=entry.seq > seq, late=0 < entry.epoch < session.epoch))
            ]
            folding.write(session, db, books)
            new = [entry.body for entry in entries if entry.seq > seq]
            self._replies.keep(db, [body for body in new if isinstance(body, Finished)])
            if news := [body for body in new if isinstance(body, Pause)]:
                self._sql.write_news(db, self._me.session, news)
        self.seq = max(seq, entries[-1].seq)
        owned = {past.job for past in answers if isinstance(past, JobHistory)}
        self._watch.claim(books.wanted, owned | books.unwanted)
        for entry in entries:
            if isinstance(entry.body, Roster) and entry.body.last:
                session.roster = entry.body.hash
            elif isinstance(entry.body, Leave):
                self._watch.wanted.clear()
        until = sent + LEASE - MARGIN
        return [replace(one, until=until) if isinstance(one, Grant) else one for one in answers]

"""The ledger on PostgreSQL, which several nodes share: each owns some of the jobs, and holds a lease on the server's
clock.

Each transaction first locks the node's own row in `nodes`, the fence, and renews its lease. Who gives a node up changes
that row, so a transaction of a node that was given up finds none, and nothing of it is written. The entries that are in
are counted in the same row: after a connection that broke at COMMIT the same entries are sent again, and what was
committed is known by it.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from msgspec import convert
from msgspec.structs import replace
from psycopg import Connection

from tocsin import log
from tocsin.config.ledger import Postgres
from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import NAMES_AT_ONCE, GivenUp, Leave, Members, Roster, RosterPart
from tocsin.ipc.job import Ask, Finished, Grant, Pause, Release, Skipped
from tocsin.ipc.ledger import Enroll, Enrolled, Entry, JobHistory, LedgerRoom, Told
from tocsin.ledger import peers, pg_schema
from tocsin.ledger.books import Books
from tocsin.ledger.link import Link
from tocsin.ledger.peers import LEASE, MARGIN, Contact, Peer
from tocsin.ledger.pg_replies import Replies
from tocsin.ledger.rows import Key, SlotRow, lost
from tocsin.ledger.statements import Statements, job_row, taken
from tocsin.ledger.store import Held, Passing
from tocsin.timestamps import began, boottime

STEP = 0.05  # seconds between two readings of `began` from which on the clock was set
PRUNE_AT_ONCE = 2000  # rows deleted in one transaction
PRUNE_EVERY = 600.0  # seconds between looks for rows older than `retention`
CLAIM_AT_ONCE = 1000  # jobs claimed in one transaction
NEWS_KEPT = 1000  # numbers of news that are remembered as read
T = TypeVar("T")
DIED = "the daemon died while it ran; whether the app did the work is unknown"
STOPPED = "the daemon was stopped"


class _GivenUp(Passing):
    """The others gave this node up: nothing was written."""


@dataclass(frozen=True, slots=True)
class Node:
    """This node, as it joins."""

    session: str
    node: str
    place: str
    version: str

    def joining(self, epoch: int) -> dict[str, Any]:
        return {**asdict(self), "epoch": epoch, "began": began()}


class Fence:
    """The node's own row, locked: whoever gives the node up waits, and what follows is nobody else's to write."""

    def __init__(self, row: Callable[[], tuple[Any, ...] | None] = lambda: None) -> None:
        self._row = row
        self._seq: int | None = None

    @property
    def seq(self) -> int:
        """The last entry that is in. Raises _GivenUp where there is no such row any more."""
        if self._seq is None:
            row = self._row()
            if row is None:
                raise _GivenUp("this node was given up by the others")
            self._seq = int(row[0])
        return self._seq


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
        self.session, self.seq, self.before, self.epoch = me.session, seq, before, epoch
        self._link, self._sql, self._me = link, sql, me
        self._retention, self._keep_replies = retention, replies
        self._replies = Replies(link.ledger.schema)
        self._next_prune = 0.0
        self._prunes = False
        self._contact = Contact()
        self._untold: list[Told] = []
        self._wanted: dict[str, Enroll] = {}  # claims that another owner stood in the way of
        self._members: Members | None = None  # as told last
        self._rosters: set[str] = set()  # hashes of those that were told
        self._roster = ""  # the hash of one's own
        self._clock_off = 0.0
        self._news_from: float | None = None  # the server's clock at the last look
        self._news_read: dict[int, None] = {}
        self._fence = Fence()

    @property
    def name(self) -> str:
        return str(self._link.ledger)

    def close(self) -> None:
        self._link.close()

    # ---- while nothing is to be committed

    def idle(self, now: float) -> float:
        if now >= self._next_prune or now < self._next_prune - PRUNE_EVERY:  # the clock was set back
            pruned = self._alive(lambda: self._prune(now))
            self._prunes = pruned == PRUNE_AT_ONCE
            self._next_prune = now if self._prunes else now + PRUNE_EVERY
            if self._prunes:
                return 0.0
        return max(0.0, self._next_prune - now)

    def room(self) -> LedgerRoom:
        return LedgerRoom("postgresql", self._alive(self._size))

    def _size(self) -> int:
        with self._transaction() as db:
            return pg_schema.size(db, self._link.ledger.schema)

    def _prune(self, now: float) -> int:
        """Delete old rows, unless another node did so a moment ago. Returns how many of one table."""
        with self._transaction() as db:
            if not self._sql.may_prune(db, PRUNE_EVERY, going_on=self._prunes):
                return 0
            slots = self._sql.prune(db, now - self._retention, PRUNE_AT_ONCE)
            return max(slots, self._replies.prune(db, now - self._keep_replies, PRUNE_AT_ONCE))

    # ---- the other nodes

    def beat(self, now: float) -> tuple[list[Told], float]:
        found, news, claimable = self._alive(self._look)
        told: list[Told] = [*news]
        for peer in peers.silent(found, self.session, self._contact.unbroken(boottime())):
            told += self._alive(lambda peer=peer: self._give_up(peer, now))  # type: ignore[misc]
        told += self._alive(lambda: self._claim(claimable)) if claimable else []
        told += self._changed(found)
        return [*self._take(), *told], peers.next_beat(found, self.session, claims=bool(self._wanted))

    def _look(self) -> tuple[list[Peer], list[Pause], list[str]]:
        before = time.time()
        with self._transaction(clock_off=self._clock_off) as db:
            at = db.execute(self._sql.clock)
            rows = db.execute(self._sql.nodes)
            news = db.execute(self._sql.news, (self.session, self._news_from))
            names = db.execute(self._sql.claimable, (list(self._wanted), self._owner)) if self._wanted else None
            (clock,) = at.fetchone() or (before,)
            middle = (before + time.time()) / 2
            found = [Peer(*row) for row in rows.fetchall()]
            unread = {number: _pause(what) for number, what in news.fetchall() if number not in self._news_read}
            last = {one.job: one for one in unread.values()}
            paused = dict(db.execute(self._sql.paused, (list(last),)).fetchall()) if last else {}
            claimable = [name for (name,) in names.fetchall()] if names else []
        self._clock_off = middle - float(clock)
        self._news_read.update(dict.fromkeys(unread))
        while len(self._news_read) > NEWS_KEPT:
            del self._news_read[next(iter(self._news_read))]
        self._news_from = float(clock)
        return found, [one for name, one in last.items() if paused.get(name) == one.paused], claimable

    def _give_up(self, peer: Peer, now: float) -> list[Told]:
        """The open runs of a node that is silent are lost, and its jobs anybody's."""
        with self._transaction() as db:
            if db.execute(self._sql.give_up, (peer.session, peer.epoch)).fetchone() is None:
                return []  # it renewed its lease meanwhile, or another node was faster
            gone = self._settle(db, f"node {peer.node} had died or was cut off", now)
        log.warning("gave up a node", node=peer.node, lost_runs=len(gone))
        return [*gone]

    def _settle(
        self, db: Connection[Any], why: str, now: float, free: Callable[[Ask], bool] = lambda _: False
    ) -> list[Finished]:
        """What sessions that are over have left behind: runs end as lost, or are free, and jobs have no owner."""
        found = [
            (*job_row(tuple(row)), owner_over, run_over)
            for *row, owner_over, run_over in self._sql.orphans(db).fetchall()
        ]
        books = Books(self._owner, {name: job for name, job, _, _ in found}, {}, {})
        gone = []
        for name, job, owner_is_over, run_is_over in found:
            if (run := job.open) and run_is_over:
                if free(run):
                    books.release(Release(run.job, run.due, run.attempt, run.owner))
                else:
                    gone.append(lost(run, DIED, now))
                    books.finish(gone[-1])
            if owner_is_over:
                books.disown(name, why)
        self._write(db, books)
        return gone

    def _claim(self, names: Iterable[str]) -> list[Told]:
        claims = [replace(self._wanted[name], now=time.time()) for name in names][:CLAIM_AT_ONCE]
        with self._transaction() as db:
            books = self._read(db, [Entry(0, claim) for claim in claims])
            told = [past for claim in claims if (past := books.enroll(claim))]
            self._write(db, books)
        for past in told:
            self._wanted.pop(past.job, None)
        return [*told]

    def _changed(self, found: Sequence[Peer]) -> list[Told]:
        """The nodes, if they are not as they were told last; each roster before it is named."""
        new = Members(self.session, self.epoch, peers.members(found))
        if new == self._members:
            return []
        told: list[Told] = []
        for hash_ in {one.roster for one in new.nodes} - self._rosters - {"", self._roster}:
            told += self._alive(lambda hash_=hash_: self._read_roster(hash_))  # type: ignore[misc]
            self._rosters.add(hash_)
        self._members = new
        return [*told, new]

    def _read_roster(self, hash_: str) -> list[Told]:
        with self._transaction() as db:
            jobs = db.execute(self._sql.roster, (hash_,)).fetchall()
        starts = range(0, max(1, len(jobs)), NAMES_AT_ONCE)
        parts = [dict(jobs[start : start + NAMES_AT_ONCE]) for start in starts]
        return [RosterPart(hash_, part, last=part is parts[-1]) for part in parts]

    # ---- beginning and end

    def recover(self, now: float) -> list[Finished]:
        """A slot whose instant is still to come was not called, where it is known that the earlier daemon is over and
        that the clock was not set meanwhile: it is free."""

        def recovered() -> list[Finished]:
            with self._transaction() as db:
                sessions = {
                    peer.session: peer for peer in (Peer(*row) for row in db.execute(self._sql.nodes).fetchall())
                }

                def free(run: Ask) -> bool:
                    peer = sessions.get(run.owner.partition("/")[0])
                    here = peer and peer.place == self._me.place and peer.began is not None
                    same_clock = here and peer and abs((peer.began or 0.0) - began()) < STEP
                    return bool(same_clock) and run.due > now and run.trigger == "schedule" and not run.attempt

                return self._settle(db, self.before or "the daemon had died", now, free)

        return self._alive(recovered)

    def stopped(self, now: float) -> None:
        """The jobs are anybody's; a run of which nobody knows the end is lost."""
        try:
            with self._transaction() as db:
                db.execute(self._sql.leave, (self.session,))
                self._settle(db, STOPPED, now)
        except _GivenUp:
            log.debug("the other nodes gave this one up before it left")

    # ---- writing

    def commit(self, entries: Sequence[Entry]) -> list[Told]:
        answers = self._alive(lambda: self._commit(entries))
        return [*self._take(), *answers]

    def _commit(self, entries: Sequence[Entry]) -> list[Told]:
        sent = boottime()
        bodies = [entry.body for entry in entries]
        leaves = any(isinstance(body, Leave) for body in bodies)
        rosters = [body.hash for body in bodies if isinstance(body, Roster) and body.last]
        with self._transaction(seq=entries[-1].seq) as db:
            books = self._read(db, entries)
            seq = self._fence.seq
            answers = [
                answer
                for entry in entries
                if (answer := books.apply(entry.body, new=entry.seq > seq, late=0 < entry.epoch < self.epoch))
            ]
            self._write(db, books)
            new = [entry.body for entry in entries if entry.seq > seq]
            self._replies.keep(db, [body for body in new if isinstance(body, Finished)])
            if news := [body for body in new if isinstance(body, Pause)]:
                self._sql.write_news(db, self.session, news)
        self.seq = max(seq, entries[-1].seq)
        self._roster = rosters[-1] if rosters else self._roster
        for past in answers:
            if isinstance(past, JobHistory):
                self._wanted.pop(past.job, None)
        self._wanted = (
            {} if leaves else {name: body for name, body in self._wanted.items() if name not in books.unwanted}
        )
        self._wanted |= {} if leaves else books.wanted
        until = sent + LEASE - MARGIN
        return [replace(one, until=until) if isinstance(one, Grant) else one for one in answers]

    def _read(self, db: Connection[Any], entries: Sequence[Entry]) -> Books:
        """All that the entries touch, in one trip to the server."""
        bodies = [entry.body for entry in entries]
        for body in bodies:
            if isinstance(body, Roster):
                self._sql.write_roster(db, body)
            if isinstance(body, Leave) or (isinstance(body, Roster) and body.last):  # before anything is forgotten
                says = {"state": None, "roster": body.hash} if isinstance(body, Roster) else {"state": "leaving"}
                db.execute(self._sql.say, {"roster": None, **self._here, **says})
        others = [body for body in bodies if not isinstance(body, Enrolled | Roster | Leave | Acted)]
        names = {body.job for body in others}
        keys: set[Key] = {
            (body.job, body.due, body.attempt) for body in others if isinstance(body, Ask | Finished | Release)
        }
        keys |= {(body.job, body.first, 0) for body in bodies if isinstance(body, Skipped)}
        looked_up = {body.job for body in bodies if isinstance(body, Skipped | Enroll)}
        unnamed: list[str] = []
        if any(isinstance(body, Enrolled) for body in bodies):
            unnamed = [name for (name,) in db.execute(self._sql.unnamed, (self._owner,)).fetchall()]
        rows = self._sql.jobs(db, names.union(unnamed))
        known = self._sql.taken(db, keys) if keys else None
        newest = self._sql.newest(db, looked_up) if looked_up else None
        jobs = dict(map(job_row, rows.fetchall()))
        made = {body.job for body in others if isinstance(body, Ask | Enroll)} - jobs.keys()
        if made:
            self._sql.make_jobs(db, made)
            jobs |= dict(map(job_row, self._sql.jobs(db, made).fetchall()))
        books = Books(
            self._owner,
            jobs,
            taken(known.fetchall()) if known else {},
            {one[0]: SlotRow(*one) for one in newest.fetchall()} if newest else {},
            [name for name in unnamed if name in jobs],
        )
        books.made(made)
        return books

    def _write(self, db: Connection[Any], books: Books) -> None:
        self._sql.write_slots(db, self._me.node, books.new.values(), books.replaced.values(), books.continued.values())
        self._sql.write_jobs(db, books.changed)
        self._sql.write_actions(db, self._me.node, books.acted)

    @property
    def _owner(self) -> str:
        return f"{self.session}:{self.epoch}"

    @property
    def _here(self) -> dict[str, Any]:
        return {"session": self.session, "epoch": self.epoch}

    @contextlib.contextmanager
    def _transaction(self, *, seq: int | None = None, clock_off: float | None = None) -> Iterator[Connection[Any]]:
        """Behind the fence, which is asked for first and looked at once at the latest before the commit; with it the
        lease is renewed. Raises _GivenUp."""
        with self._link.transaction() as db:
            self._fence = Fence(db.execute(self._sql.fence, self._here).fetchone)
            yield db
            seq = max(self.seq if seq is None else seq, self._fence.seq)
            db.execute(
                self._sql.renew,
                {**self._here, "seq": seq, "began": began(), "step": STEP, "clock_off": clock_off},
            )
        self._contact.made(boottime())

    def _take(self) -> list[Told]:
        told, self._untold = self._untold, []
        return told

    def _alive(self, work: Callable[[], T]) -> T:
        """The result of `work`; a node that the others gave up joins anew first."""
        try:
            return self._anew(work)
        except _GivenUp:
            self._rejoin()
            return self._anew(work)

    def _anew(self, work: Callable[[], T]) -> T:
        """Once more where the server has closed the connection meanwhile, at its restart."""
        was_open = self._link.is_open
        try:
            return work()
        except _GivenUp:
            raise
        except Passing as error:
            if not was_open:
                raise
            log.debug("the ledger connects anew", why=str(error))
            return work()

    def _rejoin(self) -> None:
        with self._link.transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (pg_schema.LOCK,))
            found = [Peer(*row) for row in db.execute(self._sql.nodes).fetchall()]
            if any(one.is_live and one.node == self._me.node and one.session != self.session for one in found):
                raise Held(taken_over(self._link.ledger, self._me.node))
            old = next((one.epoch for one in found if one.session == self.session), self.epoch + 1)
            db.execute(self._sql.join, self._me.joining(old))
            if self._roster:
                db.execute(self._sql.say, {**self._here, "epoch": old, "state": None, "roster": self._roster})
        self.epoch, self._members = old, None
        self._wanted.clear()
        self._untold.append(GivenUp(self.epoch))


def taken_over(ledger: Postgres, name: str) -> str:
    return (
        f"this daemon was silent for too long: another one has taken over the node's name {name} in schema"
        f" {ledger.schema} of {ledger}"
    )


def _pause(what: dict[str, Any]) -> Pause:
    """Of a newer version, as far as this one knows it."""
    known = {"type", *Pause.__struct_fields__}
    return convert({name: value for name, value in what.items() if name in known}, Pause)

"""Watches the other nodes: which are alive, which must be given up, which jobs can be claimed, and what is new."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import convert
from msgspec.structs import replace

from tocsin import log
from tocsin.ipc.cluster import AWAY_AT_ONCE, AWAY_DETAIL, NAMES_AT_ONCE, Away, AwayPart, Members, RosterPart
from tocsin.ipc.job import Pause
from tocsin.ipc.ledger import Enroll, Told
from tocsin.ledger import folding, peers, pg_schema
from tocsin.ledger.peers import Peer
from tocsin.ledger.session import Session
from tocsin.timestamps import boottime

CLAIM_AT_ONCE = 1000  # jobs claimed in one transaction
AWAY_EVERY = 2.0  # seconds between reads of the jobs that other nodes own
AWAY_READ = 1000  # jobs in one such read; the next one goes on after them
NEWS_KEPT = 1000  # news whose numbers are remembered, so that none is read twice


class Watch:
    """`wanted` has the claims of jobs that another session still owns."""

    def __init__(self, session: Session) -> None:
        self.wanted: dict[str, Enroll] = {}
        self._session = session
        self._epoch = session.epoch
        self._untold: list[Told] = []  # what transactions have found out, kept even if a later one fails
        self._members: Members | None = None  # as the parent knows them
        self._rosters: set[str] = set()  # hashes of the rosters that the parent knows
        self._clock_off = 0.0
        self._away_after = ""  # the last job of the last read
        self._away_next = 0.0  # when to read again, by CLOCK_BOOTTIME
        self._news_from: float | None = None  # the server's clock at the last look
        self._news_read: dict[int, None] = {}

    def told(self) -> list[Told]:
        """Return the news for the parent, oldest first. That this node joined again comes before what follows from
        it."""
        anew, self._session.joined_anew = self._session.joined_anew, []
        told, self._untold = [*anew, *self._untold], []
        return told

    def beat(self, now: float) -> float:
        """Look at the other nodes. Returns the seconds until the next look."""
        session = self._session
        found, claimable = session.alive(self._look)
        for peer in peers.silent(found, session.me.session, session.contact.unbroken(boottime())):
            session.alive(lambda peer=peer: self._give_up(peer, now))  # type: ignore[misc]
        if claimable:
            session.alive(lambda: self._claim(claimable))
        self._tell_members(found)
        if self._away_next <= boottime():
            session.alive(self._read_away)
        return peers.next_beat(found, session.me.session, claims=bool(self.wanted))

    def claim(self, wanted: dict[str, Enroll], no_more: Iterable[str]) -> None:
        """A commit could not claim `wanted` yet. The jobs `no_more` are no longer wanted."""
        self._start_again()
        for name in no_more:
            self.wanted.pop(name, None)
        self.wanted |= wanted

    def _start_again(self) -> None:
        """After this node has joined again, its earlier claims mean nothing."""
        if self._epoch != self._session.epoch:
            self._epoch, self._members = self._session.epoch, None
            self.wanted.clear()

    def _look(self) -> tuple[list[Peer], list[str]]:
        self._start_again()
        session, before = self._session, time.time()
        with session.transaction(clock_off=self._clock_off) as db:
            at = db.execute(session.sql.clock)
            rows = db.execute(session.sql.nodes)
            news = db.execute(session.sql.news, (session.me.session, self._news_from))
            wanted = (list(self.wanted), session.owner)
            names = db.execute(session.sql.claimable, wanted) if self.wanted else None
            clock, schema, oldest = at.fetchone() or (before, 0, 0)
            middle = (before + time.time()) / 2
            pg_schema.judge(session.sql.schema, schema, oldest)
            found = [Peer(*row) for row in rows.fetchall()]
            unread = {number: _pause(what) for number, what in news.fetchall() if number not in self._news_read}
            last = {one.job: one for one in unread.values()}
            paused = dict(db.execute(session.sql.paused, (list(last),)).fetchall()) if last else {}
            claimable = [name for (name,) in names.fetchall()] if names else []
        self._clock_off, self._news_from = middle - float(clock), float(clock)
        self._news_read.update(dict.fromkeys(unread))
        while len(self._news_read) > NEWS_KEPT:
            del self._news_read[next(iter(self._news_read))]
        self._untold += [one for name, one in last.items() if paused.get(name) == one.paused]
        return found, claimable

    def _give_up(self, peer: Peer, now: float) -> None:
        session = self._session
        with session.transaction() as db:
            if db.execute(session.sql.give_up, (peer.session, peer.epoch)).fetchone() is None:
                return  # it has renewed its lease, or another node was faster
            gone = folding.settle(session, db, f"node {peer.node} had died or was cut off", now)
        self._untold += gone
        log.warning("gave up a node", node=peer.node, lost_runs=len(gone))

    def _claim(self, names: Sequence[str]) -> None:
        session = self._session
        claims = [replace(self.wanted[name], now=time.time()) for name in names if name in self.wanted][:CLAIM_AT_ONCE]
        with session.transaction() as db:
            books = folding.read(session, db, claims)
            owned = [past for claim in claims if (past := books.enroll(claim))]
            folding.write(session, db, books)
        self._untold += owned
        for past in owned:
            del self.wanted[past.job]

    def _read_away(self) -> None:
        """Tell how the next jobs do that this node does not own. The parent leaves out what it knows already."""
        session = self._session
        with session.transaction() as db:
            asked = (AWAY_DETAIL, self._away_after, session.owner, AWAY_READ)
            found = [Away(*row) for row in db.execute(session.sql.away, asked).fetchall()]
        self._away_next = boottime() + AWAY_EVERY
        self._away_after = found[-1].job if len(found) == AWAY_READ else ""
        starts = range(0, len(found), AWAY_AT_ONCE)
        self._untold += [AwayPart(tuple(found[start : start + AWAY_AT_ONCE])) for start in starts]

    def _tell_members(self, found: Sequence[Peer]) -> None:
        """Tell the parent which nodes there are, if they have changed. Each roster is sent before the node that has
        it."""
        session = self._session
        new = Members(session.me.session, session.epoch, peers.members(found))
        if new == self._members:
            return
        named = {one.roster for one in new.nodes}
        self._rosters &= named  # the parent forgets the others
        for hash_ in named - self._rosters - {"", session.roster}:
            self._untold += session.alive(lambda hash_=hash_: self._read_roster(hash_))  # type: ignore[misc]
            self._rosters.add(hash_)
        self._members = new
        self._untold.append(new)

    def _read_roster(self, hash_: str) -> list[RosterPart]:
        with self._session.transaction() as db:
            jobs = db.execute(self._session.sql.roster, (hash_,)).fetchall()
        starts = range(0, max(1, len(jobs)), NAMES_AT_ONCE)
        parts = [dict(jobs[start : start + NAMES_AT_ONCE]) for start in starts]
        return [RosterPart(hash_, part, last=part is parts[-1]) for part in parts]


def _pause(what: dict[str, Any]) -> Pause:
    """Read a Pause, perhaps of a newer version: fields that this one does not know are ignored."""
    known = {"type", *Pause.__struct_fields__}
    return convert({name: value for name, value in what.items() if name in known}, Pause)

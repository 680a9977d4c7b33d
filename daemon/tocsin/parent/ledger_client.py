"""The parent's side of the ledger's protocol: sends the entries, and watches whether the ledger commits them."""

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from tocsin import log
from tocsin.config import Job
from tocsin.ipc.channel import ChannelClosed
from tocsin.ipc.cluster import NAMES_AT_ONCE, Roster
from tocsin.ipc.exporter import LedgerState
from tocsin.ipc.ledger import Body, Committed, Enroll, Enrolled, LedgerRoom
from tocsin.parent.children import Children
from tocsin.parent.loop import Clock
from tocsin.parent.outbox import Outbox
from tocsin.parent.process import Process
from tocsin.parent.status_feed import StatusFeed

SILENT = 15.0  # seconds without a commit while entries wait: then the ledger counts as down


class LedgerClient:
    """`ledger` returns the ledger's process, if there is one. Entries are kept until they are committed."""

    def __init__(
        self, ledger: Callable[[], Process | None], children: Children, feed: StatusFeed, clock: Clock
    ) -> None:
        self.lost = False  # the store cannot be used
        self.epoch = 0  # how often this daemon joined the nodes that share the ledger
        self._ledger = ledger
        self._children = children
        self._feed = feed
        self._clock = clock
        self._outbox = Outbox()
        self._state = LedgerState(False, 0)
        self._generation = 0
        self._durable = 0  # entries up to here were committed
        self._hung = False  # whether that was logged
        self._waits_since = 0.0  # monotonic: the last commit, or when the first waiting entry arrived

    @property
    def settled(self) -> bool:
        """Whether no entry waits to be committed, or none can be."""
        return self.lost or not len(self._outbox)

    @property
    def writes(self) -> bool:
        """Whether the ledger commits what it is given, as far as is known."""
        return self._state.up and not self._hung

    @property
    def dropped(self) -> int:
        """Entries dropped since the start because the outbox was full."""
        return self._outbox.dropped

    def put(self, body: Body) -> None:
        self._add(body)
        self.pump()

    def _add(self, body: Body) -> None:
        if not len(self._outbox):
            self._waits_since = self._clock.now()
        self._outbox.put(body, self.epoch)

    def enroll(self, jobs: Iterable[Job], *, all_jobs: bool) -> None:
        """Enrol jobs that are new or changed. With `all_jobs` these are all of them: the ledger forgets the others."""
        if all_jobs:
            self._generation = max(self._generation + 1, int(self._clock.wall() * 1000))
        for job in jobs:
            self._add(Enroll(job.name, job.schedule.text if job.enabled else "", self._generation, self._clock.wall()))
        if all_jobs:
            self._add(Enrolled(self._generation))
        self.pump()

    def tell_roster(self, hash_: str, jobs: Mapping[str, str]) -> None:
        """The other nodes: what the job file has."""
        names = list(jobs)
        for start in range(0, max(1, len(names)), NAMES_AT_ONCE):
            part = {name: jobs[name] for name in names[start : start + NAMES_AT_ONCE]}
            self._add(Roster(hash_, part, last=start + NAMES_AT_ONCE >= len(names)))
        self.pump()

    def pump(self) -> None:
        """Send as many entries as the ledger can accept now."""
        ledger = self._ledger()
        if ledger and ledger.channel:
            try:
                self._outbox.pump(ledger.channel)
            except ChannelClosed:
                return  # its exit is handled next, and the next process gets all of it
            self._children.await_room(ledger)

    def tell(self) -> None:
        """Publish the ledger's state. A ledger that hangs (on its disk, perhaps) reports nothing by itself."""
        state, backlog, silent = self._state, len(self._outbox), self._clock.now() - self._waits_since
        hung = state.up and backlog > 0 and silent > SILENT
        if hung:
            state = LedgerState(False, 0, f"it has not committed for {silent:.0f} s")
        if hung and not self._hung:
            log.error("the ledger hangs: no job runs until it responds (does its disk respond?)", why=state.detail)
        elif self._hung and state.up:
            log.info("the ledger responds again")
        self._hung = hung
        self._feed.tell(replace(state, backlog=backlog))

    # ---- the ledger's process

    def forked(self) -> None:
        """A new process: send it again what the old one did not commit."""
        self._outbox.rewind()
        self.pump()

    def died(self) -> None:
        self._is(LedgerState(False, 0, "its process died"))

    def ready(self, seq: int) -> bool:
        """The ledger is open and has the entries up to `seq`. Returns False if it lost some that it had committed."""
        self.lost = False
        self._is(LedgerState(True, 0))
        if seq < self._durable:
            log.error("the ledger has lost committed entries", up_to=seq, committed=self._durable)
        kept, self._durable = seq >= self._durable, seq
        return kept

    def trouble(self, detail: str | None) -> None:
        """The ledger cannot write; `detail` says why. None means that it can again."""
        self._is(LedgerState(detail is None, 0, detail))
        if detail is not None:
            log.error("the ledger cannot write: no job runs until it can", why=detail)
        else:
            log.info("the ledger can write again")

    def said(self, message: Committed | LedgerRoom) -> None:
        if isinstance(message, Committed):
            self._durable, self._waits_since = message.seq, self._clock.now()
            self._outbox.committed(message.seq)
        self._feed.tell(message)
        self.pump()

    def _is(self, state: LedgerState) -> None:
        self._state, self._waits_since = state, self._clock.now()
        self.tell()

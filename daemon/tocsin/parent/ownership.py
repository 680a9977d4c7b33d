"""Which jobs this node owns if several share the ledger: it claims its share, and yields the jobs of others.

With a ledger in SQLite, one daemon owns every job, and nothing here does anything.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tocsin import log
from tocsin.config import Config, Job
from tocsin.config.ledger import Postgres
from tocsin.ipc.cluster import AwayPart, Elsewhere, GivenUp, Leave, Members, RosterPart, Yield
from tocsin.ipc.exporter import JobStatus
from tocsin.ipc.record import JobRecord
from tocsin.parent import nodes
from tocsin.parent.ledger_client import LedgerClient
from tocsin.parent.loop import Timer
from tocsin.parent.nodes import Nodes
from tocsin.parent.status_feed import StatusFeed

if TYPE_CHECKING:
    from tocsin.parent.jobs import Jobs

TICK = 0.1  # seconds between batches of yields
AT_ONCE = 30  # jobs in one batch: another node can fork processes for 300 a second while its calls continue
DUE_SOON = 3.0  # seconds: a job that is due earlier is yielded after that slot, so that the slot is not late
AFTER = 0.3  # seconds after an instant: by then its call has been sent


class Ownership:
    def __init__(self, jobs: "Jobs", ledger: LedgerClient, feed: StatusFeed, clock: Timer) -> None:
        self.nodes: Nodes | None = None  # None: one daemon owns every job
        self._jobs = jobs
        self._ledger = ledger
        self._feed = feed
        self._clock = clock
        self._share: set[str] = set()
        self._roster = ""
        self._leaves = False
        self._to_yield: deque[str] = deque()
        self._ticks = False

    def load(self, config: Config) -> None:
        """The job file was loaded: tell the other nodes which jobs it has."""
        if not isinstance(config.ledger, Postgres):
            return
        self.nodes = self.nodes or Nodes()
        roster = nodes.roster(config.jobs)
        if (hash_ := nodes.roster_hash(roster)) != self._roster:
            self._roster = hash_
            self.nodes.load(hash_, roster)
            self._ledger.tell_roster(hash_, roster)

    def claims(self, job: Job) -> bool:
        """Whether this node should own the job."""
        return self.nodes is None or (job.enabled and job.name in self._share and not self._leaves)

    def _is_ours(self, name: str) -> bool:
        job = self._jobs.defined.get(name)
        return job is not None and self.claims(job)

    # ---- the nodes

    def hear(self, message: Members | RosterPart | GivenUp | AwayPart) -> None:
        if self.nodes is None:
            return
        if isinstance(message, GivenUp):
            self._given_up(message.epoch)
            return
        if isinstance(message, AwayPart):
            for one in message.jobs:
                self._feed.tell(one)
            return
        before = self.nodes.sharing()
        self.nodes.hear(message)
        if isinstance(message, Members) and self.nodes.sharing() != before:
            self.reckon()

    def ledger_ready(self, epoch: int) -> None:
        """A new process of the ledger does not know which claims still wait: repeat them."""
        if self.nodes is None:
            return
        if self._ledger.epoch not in (0, epoch):
            self._given_up(epoch)
        self._ledger.epoch = epoch
        self._claim(name for name in self._share)

    def _given_up(self, epoch: int) -> None:
        self._ledger.epoch = epoch
        self._share = set()
        if self.nodes:
            self.nodes.forget()
        names = [name for name, one in self._jobs.supervised.items() if one.record is not None]
        log.error("the other nodes gave this one up and run its jobs until it gets some back", jobs=len(names))
        for name in names:
            self._jobs.disown(name)

    def reckon(self) -> None:
        """Work out which jobs this node should own. Claims those that it lacks, and yields those that are no longer its
        own."""
        if self.nodes is None or self._leaves:
            return
        defined = self._jobs.defined
        enabled = [name for name, job in defined.items() if job.enabled]
        before, self._share = self._share, self.nodes.share(enabled)
        self._claim(self._share - before)
        for name in enabled:
            known = self._jobs.supervised[name].record is not None or self._feed.statuses[name].state == "elsewhere"
            if name not in self._share and not known:
                self._feed.tell(Elsewhere(name))
        self._yield_some(before - self._share)

    def _claim(self, names: Iterable[str]) -> None:
        """Claim jobs, those that are due first before others."""
        now = int(self._clock.wall())
        jobs = [self._jobs.defined[name] for name in names if self._is_ours(name)]
        jobs = [job for job in jobs if self._jobs.supervised[job.name].record is None]
        self._ledger.enroll(sorted(jobs, key=lambda job: job.schedule.next_due(now)), all_jobs=False)

    # ---- yielding

    def _yield_some(self, names: Iterable[str]) -> None:
        """Yield some jobs at a time. Those that are due last come first, so that another node has time to fork for
        them."""
        due = {name: self._next_fire(name) for name in names if name in self._jobs.defined}
        self._to_yield.extend(sorted(due, key=lambda name: due[name], reverse=True))
        if self._to_yield and not self._ticks:
            self._ticks = True
            self._tick()

    def _next_fire(self, name: str) -> float:
        return self._feed.statuses[name].next_fire or 0.0

    def _tick(self) -> None:
        now = self._clock.wall()
        for _ in range(min(AT_ONCE, len(self._to_yield))):
            name = self._to_yield.popleft()
            left = self._next_fire(name) - now if name in self._feed.statuses else -1.0
            if 0 < left < DUE_SOON:
                self._clock.at(self._clock.now() + left + AFTER, lambda name=name: self._yield(name))  # type: ignore[misc]
            else:
                self._yield(name)
        self._ticks = bool(self._to_yield)
        if self._ticks:
            self._clock.at(self._clock.now() + TICK, self._tick)

    def _yield(self, name: str) -> None:
        if name in self._jobs.supervised and not self._is_ours(name):
            self._jobs.yield_(name)

    def gone(self, name: str) -> None:
        """The job's process has ended. If this node should not own the job, any node may claim it now."""
        if self.nodes is None or self._is_ours(name):
            return
        self._ledger.put(Yield(name))
        if name in self._jobs.defined:
            self._jobs.disown(name)

    def shown(self, record: JobRecord, status: JobStatus) -> JobRecord:
        """Return the record with this node's own counts, which begin at its start. So sums over all nodes are right,
        whichever owns the job."""
        if self.nodes is None:
            return record
        return replace(record, counts=status.counts or {}, totals=status.totals)

    def is_unwanted(self, name: str) -> bool:
        """Whether this node no longer wants a job that it has just been given. If so, yields it."""
        if self.nodes is None or self._is_ours(name):
            return False
        self._ledger.put(Yield(name))
        return True

    def leave(self) -> None:
        """The daemon is about to stop. Any node may claim a job as soon as its process here has ended."""
        if self.nodes is None:
            return
        self._leaves = True
        self._ledger.put(Leave())
        for name, one in self._jobs.supervised.items():
            if one.process is None and one.record is not None:
                self.gone(name)

"""The exporter's state: the jobs and their last slots, the ledger, and when the parent last sent a message."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from tocsin.exporter.pieces import Work, at_once, pieces
from tocsin.exporter.processes import Processes, Seen
from tocsin.health import Judged, Known, Trouble, held, judge, troubles
from tocsin.ipc import status as statuses
from tocsin.ipc.actions import Acted, Answered
from tocsin.ipc.cluster import Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    DaemonStops,
    EventsDropped,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    LogLinesDropped,
    NotifierState,
    ProcessExited,
    ProcessUp,
    Started,
    ToExporter,
)
from tocsin.ipc.history import Row
from tocsin.ipc.job import Finished, Skipped, Sleeping, Stop
from tocsin.ipc.ledger import Committed, LedgerRoom
from tocsin.ipc.types import NotRunReason, Outcome, Trigger
from tocsin.schedule.expected import Expected

ACTIONS_KEPT = 200  # the latest, of all jobs: a job's page shows its own among them
LATEST = 3  # slots that may be known from the ledger when the parent tells of them
SLOTS_KEPT = 60  # per job: an hour of a job of every minute, and one line of a page


class Slot(Struct, frozen=True, gc=False):  # of half a million, none can be part of a cycle
    """The fate of a slot, or of a series of `count` slots from `due` to `last` that did not run for the same reason."""

    due: float
    last: float
    count: int
    fate: Outcome | NotRunReason
    detail: str = ""
    run_id: str = ""
    trigger: Trigger | None = None
    attempt: int = 0
    status: int | None = None
    started: float | None = None
    finished: float | None = None
    lateness: float | None = None
    duration: float | None = None
    reported: tuple[tuple[str, float], ...] = ()


def _append(slots: deque[Slot], slot: Slot) -> None:
    """Add a slot. If it did not run for the same reason as the one before, the two are joined, as in the ledger."""
    before = slots[-1] if slots else None
    if (
        before
        and not before.run_id
        and (before.fate, before.detail) == (slot.fate, slot.detail)
        and before.last < slot.due
    ):
        slots[-1] = replace(before, last=slot.last, count=before.count + slot.count)
    else:
        slots.append(slot)


def _slot(row: Row) -> Slot:
    assert row.fate != "running"
    return Slot(
        due=row.due,
        last=row.last,
        count=row.count,
        fate=row.fate,
        detail=row.detail,
        run_id=row.run_id or "",
        trigger=row.trigger,
        attempt=row.attempt,
        status=row.status,
        started=row.started,
        finished=row.finished,
        lateness=row.lateness,
        duration=row.duration,
        reported=tuple(row.reported.items()),
    )


def _covers(one: Slot, other: Slot) -> bool:
    return one.due <= other.due and other.last <= one.last and one.attempt == other.attempt


def _is_there(slots: deque[Slot], slot: Slot) -> bool:
    """Whether the ledger told of it before the parent did: then it is among the last ones."""
    latest = (slots[-back] for back in range(1, min(LATEST, len(slots)) + 1))
    return any(one.fate == slot.fate and _covers(one, slot) for one in latest)


@dataclass(slots=True)
class KnownJob:
    status: JobStatus
    slots: deque[Slot] = field(default_factory=lambda: deque(maxlen=SLOTS_KEPT))
    changes: int = 0  # the number of messages about the job
    expected: Expected = field(default_factory=Expected)
    seen: Seen | None = None  # its process

    @property
    def memory(self) -> int | None:
        """Bytes of private memory of its process."""
        return self.seen.memory if self.seen else None

    def follow(self) -> None:
        """Update `seen` after a change of the status, which may name another process."""
        pid = self.status.pid
        if pid is None:
            self.seen = None
        elif self.seen is None or self.seen.pid != pid:
            self.seen = Seen(pid)

    @property
    def totals(self) -> dict[str, float]:
        """The total of each field that the job file names."""
        return {name: self.status.totals.get(name, 0.0) for name in self.status.fields}


class State:
    def __init__(self, now: float, clock: float) -> None:
        """`now` is Unix time. `clock` is monotonic seconds, here and below."""
        self.began = now
        self.jobs: dict[str, KnownJob] = {}
        self.ledger: LedgerState | None = None
        self.config: ConfigLoaded | None = None
        self.members: Members | None = None  # the nodes that share the ledger; None where it is one daemon's
        self._stops: DaemonStops | None = None
        self._notifier: NotifierState | None = None
        self._heard = clock  # the fork counts as a sign of life
        self._heartbeat = clock
        self.processes = Processes()
        self.commits = 0  # grows with each commit of the ledger, and where it may have missed one
        self.actions: deque[Acted] = deque(maxlen=ACTIONS_KEPT)  # newest first
        self.unread: dict[str, None] = {}  # jobs whose slots from before this process have not been read yet, in order

    def hear(self, message: ToExporter, clock: float) -> KnownJob | None:
        """Apply a message. Returns its job after the message, if that is known."""
        self._heard = clock  # any message counts: a heartbeat may wait behind the state of thousands of jobs
        match message:
            case JobStatus():
                return self._define(message)
            case JobRemoved(name=name):
                self.jobs.pop(name, None)
                self.unread.pop(name, None)
            case LedgerState():
                self.ledger = message
                self.commits += 1
            case ConfigLoaded():
                self.config = message
            case DaemonStops():
                self._stops = message
            case NotifierState():
                self._notifier = message
            case Heartbeat():
                self._heartbeat = clock
            case Sleeping() | Started() | Finished() | Skipped() | ProcessUp() | ProcessExited():
                if job := self.jobs.get(message.job):
                    job.status = statuses.after(job.status, message)
                    job.changes += 1
                    job.follow()
                    self._remember(job, message)
                    return job
            case Members():
                self.members = message
            case Acted():
                self.actions.appendleft(message)
                if job := self.jobs.get(message.job):
                    job.changes += 1
            case Committed() | EventsDropped():
                self.commits += 1
            case LogLinesDropped() | LedgerRoom() | Answered() | Stop():
                pass
            case _:
                assert_never(message)
        return None

    def _define(self, status: JobStatus) -> KnownJob:
        if status.name not in self.jobs:
            self.unread[status.name] = None
        job = self.jobs.setdefault(status.name, KnownJob(status))
        job.status = status
        job.changes += 1
        job.follow()
        return job

    def _remember(self, job: KnownJob, message: ToExporter) -> None:
        match message:
            case Skipped():
                slot = Slot(message.first, message.last, message.count, message.reason, message.detail)
                if not _is_there(job.slots, slot):
                    _append(job.slots, slot)
            case Finished():
                slot = Slot(
                    due=message.due,
                    last=message.due,
                    count=1,
                    fate=message.outcome,
                    detail=message.detail,
                    run_id=message.run_id,
                    trigger=message.trigger,
                    attempt=message.attempt,
                    status=message.status,
                    started=message.started,
                    finished=message.finished,
                    lateness=message.lateness,
                    duration=message.duration,
                    reported=tuple(message.reported.items()),
                )
                if not _is_there(job.slots, slot):
                    job.slots.append(slot)

    def recall(self, name: str, rows: Iterable[Row]) -> None:
        """Take a job's slots from the ledger, newest first, including those from before this process."""
        if job := self.jobs.get(name):
            past = [_slot(row) for row in rows if row.fate != "running"]
            heard = [slot for slot in job.slots if not any(_covers(one, slot) for one in past)]
            job.slots = deque(sorted([*past, *heard], key=lambda slot: (slot.due, slot.attempt)), SLOTS_KEPT)
            job.changes += 1

    def recall_actions(self, past: Iterable[Acted]) -> None:
        """Take the actions from the ledger, newest first, also those from before this process."""
        for one in past:
            if one not in self.actions and len(self.actions) < ACTIONS_KEPT:
                self.actions.append(one)
        for job in self.jobs.values():
            job.changes += 1

    def actions_of(self, name: str) -> list[Acted]:
        """The latest actions on the job, newest first."""
        return [one for one in self.actions if one.job == name]

    # ---- questions

    def silence(self, clock: float) -> float:
        """Seconds since the parent's last sign of life."""
        return clock - self._heard

    def troubles(self, clock: float) -> list[Trouble]:
        """Return what is wrong with the daemon, worst first."""
        behind = clock - self._heartbeat
        return troubles(Known(self.config, self.ledger, self._stops, self.silence(clock), behind, self._notifier))

    def judged(self, now: float, clock: float) -> Work[list[tuple[KnownJob, Judged]]]:
        """Return every job with its health. `now` is Unix time. The jobs are those of one moment; each is judged as it
        is when its turn comes."""
        yield from self.processes.look(self._seen(), clock)
        why_none = held(self.troubles(clock))
        found = []
        for some in pieces(list(self.jobs.values())):
            found += [(job, self.judge(job, now, why_none)) for job in some]
            yield
        return found

    def judged_now(self, job: KnownJob, now: float, clock: float) -> Judged:
        """Return the health of one job."""
        at_once(self.processes.look([job.seen] if job.seen else [], clock))
        return self.judge(job, now, held(self.troubles(clock)))

    def judge(self, job: KnownJob, now: float, held: str | None) -> Judged:
        """Judge a job's health, with the last known state of its process. `held`: why no job can be called, if so."""
        return judge(
            job.status, now, job.expected.deadline(job.status, self.began), job.seen.state if job.seen else "", held
        )

    def stalled(self, now: float, clock: float) -> Work[list[str]]:
        """Describe each stalled job in a sentence, apart from the troubles of the daemon."""
        yield from self.processes.look(self._seen(), clock)
        stalled = []
        for some in pieces(list(self.jobs.values())):
            found = [(job.status.name, self.judge(job, now, None)) for job in some]
            stalled += [f"job {name} is stalled: {one.why}" for name, one in found if one.health == "stalled"]
            yield
        return stalled

    def want_memory(self, clock: float) -> None:
        """Somebody asks for the memory of the jobs' processes: keep it up to date for a while."""
        self.processes.want_memory(self._seen(), clock)

    def measure(self, clock: float) -> float:
        """Measure some of it, if somebody asked recently. Returns the seconds until the next call."""
        return self.processes.measure(self._seen(), clock)

    def _seen(self) -> Iterator[Seen]:
        return (job.seen for job in self.jobs.values() if job.seen)

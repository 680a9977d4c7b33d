"""The messages from the parent to the exporter, which sends none."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.actions import Acted, Answered, Requested
from tocsin.ipc.cluster import Members
from tocsin.ipc.fates import Fate
from tocsin.ipc.job import Finished, Skipped, Sleeping, Stop
from tocsin.ipc.ledger import Committed, LedgerRoom
from tocsin.ipc.types import Count, ExitReason, JobState, Message, Outcome


class JobStatus(Message, frozen=True):
    """The state of one job, as `tocsin jobs`, `/api/jobs` and the metrics show it."""

    name: str
    schedule: str
    timezone: str
    words: str  # the schedule in plain English
    method: str
    url: str  # without its query, which may hold the secret
    host: str
    enabled: bool
    description: str
    timeout: float
    grace: float
    fields: tuple[str, ...]  # the names of the job's totals
    state: JobState
    paused: bool = False
    pid: int | None = None
    process_started: float | None = None
    next_fire: float | None = None
    running_since: float | None = None
    last_outcome: Outcome | None = None
    last_detail: str = ""
    last_run: float | None = None
    last_success: float | None = None
    consecutive_failures: int = 0
    labels: tuple[tuple[str, str], ...] = ()  # sorted by name
    missing: int = 0  # slots since its last run that did not run, except those that a pause skipped
    usual_duration: float | None = (
        None  # seconds: an average of its last successful runs, in which the latest count most
    )
    unreachable: bool = False  # whether the last run got no answer from the app
    paused_since: float | None = None  # this and the next three: None and empty while it is not paused
    paused_until: float | None = None  # None: until it is resumed
    paused_why: str = ""
    paused_by: str = ""
    missed_at: float | None = None  # when slots were last found to be missed without a catch-up
    alert_after: int = 0  # failures in a row that call for an alert; 0: depends on the schedule
    notify: bool = True  # whether the notifier tells of it
    notify_after: int = 0  # failures in a row that call for a message; 0: as alert_after
    counts: dict[Fate, int] | None = None  # runs and slots by fate; None until the ledger has sent them
    totals: dict[str, float] = msgspec.field(
        default_factory=dict
    )  # sums of the reported values, since its first enrolment
    node: str = ""  # that owns the job, if several share the ledger; "": none, or not known yet
    since: float | None = None  # since when a success is expected, if there was none later: first seen or resumed


class JobRemoved(Message, frozen=True):
    """The job is no longer in the job file."""

    name: str


class Started(Message, frozen=True):
    """A run that began at `now` is still running. Not sent for short runs, which are over too soon."""

    job: str
    now: float


class ProcessUp(Message, frozen=True):
    """A child was forked. `process` is `ledger`, `exporter`, `notifier` or `job`. `job` is the job's name, or empty."""

    process: str
    job: str
    pid: int
    now: float


class ProcessExited(Message, frozen=True):
    process: str
    job: str
    reason: ExitReason
    detail: str


class ConfigLoaded(Message, frozen=True):
    """A load of the job file, at the start or at a reload. `error` says why it was refused, or is None."""

    hash: str
    now: float
    error: str | None = None


class DaemonStops(Message, frozen=True):
    """The daemon was told at `now` to stop. Running calls may finish, and no new ones begin."""

    now: float


class LedgerState(Message, frozen=True):
    up: bool
    backlog: int  # entries not yet committed
    detail: str | None = None  # why it is not up, if that is known


class NotifierState(Message, frozen=True):
    """From the notifier: what became of its messages and pings, counted since the state folder knows of them, and what
    is wrong with their delivery ("": nothing)."""

    sent: Count = 0
    failed: Count = 0  # attempts; each is tried again
    given_up: Count = 0  # messages that an address never took
    waiting: Count = 0  # messages that an address has yet to take
    pinged: Count = 0
    pings_failed: Count = 0
    detail: str = ""


class LogLinesDropped(Message, frozen=True):
    """Log lines that the parent has dropped since its start, because the reader was too slow."""

    count: int


class EventsDropped(Message, frozen=True):
    """Events for the exporter or the ledger that the parent has dropped since its start."""

    count: int


class Heartbeat(Message, frozen=True):
    """The parent is alive. /healthz reports an error when these stop."""

    now: float


ToExporter = (
    JobStatus
    | JobRemoved
    | Sleeping
    | Started
    | Finished
    | Skipped
    | ProcessUp
    | ProcessExited
    | ConfigLoaded
    | DaemonStops
    | LedgerState
    | LedgerRoom
    | Committed
    | Members
    | NotifierState
    | LogLinesDropped
    | EventsDropped
    | Heartbeat
    | Acted
    | Answered
    | Stop
)

decode_to_exporter: Callable[[bytes], ToExporter] = msgspec.json.Decoder(ToExporter).decode


decode_from_exporter: Callable[[bytes], Requested] = msgspec.json.Decoder(Requested).decode

"""What the parent tells the exporter, which only listens."""

from collections.abc import Callable
from typing import Never

import msgspec

from tocsin.ipc.fates import Fate
from tocsin.ipc.job import Finished, Skipped, Sleeping, Stop
from tocsin.ipc.ledger import Committed
from tocsin.ipc.types import ExitReason, JobState, Message, Outcome


class JobStatus(Message, frozen=True):
    """All there is to know about one job: what `tocsin jobs`, `/api/jobs` and the metrics show."""

    name: str
    schedule: str
    timezone: str
    words: str  # the schedule in plain English
    method: str
    url: str  # without query: that may hold the secret
    host: str
    enabled: bool
    description: str
    timeout: float
    grace: float
    fields: tuple[str, ...]  # names of the totals
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
    missing: int = 0  # slots that did not run since its last run; those that a pause skips are not among them
    usual_duration: float | None = None  # of its last successful runs, the latest counting most
    unreachable: bool = False  # whether the last run got no answer from the app
    paused_since: float | None = None
    missed_at: float | None = None  # when slots were last found to be missed, in whose place none was caught up
    alert_after: int = 0  # failures in a row from which on someone should hear of it; 0: by the schedule
    counts: dict[Fate, int] | None = None  # runs and slots by fate; None until the ledger has told
    totals: dict[str, float] = msgspec.field(
        default_factory=dict
    )  # sums of what replies reported, since the ledger knows the job
    since: float | None = None  # from when on a success is expected, where none came later: first seen, resumed


class JobRemoved(Message, frozen=True):
    """The job is not in the job file any more."""

    name: str


class Started(Message, frozen=True):
    """A run that began at `now` is still going on: a short one is over before anybody is told."""

    job: str
    now: float


class ProcessUp(Message, frozen=True):
    """A child was forked. `process` is `ledger`, `exporter` or `job`; `job` is empty but for jobs."""

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
    """A load of the job file, at start or reload; `error` says why it was refused; None: it was applied."""

    hash: str
    now: float
    error: str | None = None


class DaemonStops(Message, frozen=True):
    """The daemon was told at `now` to stop: running calls may finish, no other begins."""

    now: float


class LedgerState(Message, frozen=True):
    up: bool
    backlog: int  # entries not yet committed
    detail: str | None = None  # why it is not up, if that is known


class LogLinesDropped(Message, frozen=True):
    """Log lines that the parent dropped since it started, because the reader was behind."""

    count: int


class EventsDropped(Message, frozen=True):
    """Events for the exporter or the ledger that the parent dropped since it started."""

    count: int


class Heartbeat(Message, frozen=True):
    """Parent to exporter: alive. Its absence is what /healthz reports."""

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
    | Committed
    | LogLinesDropped
    | EventsDropped
    | Heartbeat
    | Stop
)

decode_to_exporter: Callable[[bytes], ToExporter] = msgspec.json.Decoder(ToExporter).decode


def decode_from_exporter(_: bytes) -> Never:
    raise msgspec.ValidationError("the exporter has nothing to say")

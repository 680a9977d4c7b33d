"""The frozen messages that cross a channel. A process learns about another through these alone.

Instants are Unix seconds (float, UTC); durations are seconds (float). A `due` of the schedule is a whole
second; the `due` of a manual run never is, so the two cannot claim the same slot. On the wire a message is
JSON with its class name in `type`; decoding checks every field, so nothing a child sends can harm its reader.
"""

import hashlib
import signal
import uuid
from typing import Annotated, Literal, get_args

import msgspec

Outcome = Literal[
    "success",
    "unauthorized",
    "http_error",
    "connection_error",
    "timeout",
    "invalid_response",
    "lost",
    "cancelled",
]
ErrorKind = Literal["dns", "refused", "unreachable", "tls", "reset", "connect_timeout", "other"]
StatusClass = Literal["2xx", "3xx", "401", "403", "4xx", "5xx"]
NotRunReason = Literal["overlap", "paused", "missed"]
ReportedError = Literal["missing", "not_a_number"]
ExitReason = Literal["clean", "error", "signal", "deadline"]
Trigger = Literal["schedule", "manual", "catch-up"]
JobState = Literal["disabled", "starting", "sleeping", "running", "backing off", "stopping"]

Instant = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]  # to the year 9999: what datetime can show
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # what SQLite and a float can hold

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
STATUS_CLASSES: tuple[StatusClass, ...] = get_args(StatusClass)
NOT_RUN_REASONS: tuple[NotRunReason, ...] = get_args(NotRunReason)
REPORTED_ERRORS: tuple[ReportedError, ...] = get_args(ReportedError)
EXIT_REASONS: tuple[ExitReason, ...] = get_args(ExitReason)

CANCEL = signal.SIGUSR1  # parent to child: end the call now; SIGTERM often goes to a whole group, so children ignore it
ATTEMPTS_TOLD = 10  # of a run with more than one, the last of them
ATTEMPT_LENGTH = 200  # characters of what is told of one of them
DETAIL_LENGTH = 500  # characters of a detail that are kept: a line a person reads, and 64 KiB hold a message

_RUN_IDS = uuid.UUID("7b1a7f9e-0c0b-5f0e-9d1c-70c51d000001").bytes  # the namespace of Tocsin's run ids (RFC 9562, v5)


def scheduled_run_id(job: str, due: float) -> str:
    """The run id of a scheduled slot: the same whoever computes it, and the same across attempts.

    It is `uuid.uuid5` of the job's name and the instant, without the objects that takes (RFC 9562, 5.5)."""
    name = hashlib.sha1(b"%b%b\n%d" % (_RUN_IDS, job.encode(), int(due)), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(name[16], 16) & 3]
    return f"{name[:8]}-{name[8:12]}-5{name[13:16]}-{variant}{name[17:20]}-{name[20:32]}"


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="type", forbid_unknown_fields=True):
    """What all messages are: immutable, compared by value, tagged with their class name."""


# ---- a job's child and its parent ------------------------------------------------------------------------


class Sleeping(Message, frozen=True):
    """Job to parent: asleep until `due`, the next instant of the schedule."""

    job: str
    due: Instant


class Ask(Message, frozen=True):
    """Job to parent to ledger: may I run this slot? No call goes out before the answer."""

    job: str
    due: Instant
    run_id: str
    trigger: Trigger = "schedule"
    attempt: Count = 0
    owner: str = ""  # the parent fills it in: which life of which child asks


class Grant(Message, frozen=True):
    """Ledger to parent to job: the start is committed, go."""

    job: str
    due: Instant
    attempt: Count = 0


class Deny(Message, frozen=True):
    """Ledger to parent to job: the slot is taken already."""

    job: str
    due: Instant
    attempt: Count
    why: str


class Finished(Message, frozen=True):
    """The end of a granted run, exactly one for each grant. From the job, or from the parent if it died."""

    job: str
    due: Instant
    run_id: str
    trigger: Trigger
    attempt: Count
    outcome: Outcome
    detail: str = ""
    status: int | None = None
    started: Instant | None = None  # when the request was sent; None when it never was
    finished: Instant = 0.0
    lateness: float | None = None  # started - due
    duration: float | None = None  # request sent to reply judged
    reported: dict[str, float] = {}
    reported_errors: dict[str, ReportedError] = {}
    responses: tuple[StatusClass, ...] = ()  # one for each attempt that was answered
    connection_errors: tuple[ErrorKind, ...] = ()  # one for each attempt that was not
    next_due: Instant | None = None  # the job sleeps until then, unless it says otherwise
    retries: Count = 0  # attempts after the first, whatever became of them
    attempts: tuple[tuple[Outcome, str], ...] = ()  # outcome and detail of each, where there were several


class Skipped(Message, frozen=True):
    """A run of slots that did not run, for one reason: `count` of them from `first` to `last`."""

    job: str
    first: Instant
    last: Instant
    count: Count
    reason: NotRunReason
    detail: str = ""


class Fire(Message, frozen=True):
    """Parent to job: run once now, whatever the schedule says."""

    due: Instant
    run_id: str


class Pause(Message, frozen=True):
    """Parent to job (and to the ledger, which remembers): let scheduled slots pass, or no longer."""

    job: str
    paused: bool


class Stop(Message, frozen=True):
    """Parent to any child: finish what runs, start nothing, exit."""


class Beginning(Message, frozen=True):
    """What the parent hands to a new child of a job, at the fork."""

    last: int  # slots up to this instant are accounted for
    paused: bool
    why_missed: str  # what kept the slots since `last` from running
    again: Ask | None = None  # a run that was cut off and is to be delivered once more
    gives_way: bool = False  # after sending, to those that have yet to send: there are many of them


# ---- the ledger -------------------------------------------------------------------------------------------


class Enroll(Message, frozen=True):
    """The job is in roster number `roster` with this schedule, which is empty while it is disabled. Answered by its
    `Past`."""

    job: str
    schedule: str
    roster: int
    now: Instant


class Enrolled(Message, frozen=True):
    """Every job of the roster was named: the ledger forgets the baseline of the others."""

    roster: int


class Past(Message, frozen=True):
    """What the ledger knows of a job: slots up to `last_due` are accounted for."""

    job: str
    last_due: Instant
    paused: bool = False
    last_outcome: Outcome | None = None
    last_detail: str = ""
    last_run: Instant | None = None
    last_success: Instant | None = None
    consecutive_failures: int = 0
    since: Instant = 0.0  # from when on a success is expected, where none came later


class Release(Message, frozen=True):
    """The child died before the call or was told to stop: it never went out, the slot is free again."""

    job: str
    due: Instant
    attempt: Count
    owner: str


class Entry(Message, frozen=True):
    """What the parent sends to the ledger: numbered, kept and sent again until committed."""

    seq: int
    body: Ask | Finished | Skipped | Release | Pause | Enroll | Enrolled


class Committed(Message, frozen=True):
    """Ledger to parent: everything up to `seq` is durable; the commit took `seconds`."""

    seq: int
    seconds: float


class LedgerReady(Message, frozen=True):
    """Ledger to parent: open for entries. `before` says what kept slots from running until this daemon began; this
    daemon's entries up to `seq` are durable."""

    before: str = ""
    seq: int = 0


class LedgerTrouble(Message, frozen=True):
    """Ledger to parent: cannot commit, and why; an empty detail says that it can again."""

    detail: str


class LedgerUnusable(Message, frozen=True):
    """Ledger to parent: the store cannot be opened, and no retry will mend that."""

    detail: str


# ---- what the exporter is told ----------------------------------------------------------------------------


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
    since: float | None = None  # from when on a success is expected, where none came later: first seen, resumed


class JobRemoved(Message, frozen=True):
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
    """A load of the job file, at start or reload; `error` is empty when it was taken over."""

    hash: str
    now: float
    error: str = ""


class LedgerState(Message, frozen=True):
    up: bool
    backlog: int  # entries not yet committed
    detail: str = ""


class LogLinesDropped(Message, frozen=True):
    """Log lines that the parent dropped since it started, because the reader was behind."""

    count: int


class EventsDropped(Message, frozen=True):
    """Events for the exporter or the ledger that the parent dropped since it started."""

    count: int


class Heartbeat(Message, frozen=True):
    """Parent to exporter: alive. Its absence is what /healthz reports."""

    now: float


# ---- the control socket -----------------------------------------------------------------------------------


class ListJobs(Message, frozen=True):
    pass


class FireJob(Message, frozen=True):
    job: str


class PauseJob(Message, frozen=True):
    job: str
    paused: bool


class ReloadConfig(Message, frozen=True):
    pass


class Note(Message, frozen=True):
    """What the command waits for; its answer follows."""

    text: str


class Done(Message, frozen=True):
    """The command was carried out; nothing follows."""

    text: str = ""


class Refused(Message, frozen=True):
    """The command was not carried out, and why. `code` is the exit code of the command."""

    why: str
    code: int


_Anything = (
    Sleeping
    | Ask
    | Grant
    | Deny
    | Finished
    | Skipped
    | Release
    | Fire
    | Pause
    | Stop
    | Past
    | Entry
    | Committed
    | LedgerReady
    | LedgerTrouble
    | LedgerUnusable
    | JobStatus
    | JobRemoved
    | Started
    | ProcessUp
    | ProcessExited
    | ConfigLoaded
    | LedgerState
    | LogLinesDropped
    | EventsDropped
    | Heartbeat
    | ListJobs
    | FireJob
    | PauseJob
    | ReloadConfig
    | Note
    | Done
    | Refused
)

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(_Anything).decode

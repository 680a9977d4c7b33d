"""What a job's process and its parent say to each other."""

import hashlib
import signal
import uuid
from collections.abc import Callable
from typing import Annotated

import msgspec

from tocsin.ipc.types import (
    REPLY_LENGTH,
    Count,
    ErrorKind,
    Instant,
    Message,
    NotRunReason,
    Outcome,
    ReportedError,
    StatusClass,
    Trigger,
)

CANCEL = signal.SIGUSR1  # parent to child: end the call now; SIGTERM often goes to a whole group, so children ignore it

_RUN_IDS = uuid.UUID("7b1a7f9e-0c0b-5f0e-9d1c-70c51d000001").bytes  # the namespace of Tocsin's run ids (RFC 9562, v5)

Reply = Annotated[str, msgspec.Meta(max_length=REPLY_LENGTH)]


def scheduled_run_id(job: str, due: float) -> str:
    """The run id of a scheduled slot: the same whoever computes it, and the same across attempts.

    It is `uuid.uuid5` of the job's name and the instant, without the objects that takes (RFC 9562, 5.5)."""
    name = hashlib.sha1(b"%b%b\n%d" % (_RUN_IDS, job.encode(), int(due)), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(name[16], 16) & 3]
    return f"{name[:8]}-{name[8:12]}-5{name[13:16]}-{variant}{name[17:20]}-{name[20:32]}"


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
    reported: dict[str, float] = msgspec.field(default_factory=dict)
    reported_errors: dict[str, ReportedError] = msgspec.field(default_factory=dict)
    responses: tuple[StatusClass, ...] = ()  # one for each attempt that was answered
    connection_errors: tuple[ErrorKind, ...] = ()  # one for each attempt that was not
    next_due: Instant | None = None  # the job sleeps until then, unless it says otherwise
    retries: Count = 0  # attempts after the first, whatever became of them
    reply: Reply = ""  # the beginning of the last one, where it is to be kept
    attempts: tuple[tuple[Outcome, str], ...] = ()  # outcome and detail of each, where there were several


class Skipped(Message, frozen=True):
    """A run of slots that did not run, for one reason: `count` of them from `first` to `last`."""

    job: str
    first: Instant
    last: Instant
    count: Count
    reason: NotRunReason
    detail: str = ""
    trigger: Trigger = "schedule"  # a manual run says nothing of the schedule's slots before it
    at: Instant = 0.0  # when that became known: for slots missed while nobody watched, long after `last`
    made_up: bool = False  # all were within their grace, and the slot after them is caught up in their place


class Release(Message, frozen=True):
    """The child died before the call or was told to stop: it never went out, the slot is free again."""

    job: str
    due: Instant
    attempt: Count
    owner: str


class Fire(Message, frozen=True):
    """Parent to job: run once now, whatever the schedule says."""

    due: Instant
    run_id: str


class Pause(Message, frozen=True):
    """Parent to job (and to the ledger, which remembers): let scheduled slots pass, or no longer."""

    job: str
    paused: bool
    at: Instant


class Stop(Message, frozen=True):
    """Parent to any child: finish what runs, start nothing, exit."""


class Beginning(msgspec.Struct, frozen=True):
    """What the parent hands to a new child of a job at the fork: no message, the child is born with it."""

    last: int  # slots up to this instant are accounted for
    paused: bool
    why_missed: str  # what kept the slots since `last` from running
    redelivery: Ask | None = None  # a run that was cut off and is to be delivered once more
    gives_way: bool = False  # after sending, to those that have yet to send: there are many of them
    crowded: bool = False  # there are many jobs: connect early, not all in the last moment


FromJob = Sleeping | Ask | Finished | Skipped | Release
ToJob = Grant | Deny | Fire | Pause | Stop

decode_from_job: Callable[[bytes], FromJob] = msgspec.json.Decoder(FromJob).decode
decode_to_job: Callable[[bytes], ToJob] = msgspec.json.Decoder(ToJob).decode

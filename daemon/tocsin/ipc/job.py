"""The messages between a job's process and the parent."""

import hashlib
import signal
import uuid
from collections.abc import Callable
from typing import Annotated

import msgspec

from tocsin.ipc.tried import Parts, Tried
from tocsin.ipc.types import (
    REPLY_LENGTH,
    Count,
    ErrorKind,
    Instant,
    Message,
    Name,
    NotRunReason,
    Outcome,
    ReportedError,
    StatusClass,
    Trigger,
    Why,
)

CANCEL = signal.SIGUSR1  # parent to child: end the call now. Not SIGTERM, which others send to the whole group

_RUN_IDS = uuid.UUID("7b1a7f9e-0c0b-5f0e-9d1c-70c51d000001").bytes  # the namespace of Tocsin's run ids (RFC 9562, v5)

Reply = Annotated[str, msgspec.Meta(max_length=REPLY_LENGTH)]


def scheduled_run_id(job: str, due: float) -> str:
    """Return the run id of a scheduled slot. It depends only on job and slot, so all attempts have the same.

    It is `uuid.uuid5` of the job's name and the instant (RFC 9562, 5.5), computed without the objects of that module.
    """
    name = hashlib.sha1(b"%b%b\n%d" % (_RUN_IDS, job.encode(), int(due)), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(name[16], 16) & 3]
    return f"{name[:8]}-{name[8:12]}-5{name[13:16]}-{variant}{name[17:20]}-{name[20:32]}"


class Sleeping(Message, frozen=True):
    """Job to parent: it sleeps until `due`, the next instant of the schedule."""

    job: str
    due: Instant


class Ask(Message, frozen=True):
    """Job to parent to ledger: asks to run this slot. No call is made before the answer."""

    job: str
    due: Instant
    run_id: str
    trigger: Trigger = "schedule"
    attempt: Count = 0
    owner: str = ""  # filled in by the parent: the process that asks
    retry: bool = False  # the request was already sent once, and the job wants to send it again


class Grant(Message, frozen=True):
    """Ledger to parent to job: the start is committed, the job may call.

    `until`, in seconds of CLOCK_BOOTTIME, is the last moment to send the request: after that another node may own the
    job. The job then asks again. None: the grant does not end.
    """

    job: str
    due: Instant
    attempt: Count = 0
    until: float | None = None


class Deny(Message, frozen=True):
    """Ledger to parent to job: the slot is already taken. With a `reason`, the job reports that as the slot's fate."""

    job: str
    due: Instant
    attempt: Count
    why: str
    reason: NotRunReason | None = None


class Finished(Message, frozen=True):
    """The end of a granted run. It comes from the job, or from the parent if the job died."""

    job: str
    due: Instant
    run_id: str
    trigger: Trigger
    attempt: Count
    outcome: Outcome
    detail: str = ""
    status: int | None = None
    started: Instant | None = None  # when the request was sent, or None if it never was
    finished: Instant = 0.0
    lateness: float | None = None  # started - due
    duration: float | None = None  # request sent to reply judged
    reported: dict[str, float] = msgspec.field(default_factory=dict)
    reported_errors: dict[str, ReportedError] = msgspec.field(default_factory=dict)
    responses: tuple[StatusClass, ...] = ()  # one for each attempt that got a reply
    connection_errors: tuple[ErrorKind, ...] = ()  # one for each attempt that got none
    next_due: Instant | None = None  # the job sleeps until then, unless it sends another message
    retries: Count = 0  # attempts after the first
    reply: Reply = ""  # the beginning of the last reply, if the job keeps it
    parts: Parts | None = None  # of the last attempt
    attempts: tuple[Tried, ...] = ()  # the last ones, if there were several or one is kept
    # When the host's certificate ends, in its own words: parsing them would load modules into each job's process.
    certificate_until: Annotated[str, msgspec.Meta(max_length=40)] = ""


class Skipped(Message, frozen=True):
    """A series of slots that did not run, all for the same reason: `count` of them from `first` to `last`."""

    job: str
    first: Instant
    last: Instant
    count: Count
    reason: NotRunReason
    detail: str = ""
    trigger: Trigger = "schedule"  # a manual run does not account for the slots before it
    at: Instant = 0.0  # when that became known: long after `last` if Tocsin was down
    made_up: bool = False  # all were within grace, and the catch-up of the slot after them replaces them


class Release(Message, frozen=True):
    """The child died or was told to stop before the call. No call was made, so the slot is free again."""

    job: str
    due: Instant
    attempt: Count
    owner: str


class Fire(Message, frozen=True):
    """Parent to job: run once now, regardless of the schedule."""

    due: Instant
    run_id: str


class Pause(Message, frozen=True):
    """Parent to job, and to the ledger, which stores it: skip scheduled slots until `until` (None: until resumed), or
    run them again."""

    job: str
    paused: bool
    at: Instant
    until: Instant | None = None
    why: Why = ""
    by: Name = ""


class Stop(Message, frozen=True):
    """Parent to any child: finish the current work, start nothing new, and exit."""


class Beginning(msgspec.Struct, frozen=True):
    """What a new process of a job starts from. It is not a message: the child inherits it at the fork."""

    accounted: int  # Unix seconds: slots up to here are accounted for
    pause: tuple[float, float]  # the last one: slots due from its start to before its end are skipped
    why_missed: str  # why the slots since then did not run
    redelivery: Ask | None = None  # a lost run that must be delivered again
    gives_way: bool = False  # there are many jobs: after sending, yield the processor to those that have not sent
    crowded: bool = False  # there are many jobs: connect early, because they cannot all connect at the last moment
    guest: Fire | None = None  # the one run that it is for: another node owns the job


FromJob = Sleeping | Ask | Finished | Skipped | Release
ToJob = Grant | Deny | Fire | Pause | Stop

decode_from_job: Callable[[bytes], FromJob] = msgspec.json.Decoder(FromJob).decode
decode_to_job: Callable[[bytes], ToJob] = msgspec.json.Decoder(ToJob).decode

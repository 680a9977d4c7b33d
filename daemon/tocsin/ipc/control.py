"""The messages between a command and the daemon, on the control socket."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.actions import Actor
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, JobStatus, LedgerState
from tocsin.ipc.job import Finished
from tocsin.ipc.types import Instant, Message, Why


class ListJobs(Message, frozen=True):
    """Answered by the state of the daemon, then a JobStatus for each job, then Done."""


class FireJob(Message, frozen=True):
    job: str
    by: Actor = Actor()
    why: Why = ""


class PauseJob(Message, frozen=True):
    """Pause the job until `until` (None: until it is resumed), or resume it."""

    job: str
    paused: bool
    until: Instant | None = None
    by: Actor = Actor()
    why: Why = ""


class ReloadConfig(Message, frozen=True):
    by: Actor = Actor()
    why: Why = ""


class Note(Message, frozen=True):
    """What the command waits for. The answer follows."""

    text: str


class Done(Message, frozen=True):
    """The command was carried out. Nothing follows."""

    text: str = ""


class Refused(Message, frozen=True):
    """The command was not carried out; this says why. `code` is the exit code of the command."""

    why: str
    code: int


Request = ListJobs | FireJob | PauseJob | ReloadConfig
Answer = (
    JobStatus | ConfigLoaded | LedgerState | DaemonStops | Note | Finished | Done | Refused
)  # the last three end the answer

decode_request: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode

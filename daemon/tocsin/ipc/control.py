"""The messages between a command and the daemon, on the control socket."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.actions import Action
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, JobStatus, LedgerState, NotifierState
from tocsin.ipc.job import Finished
from tocsin.ipc.types import Message


class ListJobs(Message, frozen=True):
    """Answered by the state of the daemon, then a JobStatus for each job, then Done."""


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


Request = ListJobs | Action
Answer = (
    JobStatus | ConfigLoaded | LedgerState | DaemonStops | NotifierState | Note | Finished | Done | Refused
)  # the last three end the answer

decode_request: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode

"""The messages between the parent and the notifier."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.cluster import Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    DaemonStops,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    NotifierState,
)
from tocsin.ipc.job import Stop
from tocsin.ipc.types import Message, Outcome


class RunBegan(Message, frozen=True):
    """A run begins, of a job with a URL to ping."""

    job: str
    run_id: str


class RunOver(Message, frozen=True):
    """The run has ended. `duration` is that of its last attempt, in seconds."""

    job: str
    run_id: str
    outcome: Outcome
    detail: str = ""
    duration: float | None = None


ToNotifier = (
    JobStatus | JobRemoved | ConfigLoaded | LedgerState | Members | DaemonStops | Heartbeat | RunBegan | RunOver | Stop
)
FromNotifier = NotifierState

decode_to_notifier: Callable[[bytes], ToNotifier] = msgspec.json.Decoder(ToNotifier).decode
decode_from_notifier: Callable[[bytes], FromNotifier] = msgspec.json.Decoder(FromNotifier).decode

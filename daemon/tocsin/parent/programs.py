"""What runs in the children. The parent knows no more of it than this."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

from tocsin.config import Config
from tocsin.ipc.channel import AnyChannel, Channel
from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.ledger import FromLedger, ToLedger
from tocsin.parent.jobs import Program

LEDGER, EXPORTER = "ledger", "exporter"


@dataclass(frozen=True)
class Programs:
    job: Program
    ledger: Callable[[Channel[FromLedger, ToLedger], Config, str, socket.socket], None]
    exporter: Callable[[Channel[Never, ToExporter], Config, socket.socket, socket.socket], None]
    rehearse: Callable[[Config], None]  # done once in the parent, so that no child does it for the first time

    def of_service(
        self, name: str, config: Config, session: str, listener: socket.socket, past: socket.socket
    ) -> Callable[[AnyChannel], None]:
        """What the next process of the ledger or the exporter does. `past` is its end of the pair over
        which the exporter asks the ledger."""
        if name == LEDGER:
            return lambda channel: self.ledger(channel, config, session, past)
        return lambda channel: self.exporter(channel, config, listener, past)

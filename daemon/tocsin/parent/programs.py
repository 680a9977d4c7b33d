"""The programs that run in the children. This is all that the parent knows of them."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from tocsin.config import Config
from tocsin.ipc.actions import Requested
from tocsin.ipc.channel import AnyChannel, Channel
from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.ledger import FromLedger, ToLedger
from tocsin.parent.jobs import Program

LEDGER, EXPORTER = "ledger", "exporter"


@dataclass(frozen=True)
class Programs:
    job: Program
    ledger: Callable[[Channel[FromLedger, ToLedger], Config, str, socket.socket], None]
    exporter: Callable[[Channel[Requested, ToExporter], Config, socket.socket, socket.socket], None]
    rehearse: Callable[[Config], None]  # runs once in the parent, so that no child does anything for the first time

    def of_service(
        self, name: str, config: Config, session: str, listener: socket.socket, past: socket.socket
    ) -> Callable[[AnyChannel], None]:
        """Return the main function of the next ledger or exporter process. `past` is its end of the socket pair over
        which the exporter asks the ledger."""
        if name == LEDGER:
            return lambda channel: self.ledger(channel, config, session, past)
        return lambda channel: self.exporter(channel, config, listener, past)

"""The programs that run in the children. This is all that the parent knows of them."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tocsin.config import Config
from tocsin.ipc.actions import Requested
from tocsin.ipc.channel import AnyChannel, Channel
from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.ledger import FromLedger, ToLedger
from tocsin.ipc.notifier import FromNotifier, ToNotifier
from tocsin.parent.supervised import Program

LEDGER, EXPORTER, NOTIFIER = "ledger", "exporter", "notifier"


@dataclass(frozen=True)
class Programs:
    job: Program
    ledger: Callable[[Channel[FromLedger, ToLedger], Config, str, socket.socket], None]
    exporter: Callable[[Channel[Requested, ToExporter], Config, socket.socket, socket.socket], None]
    notifier: Callable[[Channel[FromNotifier, ToNotifier], Config], None]
    rehearse: Callable[[Config], None]  # runs once in the parent, so that no child does anything for the first time

    def of_service(
        self, name: str, config: Config, session: str, listener: socket.socket, past: Mapping[str, socket.socket]
    ) -> Callable[[AnyChannel], None]:
        """Return the main function of the next process of this name. `past` has the ends of the socket pair over which
        the exporter asks the ledger."""
        if name == NOTIFIER:
            return lambda channel: self.notifier(channel, config)
        if name == LEDGER:
            return lambda channel: self.ledger(channel, config, session, past[LEDGER])
        return lambda channel: self.exporter(channel, config, listener, past[EXPORTER])

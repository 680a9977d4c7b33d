"""What the notifier remembers when it or the daemon is restarted: a file in the state folder, replaced as a whole.

It is not in the ledger, because the notifier must also report that the ledger does not commit. And several daemons may
share a ledger on PostgreSQL, each with a notifier of its own.
"""

import contextlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from tocsin import files, log
from tocsin.ipc.exporter import NotifierState
from tocsin.notifier.cases import State
from tocsin.notifier.outbox import Outbox
from tocsin.notifier.pace import Pace

NAME = "notifier.json"
SIZE = 64 * 1024**2  # bytes: 50 addresses with a full queue of the longest messages, and room to spare


class Kept(Struct, frozen=True):
    outages: State = State()
    pace: Pace = Pace()
    outbox: Outbox = {}
    counts: NotifierState = NotifierState()


_decode = msgspec.json.Decoder(Kept).decode
_encode = msgspec.json.Encoder().encode


class Memory:
    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME
        self._written = b""
        self._complained = False

    def read(self) -> Kept:
        """Return what was written last. If it cannot be read, logs that and returns an empty memory."""
        try:
            self._written = files.read(self._file, SIZE, "what the notifier remembers")
            return _decode(self._written)
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.MsgspecError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.error("cannot read what the notifier remembers: it may report outages twice", file=self._file, why=why)
            return Kept()

    def write(self, kept: Kept) -> None:
        """Write durably what has changed. Does not raise, because a full disk must not hold back a message."""
        text = _encode(kept)
        if text == self._written:
            return
        fresh = self._file.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()  # a link is removed, not followed
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
        except OSError as error:
            if not self._complained:
                log.error(
                    "cannot write what the notifier remembers: after a restart it may report outages twice",
                    file=self._file,
                    why=error.strerror,
                )
            self._complained = True
            return
        self._written = text
        self._complained = False

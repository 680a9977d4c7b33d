"""What the notifier remembers over its death and the daemon's: a file in the state folder, replaced as a whole.

It is not in the ledger: that the ledger does not commit is one of the things that it must tell, and a ledger on
PostgreSQL is shared by daemons that each tell for themselves.
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
        """What was written last; nothing where it cannot be read, which is said."""
        try:
            self._written = files.read(self._file, SIZE, "what the notifier remembers")
            return _decode(self._written)
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.MsgspecError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.error("cannot read what was told already; outages may be told again", file=self._file, why=why)
            return Kept()

    def write(self, kept: Kept) -> None:
        """Durably, if it is not what was written last. A full disk must not keep a message back."""
        text = _encode(kept)
        if text == self._written:
            return
        fresh = self._file.with_suffix(".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()  # not followed, if it is a link
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
        except OSError as error:
            if not self._complained:
                log.error("cannot keep what was told; a restart may tell it again", file=self._file, why=error.strerror)
            self._complained = True
            return
        self._written = text
        self._complained = False

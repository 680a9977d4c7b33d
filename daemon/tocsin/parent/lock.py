"""The state folder and its lock: one daemon at a time, and who that is.

The lock belongs to the open file, which every child inherits: a new daemon cannot fire while any orphan of
the old one lives.
"""

import fcntl
import os
import time
from pathlib import Path

FILE = "tocsin.lock"
PATIENCE = 10.0  # seconds to wait for the children of a daemon that was killed
_STEP = 0.05  # seconds between tries


class HeldByAnother(Exception):
    """Another daemon holds the state folder."""


def take(folder: Path, patience: float = PATIENCE) -> int:
    """Make the folder if it is missing, lock it, and return the descriptor that holds the lock.

    Raises HeldByAnother, and OSError where the folder cannot be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= give_up:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
                os.close(descriptor)
                raise HeldByAnother(f"{folder} is held by {holder}") from None
            time.sleep(_STEP)
    os.ftruncate(descriptor, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    os.pwrite(descriptor, f"process {os.getpid()} (tocsin run, since {started})\n".encode(), 0)
    return descriptor

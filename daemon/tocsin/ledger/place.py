"""Identifies the place of a daemon: its state folder, on one boot of one machine."""

import os
import uuid
from pathlib import Path

from tocsin import files

FILE = "place"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SIZE = 100  # bytes: a longer file is not ours


def place_of(folder: Path) -> str:
    """Return the name of the place. Raises OSError.

    Two daemons have the same name only if the second locked the folder after the first, on the same boot of the same
    machine. Then the first has ended. A random word in the folder tells containers apart whose folders have the same
    device and inode.
    """
    file = folder / FILE
    status = os.stat(folder)
    if not files.make_own(file):
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(made, uuid.uuid4().hex.encode())
            os.fsync(made)
        finally:
            os.close(made)
    word = files.read(file, _SIZE, "the name of a place").decode(errors="replace")
    return f"{_BOOT.read_text().strip()} {status.st_dev}:{status.st_ino} {word or uuid.uuid4().hex}"

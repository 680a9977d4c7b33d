"""Where a daemon runs, as far as its state folder tells: what a later daemon at the same place knows of it."""

import os
import uuid
from pathlib import Path

from tocsin import files

FILE = "place"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SIZE = 100  # bytes: more is some other file


def place_of(folder: Path) -> str:
    """The same for two daemons only where the second held the folder's lock after the first, on one boot of one
    machine: then the first is over. "" would be nobody's. The word in the folder tells apart containers whose kernel
    counts devices and files alike. Raises OSError."""
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

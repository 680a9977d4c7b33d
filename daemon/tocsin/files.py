"""Files that somebody else may have made: read within bounds and without waiting."""

import errno
import os
import stat
from pathlib import Path

_PIPE = (
    "it is a pipe, which can be read only once, and the daemon reads its files again at each reload: write a regular"
    " file, or have the tool that fills the pipe pass the variables on (op run -- tocsin run)"
)
_KINDS = {
    stat.S_IFIFO: _PIPE,
    stat.S_IFDIR: "it is a folder",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


def read(file: Path, most: int, what: str) -> bytes:
    """All of a regular file of at most `most` bytes, which is to hold `what` ("a secret"). Raises OSError, whose
    strerror says why in words that follow "cannot read FILE: "; also ValueError for a name with a zero byte.

    Never waits: a pipe without a writer would hold the daemon for ever. Something else than a file is not even
    opened, since opening alone means something to some devices.
    """
    _insist_on_file(os.stat(file))
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _insist_on_file(os.fstat(descriptor))  # it may have been replaced meanwhile
        content = b""
        while piece := os.read(descriptor, most + 1 - len(content)):
            content += piece
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes, too much for {what}")
    return content


def _insist_on_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(status.st_mode), "it is not a regular file"))

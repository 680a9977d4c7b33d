"""Files that somebody else may have made: read within bounds and without waiting; or that must be this user's own."""

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


def open_own(name: str, folder: int) -> int:
    """A descriptor of this user's file in the folder, for reading and writing; made where it is missing. Nobody else
    may open it. Raises OSError, also for a link, which may lead to any file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, _NOT_OURS.format("a link"), name) from None
        raise
    try:
        _insist_on_own(os.fstat(descriptor), name)
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_own(file: Path) -> bool:
    """Nobody but this user may open the file from now on; False where there is none. It is not opened: closing it
    would give up the locks that this process has on it (fcntl(2)). Raises OSError, also for a link."""
    try:
        descriptor = os.open(file, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        status = os.fstat(descriptor)
        _insist_on_own(status, str(file))
        if stat.S_IMODE(status.st_mode) != 0o600:
            os.chmod(f"/proc/self/fd/{descriptor}", 0o600)
    finally:
        os.close(descriptor)
    return True


_NOT_OURS = "it is {}, which Tocsin does not use there; remove it"


def _insist_on_own(status: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, _NOT_OURS.format("a link"), name)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _NOT_OURS.format("not a regular file"), name)
    if status.st_uid not in (0, os.geteuid()):
        raise OSError(errno.EPERM, f"it belongs to user {status.st_uid}; chown it, or remove it", name)
    if status.st_nlink > 1:
        raise OSError(errno.EMLINK, _NOT_OURS.format("a hard link to a file that has another name too"), name)

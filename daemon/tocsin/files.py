"""Reads files that other users may have made, with limits and without waiting. Creates files that are private."""

import errno
import os
import stat
from pathlib import Path

_PIPE = (
    "it is a pipe, which can be read only once, but the daemon reads its files again at each reload: use a regular"
    " file, or let the tool that fills the pipe set the variables (op run -- tocsin run)"
)
_KINDS = {
    stat.S_IFIFO: _PIPE,
    stat.S_IFDIR: "it is a folder",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


def read(file: Path, most: int, what: str) -> bytes:
    """Return the content of a regular file of at most `most` bytes. `what` says what it should contain ("a secret").

    Raises OSError, whose strerror can follow "cannot read FILE: ", and ValueError for a name with a zero byte. Never
    waits: a pipe without a writer would block the daemon forever. Does not open anything but a regular file, because
    opening has an effect on some devices.
    """
    _insist_on_file(os.stat(file))
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _insist_on_file(os.fstat(descriptor))  # the file may have been replaced meanwhile
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
    """Open a private file in the folder for reading and writing. Creates it if it is missing. Raises OSError, also
    for a link, which may point to any file."""
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
    """Make the file private. Returns False if it does not exist. Raises OSError, also for a link.

    The file is not opened, because closing it would release this process's locks on it (fcntl(2)).
    """
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

"""Checks whether the daemon can write to the state folder, and whether the disk has room."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tocsin.doctor.finding import Finding, fail, ok, warning
from tocsin.parent.trust import unsafe
from tocsin.units import size

LITTLE_SPACE = 500 * 1024**2  # bytes: a year of a thousand jobs' slots takes more, and a log or a backup soon fills it
NO_SPACE = 20 * 1024**2  # bytes: the ledger's write-ahead log alone grows to 16 MiB
FEW_INODES, NO_INODES = 1000, 16  # new files that the volume can hold: the ledger needs three, a log or a backup more
_FREE_SOME = "free some space: without it no slot can be recorded, and no call is made without a record"


def folder(path: Path) -> Iterator[Finding]:
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        why = "is not a folder" if there == path else f"cannot be created: {there} is not a folder"
        yield fail("state.folder", str(path), why, "move it away, or name another `state_dir` in [daemon]")
        return
    yield _writable(path, there)
    volume = os.statvfs(there)
    yield disk(str(path), volume.f_bavail * volume.f_frsize, volume.f_favail if volume.f_files else None)


def _writable(path: Path, there: Path) -> Finding:
    """`there` is the folder, or the folder above in which it would be created."""
    try:
        with tempfile.TemporaryFile(dir=there, buffering=0) as stream:
            stream.write(b"x")
    except OSError as error:
        return fail("state.folder", str(path), f"cannot be written: {error.strerror}", _advice(error, there))
    owner = there.stat().st_uid
    if found := unsafe(path, owner if there == path else os.geteuid()):
        return fail("state.folder", str(path), found.why, found.cure)
    if owner != os.geteuid() and there == path:
        detail = f"belongs to user {owner}, and this is user {os.geteuid()}: not tested what user {owner} may do"
        return warning("state.folder", str(path), detail, "run doctor as the user that the daemon runs as")
    return ok("state.folder", str(path), "can be written" if there == path else "can be made")


def _advice(error: OSError, there: Path) -> str:
    other = "name another `state_dir` in [daemon]"
    match error.errno:
        case errno.ENOSPC:
            return f"free some space or inodes on the volume of {there} (df, df -i), or {other}"
        case errno.EDQUOT:
            return f"raise the quota of the daemon's user on the volume of {there}, or {other}"
        case errno.EROFS:
            return f"mount the volume of {there} for writing, or {other}"
        case errno.EACCES | errno.EPERM:
            return f"let the daemon's user write to {there} (chown), or {other}"
    return f"find out what is wrong with {there} (dmesg), or {other}"


def disk(subject: str, free: int, inodes: int | None) -> Finding:
    """`free` is in bytes. `inodes` is None if the file system does not count them."""
    if free < NO_SPACE:
        return fail("state.disk", subject, f"only {size(free)} are free", _FREE_SOME)
    if inodes is not None and inodes < NO_INODES:
        detail = f"only {inodes} inodes are free, though {size(free)} are"
        return fail("state.disk", subject, detail, "delete some files (df -i): no new file can be created")
    if free < LITTLE_SPACE:
        return warning("state.disk", subject, f"only {size(free)} are free", _FREE_SOME)
    if inodes is not None and inodes < FEW_INODES:
        detail = f"only {inodes} inodes are free, though {size(free)} are"
        return warning("state.disk", subject, detail, "delete some files (df -i)")
    return ok("state.disk", subject, f"{size(free)} free")

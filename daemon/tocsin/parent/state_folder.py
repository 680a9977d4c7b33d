"""The state folder: this user's alone, held by one daemon at a time, and put right when somebody deletes it.

Three locks, so that no deletion lets a second daemon run beside this one: the file `tocsin.lock`, which names its
holder; the folder itself, for when that file is deleted; and a name in the kernel (an abstract socket, unix(7)) made
of the folder's path, for when the folder is. All belong to open files that every child inherits: a new daemon cannot
fire while any orphan of the old one lives.
"""

import errno
import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tocsin import files, linux, log
from tocsin.ipc.channel import peer
from tocsin.parent.loop import Loop
from tocsin.parent.trust import unsafe

LOCK = "tocsin.lock"
PATIENCE = 10.0  # seconds to wait for the children of a daemon that was killed
REST = 1.0  # seconds until the next try where nobody could be answered
_STEP = 0.05  # seconds between tries
HELD = 3  # exit code where another daemon has what this one needs


class HeldByAnother(Exception):
    """Another daemon holds the state folder."""


class StateFolder:
    """Makes the folder if it is missing, and takes it. Raises HeldByAnother, and OSError where the folder cannot be
    used: made, written, or trusted."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self._folder = self._lock = -1
        self.names: list[socket.socket] = []  # `answer` hangs up on who connects, to know whose they are
        give_up = time.monotonic() + patience
        try:
            for name in _names(path):
                if held := _named(name, path, give_up):
                    self.names.append(held)
            self._take(give_up)
        except BaseException:
            self.close()
            raise

    @property
    def descriptors(self) -> set[int]:
        """What every child keeps."""
        return {self._folder, self._lock, *(one.fileno() for one in self.names)}

    def close(self) -> None:
        _close(self._folder, self._lock)
        self._folder = self._lock = -1
        for one in self.names:
            one.close()
        self.names.clear()

    def answer(self, loop: Loop) -> None:
        """Hang up on whoever asks who has the names: by then they know."""
        for one in self.names:
            loop.watch(one.fileno(), partial(_hang_up, one, loop))

    def is_held(self) -> bool:
        """Whether the folder is still this daemon's, once what somebody deleted or replaced is put right. Says what
        it did, and why the folder is lost."""
        try:
            mended = self.look()
        except (HeldByAnother, OSError) as error:
            log.error("the state folder is lost", why=str(error))
            return False
        if mended:
            log.error(mended)
        return True

    def look(self) -> str:
        """Put right what somebody deleted or replaced; "" when all is in its place, else what was done. Raises
        HeldByAnother when another daemon has the folder that stands there now, and OSError when none can be had."""
        if _identity(self.path) != _identity(self._folder):
            self._take(time.monotonic())
            return f"{self.path} was deleted or replaced; Tocsin created it again or uses the new one"
        if _identity(self.path / LOCK) != _identity(self._lock):
            lock = self._locked(self._folder, time.monotonic())
            _close(self._lock)
            self._lock = lock
            return f"{LOCK} was deleted or replaced; Tocsin created it again"
        return ""

    def _take(self, give_up: float) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if why := unsafe(self.path, os.geteuid()):
            raise OSError(errno.EPERM, str(why))
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                _flock(folder, give_up, lambda: self._held(held_by(self.path) or "an unknown process"))
            except OSError as error:  # a file system that locks no folders: the lock file and the name remain
                log.debug("cannot lock the state folder itself", why=str(error))
            lock = self._locked(folder, give_up)
        except BaseException:
            os.close(folder)
            raise
        _close(self._folder, self._lock)  # children that are at work have them still
        self._folder, self._lock = folder, lock

    def _locked(self, folder: int, give_up: float) -> int:
        """The lock file, locked."""
        lock = files.open_own(LOCK, folder)
        try:
            _flock(lock, give_up, lambda: self._held(_holder(lock)))
        except BaseException:
            os.close(lock)
            raise
        os.ftruncate(lock, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        os.pwrite(lock, f"process {os.getpid()} (tocsin run, since {started})\n".encode(), 0)
        return lock

    def _held(self, by: str) -> HeldByAnother:
        return HeldByAnother(f"{self.path} is held by {by}")


def held_by(path: Path) -> str | None:
    """Who holds the state folder; None when nobody does. Takes the lock for a moment where it is free (a daemon that
    starts meanwhile waits for it). Raises PermissionError."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:  # there is none, or a link
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _holder(lock: int) -> str:
    return os.pread(lock, 200, 0).decode(errors="replace").strip() or "an unknown process"


def _flock(descriptor: int, give_up: float, refusal: Callable[[], HeldByAnother]) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise refusal() from None
        time.sleep(_STEP)


def _names(path: Path) -> list[bytes]:
    """Of the folder as it is named and as it is found through links. Another mount namespace (a container that shares
    the network) may have another folder there."""
    mounts = os.stat("/proc/self/ns/mnt").st_ino
    paths = dict.fromkeys((os.path.abspath(path), os.path.realpath(path)))
    return [b"\0tocsin-" + hashlib.sha256(f"{mounts} {one}".encode()).hexdigest().encode() for one in paths]


def _named(name: bytes, path: Path, give_up: float) -> socket.socket | None:
    """The holder of the name; None where a stranger has taken it, whom nothing keeps from that."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    while True:
        try:
            sock.bind(name)
            sock.listen(8)
            return sock
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                sock.close()
                raise
        process, user = _peer(name)
        if user is not None and user not in (0, os.geteuid()):
            sock.close()
            log.warning("a process of another user holds a name that Tocsin uses as a lock", pid=process, user=user)
            return None
        if time.monotonic() >= give_up:
            sock.close()
            holder = held_by(path) or (f"process {process}" if process else "an unknown process")
            raise HeldByAnother(f"{path} is held by {holder}")
        time.sleep(_STEP)


def _hang_up(name: socket.socket, loop: Loop) -> None:
    try:
        name.accept()[0].close()
    except (BlockingIOError, ConnectionAbortedError):
        return  # who asked is gone already
    except OSError:  # there is no descriptor left to accept with
        loop.rest(name.fileno(), REST)


def _peer(name: bytes) -> tuple[int, int | None]:
    """Process and user of who has the name; process 0, or no user, where it cannot be known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(name)
        except OSError:  # it does not listen, it is gone by now, or many ask: strangers may do that on purpose
            return 0, linux.owner_of_unix_socket(name)
        return peer(client)


def _identity(of: Path | int) -> tuple[int, int] | None:
    """Device and inode; None where there is nothing."""
    try:
        status = os.stat(of)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _close(*descriptors: int) -> None:
    for one in descriptors:
        if one >= 0:
            os.close(one)

"""The state folder: private to this user, held by one daemon at a time, and repaired when somebody deletes it.

It has three locks, so that no deletion lets a second daemon run: the file `tocsin.lock`, which names its holder; the
folder itself, in case that file is deleted; and a name in the kernel (an abstract socket, unix(7)) made of the
folder's path, in case the folder is deleted. Every child inherits all three, so a new daemon cannot fire while any
orphan of the old one lives.
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
REST = 1.0  # seconds until the next try when no descriptor is free for an answer
_STEP = 0.05  # seconds between tries
HELD = 3  # exit code when another daemon holds what this one needs


class HeldByAnother(Exception):
    """Another daemon holds the state folder."""


class StateFolder:
    """Creates the folder if it is missing, and locks it.

    Raises HeldByAnother, and OSError when the folder cannot be created, written or trusted.
    """

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self._folder = self._lock = -1
        self.names: list[socket.socket] = []  # sockets that hold the names in the kernel
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
        """The descriptors that every child keeps."""
        return {self._folder, self._lock, *(one.fileno() for one in self.names)}

    def close(self) -> None:
        _close(self._folder, self._lock)
        self._folder = self._lock = -1
        for one in self.names:
            one.close()
        self.names.clear()

    def answer(self, loop: Loop) -> None:
        """Accept and close connections to the names. A connection alone tells the client who holds them."""
        for one in self.names:
            loop.watch(one.fileno(), partial(_hang_up, one, loop))

    def is_held(self) -> bool:
        """Repair what somebody deleted or replaced. Returns whether the folder still belongs to this daemon. Logs the
        repair, or why the folder is lost."""
        try:
            mended = self.look()
        except (HeldByAnother, OSError) as error:
            log.error("the state folder is lost", why=str(error))
            return False
        if mended:
            log.error(mended)
        return True

    def look(self) -> str:
        """Repair what somebody deleted or replaced. Returns what was done, or "".

        Raises HeldByAnother when another daemon holds the folder that is there now, and OSError when there can be none.
        """
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
            except OSError as error:  # some file systems cannot lock folders: the lock file and the name remain
                log.debug("cannot lock the state folder itself", why=str(error))
            lock = self._locked(folder, give_up)
        except BaseException:
            os.close(folder)
            raise
        _close(self._folder, self._lock)  # running children keep them open
        self._folder, self._lock = folder, lock

    def _locked(self, folder: int, give_up: float) -> int:
        """Return the lock file, locked."""
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
    """Return who holds the state folder, or None. Raises PermissionError.

    If the lock is free, takes it for a moment; a daemon that starts meanwhile waits for it.
    """
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:  # it does not exist, or is a link
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
    """The names of the folder's path as written and with links resolved. They include the mount namespace: a container
    that shares this network may have another folder at the same path."""
    mounts = os.stat("/proc/self/ns/mnt").st_ino
    paths = dict.fromkeys((os.path.abspath(path), os.path.realpath(path)))
    return [b"\0tocsin-" + hashlib.sha256(f"{mounts} {one}".encode()).hexdigest().encode() for one in paths]


def _named(name: bytes, path: Path, give_up: float) -> socket.socket | None:
    """Return a socket that holds the name, or None when another user holds it, which nothing prevents."""
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
        return  # the client has gone
    except OSError:  # no descriptor is free
        loop.rest(name.fileno(), REST)


def _peer(name: bytes) -> tuple[int, int | None]:
    """Return the pid and the user that hold the name: 0 or None if unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(name)
        except OSError:  # it does not listen, has gone, or its queue is full: others may do that on purpose
            return 0, linux.owner_of_unix_socket(name)
        return peer(client)


def _identity(of: Path | int) -> tuple[int, int] | None:
    """Return device and inode, or None if nothing is there."""
    try:
        status = os.stat(of)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _close(*descriptors: int) -> None:
    for one in descriptors:
        if one >= 0:
            os.close(one)

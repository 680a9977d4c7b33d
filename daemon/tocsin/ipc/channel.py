"""One end of a SOCK_SEQPACKET socket pair: send, receive, end-of-file.

The kernel keeps the boundaries of messages, and end-of-file means that the other side died (unix(7)).
A blocking end is for a child with one channel; a non-blocking end is for whoever must never wait: what the
other side does not take is queued up to a bound, and what does not fit is refused.
"""

import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tocsin.ipc.types import Message

MESSAGE_SIZE = 64 * 1024  # bytes of one message: four fit into the kernel's default send buffer
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
QUEUE_LENGTH = 4096  # messages held for a reader that is behind (about 1 MB): a stopped child costs no more


class ChannelClosed(Exception):
    """The other side is gone."""


class ChannelGarbage(Exception):
    """The other side sent what it may not send: no message, or one that goes another way."""


class Readable(Protocol):
    """Something that poll(2) can wait for."""

    def fileno(self) -> int: ...


Sent = TypeVar("Sent", bound=Message)
Heard = TypeVar("Heard")
encode = msgspec.json.Encoder().encode


class Channel(Generic[Sent, Heard]):
    """One end. `decode` knows what may be heard here, and raises msgspec.MsgspecError for everything else."""

    def __init__(
        self,
        sock: socket.socket,
        decode: Callable[[bytes], Heard],
        *,
        blocking: bool,
        queue_length: int = QUEUE_LENGTH,
    ) -> None:
        sock.setblocking(blocking)
        self._sock = sock
        self._decode = decode
        self._queue: deque[bytes] = deque()
        self._queue_length = queue_length

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    @property
    def peer(self) -> int:
        """The user at the other side."""
        return peer(self._sock)[1]

    @property
    def backlog(self) -> int:
        """Messages queued because the other side is behind; wait for writability while there are any."""
        return len(self._queue)

    def send(self, message: Sent) -> bool:
        """Send or queue. False: the queue is full and the message was not taken. Raises ChannelClosed."""
        packet = encode(message)
        if len(packet) > MESSAGE_SIZE:
            raise ValueError(f"cannot send {type(message).__name__}: {len(packet)} bytes, at most {MESSAGE_SIZE}")
        if self._queue:
            if len(self._queue) >= self._queue_length:
                return False
            self._queue.append(packet)
        elif not self._put(packet):
            self._queue.append(packet)
        return True

    def flush(self) -> None:
        """Send what is queued, as far as the other side takes it. Raises ChannelClosed."""
        while self._queue and self._put(self._queue[0]):
            self._queue.popleft()

    def _put(self, packet: bytes) -> bool:
        try:
            self._sock.send(packet, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        return True

    def receive(self, *, wait: bool = False) -> Heard | None:
        """The next message; None when there is none and `wait` is false.

        Raises ChannelClosed at end-of-file and ChannelGarbage for what does not decode.
        """
        flags = 0 if wait else socket.MSG_DONTWAIT
        try:
            try:
                packet = self._sock.recv(MESSAGE_SIZE, flags)
            except ConnectionResetError:  # said once, when it died with unread messages; what it sent is still there
                packet = self._sock.recv(MESSAGE_SIZE, flags)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        if not packet:
            raise ChannelClosed("end of file")
        try:
            return self._decode(packet)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ChannelGarbage(f"{error}: {packet[:80]!r}") from error

    def waiting(self, limit: int) -> Iterator[Heard]:
        """The messages that are there now, at most `limit` of them. Raises as `receive`."""
        for _ in range(limit):
            message = self.receive()
            if message is None:
                return
            yield message


AnyChannel = Channel[Any, Any]  # for who handles ends of several kinds


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new channel, close-on-exec; each becomes a Channel in the process that keeps it."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def peer(sock: socket.socket) -> tuple[int, int]:
    """Process and user at the other side (SO_PEERCRED of unix(7))."""
    process, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return process, user


def adopt(descriptor: int) -> socket.socket:
    """The socket of an inherited descriptor."""
    return socket.socket(fileno=descriptor)


def listen(folder: Path, name: str) -> socket.socket:
    """A listener for channels at `folder/name`, for this user alone. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
        before = os.umask(0o177)
        try:
            with _short(folder) as short:
                sock.bind(f"{short}/{name}")
        finally:
            os.umask(before)
        sock.listen(16)
    except OSError:
        sock.close()
        raise
    return sock


def connect(folder: Path, name: str, decode: Callable[[bytes], Heard]) -> Channel[Any, Heard]:
    """A blocking channel to the listener at `folder/name`. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short(folder) as short:
            sock.connect(f"{short}/{name}")
    except OSError:
        sock.close()
        raise
    return Channel(sock, decode, blocking=True)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name of the folder: an address has room for 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)

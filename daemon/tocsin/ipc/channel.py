"""One end of a SOCK_SEQPACKET socket pair: send, receive, end-of-file.

The kernel keeps the boundaries of messages, and end-of-file means that the other side died (unix(7)). A child with one
channel uses a blocking end. A process that must never wait uses a non-blocking end: messages that the other side does
not accept yet are queued, and when the queue is full, more are refused.
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
QUEUE_LENGTH = 4096  # messages kept for a slow reader (about 1 MB): the limit of what a stopped child costs


class ChannelClosed(Exception):
    """The other side is gone."""


class ChannelGarbage(Exception):
    """The other side sent something that is not a message, or a message that it must not send."""


class Readable(Protocol):
    """Something that poll(2) can wait for."""

    def fileno(self) -> int: ...


Sent = TypeVar("Sent", bound=Message)
Heard = TypeVar("Heard")
encode = msgspec.json.Encoder().encode


class Channel(Generic[Sent, Heard]):
    """One end. `decode` accepts only the messages for this end, and raises msgspec.MsgspecError for everything else."""

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
        """The user id of the process at the other side."""
        return peer(self._sock)[1]

    @property
    def backlog(self) -> int:
        """The number of queued messages. While there are any, wait until the socket is writable, then call `flush`."""
        return len(self._queue)

    def send(self, message: Sent) -> bool:
        """Send or queue the message. Returns False if the queue is full. Raises ChannelClosed."""
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
        """Send as much of the queue as the other side accepts. Raises ChannelClosed."""
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
        """Return the next message, or None if there is none and `wait` is false.

        Raises ChannelClosed at end-of-file, and ChannelGarbage if the packet cannot be decoded.
        """
        flags = 0 if wait else socket.MSG_DONTWAIT
        try:
            try:
                packet = self._sock.recv(MESSAGE_SIZE, flags)
            except ConnectionResetError:  # raised once if it died with unread messages; what it sent can still be read
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
        """Yield the messages that have arrived, at most `limit`. Raises like `receive`."""
        for _ in range(limit):
            message = self.receive()
            if message is None:
                return
            yield message


AnyChannel = Channel[Any, Any]  # for code that handles several kinds of ends


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel, close-on-exec. Each process makes a Channel of its end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def peer(sock: socket.socket) -> tuple[int, int]:
    """Return the pid and the user id of the other side (SO_PEERCRED of unix(7))."""
    process, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return process, user


def adopt(descriptor: int) -> socket.socket:
    """Make a socket of an inherited descriptor."""
    return socket.socket(fileno=descriptor)


def listen(folder: Path, name: str) -> socket.socket:
    """Listen for channels at `folder/name`, which only this user may open. Raises OSError."""
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
    """Open a blocking channel to the listener at `folder/name`. Raises OSError."""
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
    """Give a short path of the folder: a socket's address holds only 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)

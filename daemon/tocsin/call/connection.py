"""One connection: sends a request, and reads a reply with limits on the memory that it takes.

The simplest replies are read without a library (`simple_reply.py`), all others with two (`library_reply.py`).
"""

import contextlib
import http.client
import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Self

from urllib3 import BaseHTTPResponse, HTTPResponse
from urllib3 import exceptions as u3

from tocsin.call.library_reply import LibraryReply
from tocsin.call.line import Line
from tocsin.call.simple_reply import LONGEST, SimpleReply, simple_reply

PACKET = 16 * 1024  # bytes of a request (head and body) that are sent at once: the size of a TLS record
PIECE = 16 * 1024  # bytes of body read at once: http.client keeps about 100 more for each chunk in it, however small
PIECES = 64  # in which a simple reply may come: each is a look at all of it

# The status of the first reply that is not interim (RFC 9110, 15.2), if there is no malformed line before it.
_STATUS = re.compile(rb"(?:HTTP/1\.\d 1\d\d[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*HTTP/1\.\d ([2-9])\d\d")
# How a connection and a reply can fail, apart from the exceptions of `deadline`.
ERRORS = (u3.HTTPError, http.client.HTTPException, OSError, ValueError)


class Connection:
    """A new connection. Opening it raises ERRORS, and so does every method that does not say otherwise."""

    def __init__(self, line: Line, timeout: float) -> None:
        self._reply: LibraryReply | None = None
        self.begun = b""  # the bytes of the reply that have arrived; of a simple one, all of it
        self._ended = False  # whether the server has closed
        self._broken: OSError | None = None  # what broke the reply off
        self._method = ""
        self.head = b""  # of the request
        self.first_byte: float | None = None  # monotonic: when the reply began
        self._held: list[bytes | memoryview] = []  # written, but not sent
        self._sock = line.open(timeout)
        self._sock.settimeout(None)  # from here on only the deadline limits the time

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()
        if self._reply:  # it keeps the socket open
            self._reply.close()

    def write(self, method: str, head: bytes, body: bytes) -> None:
        """Prepare the request. Sends nothing yet."""
        self._method, self.head = method, head
        self._held = [head + body] if len(head) + len(body) <= PACKET else [head, body]

    def is_alive(self) -> bool:
        """Whether the server still waits for the request: it has neither closed the connection nor sent anything."""
        sock = self._sock
        try:
            if isinstance(sock, ssl.SSLSocket):  # TLS 1.3 leaves session tickets to be read
                sock.settimeout(0)
                try:
                    sock.recv(1)
                except ssl.SSLWantReadError:
                    return True
                finally:
                    sock.settimeout(None)
            else:
                sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # end of file, or a reply before the request (408)

    def send(self) -> bool:
        """Send the request with one send, which may send a part. Returns False if certainly nothing was sent."""
        first = self._held[0]
        try:
            sent = self._sock.send(first)
        except OSError:
            return False
        self._held[0] = first[sent:]
        return True

    def send_rest(self) -> None:
        """Send the rest of a request with a large body. Stops when the server answers early: it may neither read more
        nor close the connection (413)."""
        if not any(self._held):
            return
        sock, poll = self._sock, select.poll()
        self._held = [memoryview(piece) for piece in self._held]
        sock.settimeout(0)
        try:
            while any(self._held) and not self._is_answered():
                poll.register(sock, select.POLLOUT | (select.POLLIN if len(self.begun) < PIECE else 0))
                poll.poll()
                self._hear()
                self._send_more()
        except OSError:  # the server stopped reading; it may have answered already
            pass
        finally:
            sock.settimeout(None)
        self._held = [b""]

    def _is_answered(self) -> bool:
        """Whether the reply so far shows that the server wants no more of the request: an error, a redirect, or a
        complete success. Interim replies (100, 102, 103) do not."""
        if self._ended:
            return True
        found = _STATUS.match(self.begun)
        return found is not None and (found[1] > b"2" or isinstance(simple_reply(self.begun), tuple))

    def _hear(self) -> None:
        """Read what has arrived of the reply, up to PIECE bytes. Raises OSError."""
        if (room := PIECE - len(self.begun)) <= 0:
            return
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            self._take(self._sock.recv(room))

    def _send_more(self) -> None:
        """Do one send. Raises OSError."""
        index = 0 if self._held[0] else 1
        piece = self._held[index]
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._held[index] = piece[self._sock.send(piece) :]

    def simple_reply(self, begins: Callable[[int], None]) -> SimpleReply | None:
        """Return the reply if it is simple, as most are, or None. Calls `begins` with its status when its head is there
        and more must come.

        Then call `reply`, which uses urllib3 and http.client. They know all of HTTP, but touch half a megabyte of
        memory, which each of a thousand processes would have to copy.
        """
        if not self.begun:
            self._take(self._sock.recv(PIECE))
        for _ in range(PIECES):
            found = simple_reply(self.begun)
            if not isinstance(found, int):
                return found
            if found:
                begins(found)
            if self._ended or len(self.begun) > LONGEST:
                break
            try:
                self._take(self._sock.recv(PIECE))
            except OSError as error:
                self._broken = error
                break
        return None

    def _take(self, piece: bytes) -> None:
        if self.first_byte is None and piece:
            self.first_byte = time.monotonic()
        self.begun += piece
        self._ended = not piece

    def reply(self) -> BaseHTTPResponse:
        """Return the reply with its head read, including what `simple_reply` has read. `read_body` reads the rest."""
        self._reply = reply = LibraryReply(self._sock, self.begun, self._broken, self._method)
        reply.begin()
        return HTTPResponse(
            body=reply,
            headers=reply.headers,
            status=reply.status,
            version=reply.version,
            reason=reply.reason,
            preload_content=False,
            original_response=reply,
            request_method=self._method,
        )


def read_body(response: BaseHTTPResponse, limit: int) -> tuple[bytes, Exception | None]:
    """Return the decoded body, and the error that interrupted it or None. Reads at most `limit` bytes and one more,
    which shows that the body is larger."""
    body = bytearray()
    try:
        while len(body) <= limit:
            piece = response.read(min(PIECE, limit + 1 - len(body)), decode_content=True)
            if not piece:
                break
            body += piece
    except ERRORS as error:
        return bytes(body), error
    return bytes(body), None

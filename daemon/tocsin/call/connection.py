"""One connection: sends a request, and reads a reply with limits on the memory that it takes.

urllib3 2.8 checks lengths and limits what it decompresses; http.client below it reads chunks. This module adds what
they lack: a limit on the size of all headers together, interim replies other than 100, and errors for headers that
break off and for chunks of negative size. The simplest replies are read without either library.
"""

import contextlib
import http.client
import io
import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from urllib3 import BaseHTTPResponse, HTTPHeaderDict, HTTPResponse
from urllib3 import exceptions as u3

from tocsin.call.line import Line
from tocsin.call.simple_reply import LONGEST, SimpleReply, simple_reply

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_SIZE = 256 * 1024  # bytes of status lines and headers, interim replies included: Node sends at most 16 KiB
LINE_SIZE, FIELDS = 64 * 1024, 100  # bytes of a header line, number of headers: the limits of http.client
PACKET = 16 * 1024  # bytes of a request (head and body) that are sent at once: the size of a TLS record
PIECE = 16 * 1024  # bytes of body read at once: http.client keeps about 100 more for each chunk in it, however small

PIECES = 64  # in which a simple reply may come: each is a look at all of it

# The status of the first reply that is not interim (RFC 9110, 15.2), if there is no malformed line before it.
_STATUS = re.compile(rb"(?:HTTP/1\.\d 1\d\d[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*HTTP/1\.\d ([2-9])\d\d")
# How a connection and a reply can fail, apart from the exceptions of `deadline`.
ERRORS = (u3.HTTPError, http.client.HTTPException, OSError, ValueError)


class _Whole(io.RawIOBase):
    """Gives the bytes that were read already, and then the error that came next or the rest of the stream."""

    def __init__(self, begun: bytes, broken: OSError | None, rest: io.RawIOBase) -> None:
        self._begun = begun
        self._broken = broken
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        if not self._begun:
            if self._broken:
                raise self._broken
            return self._rest.readinto(buffer)
        room = memoryview(buffer)
        size = min(len(room), len(self._begun))
        room[:size], self._begun = self._begun[:size], self._begun[size:]
        return size

    def close(self) -> None:
        self._rest.close()
        super().close()


class _Stream(io.BufferedReader):
    """The bytes that the server sends. `head_left`: how many more bytes the head may have, or None after the head."""

    head_left: int | None = HEAD_SIZE

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if self.head_left is None:
            return line
        if not line and self.head_left < HEAD_SIZE:  # http.client would take it for the end of the headers
            raise http.client.RemoteDisconnected("the headers broke off")
        self.head_left -= len(line)
        if self.head_left < 0:
            raise http.client.HTTPException(f"got more than {HEAD_SIZE} bytes of headers")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        """Reject a negative size: http.client reads a chunk of size -1 up to the end, whatever its length."""
        if size is None or size < 0:
            raise http.client.HTTPException("got a chunk of negative size")
        return super().read(size)


class _Reply(http.client.HTTPResponse):
    """http.client's reply with its own reader of the head. http.client uses the parser of e-mails, which touches 45 kB
    of code and data in each process, a third of the cost of a call (measured)."""

    headers: HTTPHeaderDict  # type: ignore[assignment]

    def __init__(self, sock: socket.socket, begun: bytes, broken: OSError | None, method: str) -> None:
        super().__init__(sock, method=method)
        self._stream = self.fp = _Stream(_Whole(begun, broken, self.fp.detach()))

    def begin(self) -> None:
        """Read the head. Skips interim replies (100, 102, 103; RFC 9110, 15.2)."""
        self.status = 100
        while 100 <= self.status < 200 and self.status != 101:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            if not version.startswith("HTTP/1."):
                raise http.client.UnknownProtocol(version)
            self.code = self.status = status
            self.reason, self.version = reason.strip(), 10 if version == "HTTP/1.0" else 11
            self.headers = self.msg = self._fields()  # type: ignore[assignment]
        self._stream.head_left = None
        codings = self.headers.get("transfer-encoding", "").lower().replace(" ", "").split(",")
        self.chunked = set(codings) - {"", "identity"} == {"chunked"}  # twice counts once (curl, browsers)
        self.chunk_left = None
        self.will_close = True  # the request asked for that
        if self.status in (101, 204, 304):
            self.length, self.chunked = 0, False  # these have no body, whatever their head says (RFC 9112, 6.3)
        else:
            self.length = None if self.chunked else self._length()

    def _length(self) -> int | None:
        """Return the Content-Length. If it is given more than once, urllib3 compares the values."""
        if (given := self.headers.get("content-length")) is None:
            return None
        lengths = [one.strip(" \t") for one in given.split(",")]
        if not all(one.isascii() and one.isdigit() for one in lengths):
            raise http.client.HTTPException(f"Content-Length is not a number: {given}")
        return int(lengths[0])

    def _fields(self) -> HTTPHeaderDict:
        """Read the header fields up to the empty line. Skips malformed lines, as browsers do."""
        fields: list[tuple[str, str]] = []
        while line := self._stream.readline(LINE_SIZE + 1).rstrip(b"\r\n"):
            if len(line) > LINE_SIZE:
                raise http.client.LineTooLong("header line")
            if len(fields) >= FIELDS:
                raise http.client.HTTPException(f"got more than {FIELDS} headers")
            text = line.decode("iso-8859-1")
            name, colon, value = text.partition(":")
            if text[0] in " \t":  # continues the value of the line before (RFC 9112, 5.2)
                if fields:
                    fields[-1] = fields[-1][0], f"{fields[-1][1]} {text.strip()}"
            elif colon and name:
                fields.append((name, value.strip(" \t")))
        return HTTPHeaderDict(fields)


class Connection:
    """A new connection. Opening it raises ERRORS, and so does every method that does not say otherwise."""

    def __init__(self, line: Line, timeout: float) -> None:
        self._reply: _Reply | None = None
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
        self._reply = reply = _Reply(self._sock, self.begun, self._broken, self._method)
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

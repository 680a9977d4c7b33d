"""The wire: a request that goes out, and a reply that cannot take more memory than its bounds allow.

urllib3 2.8 checks lengths and decompresses within a bound; http.client underneath reads chunks. What these two leave
open is closed here: the size of all headers together, interim replies other than 100, headers that break off, chunks
of a negative size. The plainest of replies need neither.
"""

import contextlib
import http.client
import io
import re
import select
import socket
import ssl
from typing import TYPE_CHECKING, Self

from urllib3 import BaseHTTPResponse, HTTPHeaderDict, HTTPResponse
from urllib3 import exceptions as u3

from tocsin.call.line import Line
from tocsin.call.simple_reply import SimpleReply, simple_reply

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_SIZE = 256 * 1024  # bytes of status lines and headers, interim replies included: Node sends at most 16 KiB
LINE_SIZE, FIELDS = 64 * 1024, 100  # bytes of a header line, number of headers: as http.client has them
PACKET = 16 * 1024  # bytes of a request that go out in one send, head and body: also what one TLS record holds
PIECE = 16 * 1024  # bytes of body read at once: http.client keeps some 100 more for each chunk in it, however tiny

# The status of the first reply that is not an interim one (RFC 9110, 15.2), where no odd line stands before it.
_STATUS = re.compile(rb"(?:HTTP/1\.\d 1\d\d[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*HTTP/1\.\d ([2-9])\d\d")
# What a connection and a reply can end in, but for the exceptions of `deadline`.
ERRORS = (u3.HTTPError, http.client.HTTPException, OSError, ValueError)


class _Whole(io.RawIOBase):
    """What was read already, and then the rest."""

    def __init__(self, begun: bytes, rest: io.RawIOBase) -> None:
        self._begun = begun
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        if not self._begun:
            return self._rest.readinto(buffer)
        room = memoryview(buffer)
        size = min(len(room), len(self._begun))
        room[:size], self._begun = self._begun[:size], self._begun[size:]
        return size

    def close(self) -> None:
        self._rest.close()
        super().close()


class _Stream(io.BufferedReader):
    """What the server sends. `head_left` is how many bytes the head may still have; None once it is over."""

    head_left: int | None = HEAD_SIZE

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if self.head_left is None:
            return line
        if not line and self.head_left < HEAD_SIZE:  # http.client takes that for the end of the headers
            raise http.client.RemoteDisconnected("the headers broke off")
        self.head_left -= len(line)
        if self.head_left < 0:
            raise http.client.HTTPException(f"got more than {HEAD_SIZE} bytes of headers")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        """http.client reads a chunk of size -1 up to the end, whatever its length."""
        if size is None or size < 0:
            raise http.client.HTTPException("got a chunk of negative size")
        return super().read(size)


class _Reply(http.client.HTTPResponse):
    """http.client's reply but for its head, which that reads with the parser of e-mails: 45 kB of code and data
    touched per header block and process, a third of all that a call costs (measured)."""

    headers: HTTPHeaderDict  # type: ignore[assignment]

    def __init__(self, sock: socket.socket, begun: bytes, method: str) -> None:
        super().__init__(sock, method=method)
        self._stream = self.fp = _Stream(_Whole(begun, self.fp.detach()))

    def begin(self) -> None:
        """Read the head. Interim replies (100, 102, 103) are passed over (RFC 9110, 15.2)."""
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
        self.chunked = set(codings) - {"", "identity"} == {"chunked"}  # named twice is once (curl, browsers)
        self.chunk_left = None
        self.will_close = True  # we asked for it
        if self.status in (101, 204, 304):
            self.length, self.chunked = 0, False  # they end with their head, whatever it says (RFC 9112, 6.3)
        else:
            self.length = None if self.chunked else self._length()

    def _length(self) -> int | None:
        """What Content-Length says; urllib3 compares it where it is given more than once."""
        if (given := self.headers.get("content-length")) is None:
            return None
        lengths = [one.strip(" \t") for one in given.split(",")]
        if not all(one.isascii() and one.isdigit() for one in lengths):
            raise http.client.HTTPException(f"Content-Length is not a number: {given}")
        return int(lengths[0])

    def _fields(self) -> HTTPHeaderDict:
        """The header fields up to the empty line; what is none is passed over, as browsers do."""
        fields: list[tuple[str, str]] = []
        while line := self._stream.readline(LINE_SIZE + 1).rstrip(b"\r\n"):
            if len(line) > LINE_SIZE:
                raise http.client.LineTooLong("header line")
            if len(fields) >= FIELDS:
                raise http.client.HTTPException(f"got more than {FIELDS} headers")
            text = line.decode("iso-8859-1")
            name, colon, value = text.partition(":")
            if text[0] in " \t":  # the value of the line before goes on (RFC 9112, 5.2)
                if fields:
                    fields[-1] = fields[-1][0], f"{fields[-1][1]} {text.strip()}"
            elif colon and name:
                fields.append((name, value.strip(" \t")))
        return HTTPHeaderDict(fields)


class Connection:
    """A new connection. Opening it raises ERRORS, and so does everything else but what says otherwise."""

    def __init__(self, line: Line, timeout: float) -> None:
        self._reply: _Reply | None = None
        self._begun = b""  # of the reply
        self._ended = False  # the reply, while the request was being sent
        self._method = ""
        self._held: list[bytes | memoryview] = []  # what is written and not sent
        self._sock = line.open(timeout)
        self._sock.settimeout(None)  # from here on the one deadline rules

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
        """Write the request, ready to be sent; nothing leaves this process yet."""
        self._method = method
        self._held = [head + body] if len(head) + len(body) <= PACKET else [head, body]

    def is_alive(self) -> bool:
        """Whether the server still waits for the request: it has neither closed nor said anything."""
        sock = self._sock
        try:
            if isinstance(sock, ssl.SSLSocket):  # where TLS 1.3 leaves session tickets to be read
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
        return False  # end of file, or an answer before the question (408)

    def send(self) -> bool:
        """Send what was written, as far as one send gets; False when surely none of it reached the server."""
        first = self._held[0]
        try:
            sent = self._sock.send(first)
        except OSError:
            return False
        self._held[0] = first[sent:]
        return True

    def send_rest(self) -> None:
        """What `send` left over, of a request with a large body. A server that answers before it has all of it is
        heard: it may read no more, nor close (413)."""
        if not any(self._held):
            return
        sock, poll = self._sock, select.poll()
        self._held = [memoryview(piece) for piece in self._held]
        sock.settimeout(0)
        try:
            while any(self._held) and not self._is_answered():
                poll.register(sock, select.POLLOUT | (select.POLLIN if len(self._begun) < PIECE else 0))
                poll.poll()
                self._hear()
                self._send_more()
        except OSError:  # the server stopped reading: it may have answered already
            pass
        finally:
            sock.settimeout(None)
        self._held = [b""]

    def _is_answered(self) -> bool:
        """Whether what came of the reply says that the server wants no more of the request: an error or a redirect
        does, and a success that is complete. Interim replies (100, 102, 103) do not."""
        if self._ended:
            return True
        found = _STATUS.match(self._begun)
        return found is not None and (found[1] > b"2" or simple_reply(self._begun) is not None)

    def _hear(self) -> None:
        """Take what came of the reply, as far as it is kept here. Raises OSError."""
        if (room := PIECE - len(self._begun)) <= 0:
            return
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            piece = self._sock.recv(room)
            self._begun += piece
            self._ended = not piece

    def _send_more(self) -> None:
        """One send. Raises OSError."""
        index = 0 if self._held[0] else 1
        piece = self._held[index]
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._held[index] = piece[self._sock.send(piece) :]

    def simple_reply(self) -> SimpleReply | None:
        """A reply that came in one piece and is as plain as most are. Any other is for `reply`: urllib3 and http.client
        know all of HTTP, and touch half a megabyte of memory for it, which each of a thousand processes would have to
        copy."""
        if not self._begun:
            self._begun = self._sock.recv(PIECE)
        return simple_reply(self._begun)

    def reply(self) -> BaseHTTPResponse:
        """The head of the reply, with what `simple_reply` saw of it; its body is for `read_body`."""
        self._reply = reply = _Reply(self._sock, self._begun, self._method)
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
    """The decoded body up to `limit` bytes and one (which tells that there is more), and what broke it off."""
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

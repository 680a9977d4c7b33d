"""Reads a reply with http.client, which urllib3 builds on, and limits the memory that its head takes.

urllib3 2.8 checks lengths and limits what it decompresses; http.client below it reads chunks. This module adds what
they lack: a limit on the size of all headers together, interim replies other than 100, and errors for headers that
break off and for chunks of negative size.
"""

import http.client
import io
import socket
from typing import TYPE_CHECKING

from urllib3 import HTTPHeaderDict

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_SIZE = 256 * 1024  # bytes of status lines and headers, interim replies included: Node sends at most 16 KiB
LINE_SIZE, FIELDS = 64 * 1024, 100  # bytes of a header line, number of headers: the limits of http.client


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


class LibraryReply(http.client.HTTPResponse):
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

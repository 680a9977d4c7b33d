"""The plainest of replies: whatever is read without the library must be what the library reads."""

import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tocsin.call import connection as connections
from tocsin.call.line import Line
from tocsin.call.simple_reply import SimpleReply, simple_reply

OK = b"HTTP/1.1 200 OK\r\n"

PLAIN: list[tuple[bytes, SimpleReply]] = [
    (OK + b"Content-Length: 2\r\n\r\n{}", (200, "", b"{}")),
    (OK + b"content-length:0\r\n\r\n", (200, "", b"")),
    (OK + b"Content-Type: application/json; charset=utf-8\r\nContent-Length: \t 2 \r\n\r\n{}",
     (200, "application/json; charset=utf-8", b"{}")),
    (OK + b"Age: 0\r\nX-Vercel-Cache: MISS\r\nContent-Length: 2\r\n\r\n{}", (200, "", b"{}")),
    (b"HTTP/1.1 202\r\nContent-Length: 1\r\n\r\n0", (202, "", b"0")),
    (OK + b"X-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n", (200, "", b'{"a":1}')),
    (OK + b"Transfer-Encoding: Chunked\r\n\r\n00\r\n\r\n", (200, "", b"")),
    (OK + b"A: b\r\n" * 99 + b"Content-Length: 1\r\n\r\n1", (200, "", b"1")),
]  # fmt: skip

FOR_THE_LIBRARY: dict[str, bytes] = {
    "nothing": b"",
    "a head that is not all there": OK + b"Content-Length: 0\r\n",
    "a body that is not all there": OK + b"Content-Length: 3\r\n\r\n{}",
    "more than the body": OK + b"Content-Length: 1\r\n\r\n{}",
    "a body until the end": OK + b"\r\n{}",
    "an error": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "no content, with some": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n{}",
    "an interim reply": b"HTTP/1.1 100 Go on\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "an old version": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a line that goes on": OK + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "a lone line end": OK + b"A: b\nContent-Length: 2\r\n\r\n{}",
    "a space before the colon": OK + b"A : b\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "a length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an encoded body": OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "two media types": OK + b"Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\n\r\n{}",
    "more headers than are taken": OK + b"A: b\r\n" * 100 + b"Content-Length: 1\r\n\r\n1",
    "chunks that break off": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "chunks with more after them": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}",
    "a chunk longer than it says": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk of negative size": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk with an extension": OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    "a length that is a word": OK + b"Content-Length: chunked\r\n\r\n0\r\n\r\n",
    "a transfer that is a number": OK + b"Transfer-Encoding: 2\r\n\r\n{}",
    "a reply from a cache": OK + b"X-Cache: HIT\r\nContent-Length: 2\r\n\r\n{}",
    "an age": OK + b"age: 1\r\nContent-Length: 2\r\n\r\n{}",
    "trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x50",
}


class Given(Line):
    """A connection that is there already."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def open(self, timeout: float) -> socket.socket:  # noqa: ARG002
        return self.sock


def connection(reply: bytes) -> connections.Connection:
    ours, theirs = socket.socketpair()
    theirs.sendall(reply)
    theirs.close()
    made = connections.Connection(Given(ours), 1.0)
    made.write("POST", b"", b"")
    return made


def read(one: connections.Connection) -> SimpleReply:
    """What the library reads. Raises connections.ERRORS where it finds fault."""
    response = one.reply()
    body, error = connections.read_body(response, 10**6)
    if error:
        raise error
    return response.status, response.headers.get("Content-Type", ""), body


def by_the_library(reply: bytes) -> SimpleReply:
    with connection(reply) as one:
        return read(one)


def said_or_wrong(one: connections.Connection) -> SimpleReply | str:
    try:
        return read(one)
    except connections.ERRORS as error:
        return repr(error)


@pytest.mark.parametrize(("reply", "says"), PLAIN)
def test_what_is_plain_is_read_as_the_library_reads_it(reply: bytes, says: SimpleReply) -> None:
    assert simple_reply(reply) == says == by_the_library(reply)
    with connection(reply) as one:
        assert one.simple_reply() == says


@pytest.mark.parametrize("reply", FOR_THE_LIBRARY.values(), ids=FOR_THE_LIBRARY)
def test_anything_odd_is_left_to_the_library(reply: bytes) -> None:
    assert simple_reply(reply) is None
    with connection(reply) as one, connection(reply) as other:
        assert one.simple_reply() is None
        assert said_or_wrong(one) == said_or_wrong(other), "it is all there for it"


HEADERS = st.sampled_from([
    b"Content-Length: 2", b"Content-Length: 7", b"content-length:0", b"CONTENT-LENGTH: 02", b"Content-Length: +2",
    b"Transfer-Encoding: chunked", b"transfer-encoding:identity", b"Content-Encoding: identity", b"Content-Type: a/b",
    b"content-type:\tapplication/json ", b"Content-Type: \xe4", b"Content-Type:", b"Vary: *", b" folded", b"no colon",
    b"X-Content-Length: 9", b"Date: Sun, 22 Nov 2026 00:00:00 GMT", b"Name\x00: x", b"X: a\x0bb", b"X: a\rb", b": x",
])  # fmt: skip
BODIES = st.sampled_from([
    b"", b"{}", b"null\r\n\r", b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"02\r\n{}\r\n1\r\n \r\n0\r\n\r\n", b"0\r\n\r\nx",
])  # fmt: skip
STATUS = st.sampled_from(
    [b"200 OK", b"200", b"201 ", b"204 No Content", b"206 Part", b"299 \xe4", b"2000 OK", b"404 No"]
)


# Each name with each value: what is right in one field is wrong in another.
NAMES = st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Content-Encoding", b"Content-Type", b"Connection"])
VALUES = st.sampled_from([
    b"chunked", b"Chunked", b"chunked, chunked", b"identity", b"gzip", b"2", b"2, 2", b"2,3", b"02", b"-2", b"2\x0b",
    b"0x2", b"2 ", b"\xb2", b"a/b\xa0", b"chunked\x85", b"2\r", b"1" * 5000, b"close", b"1_0", b"10", b"",
])  # fmt: skip
CROSSED = st.tuples(NAMES, st.sampled_from([b":", b": ", b":\t", b" : "]), VALUES).map(b"".join)


@given(STATUS, st.lists(HEADERS | CROSSED, max_size=5), BODIES)
@settings(max_examples=400)
@example(b"200 OK", [b"Content-Length: 2"], b"{}")
@example(b"200 OK", [b"Content-Length: chunked"], b"2\r\n{}\r\n0\r\n\r\n")
def test_where_the_two_read_anything_they_read_the_same(status: bytes, headers: list[bytes], body: bytes) -> None:
    reply = b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", body])
    with connection(reply) as one:
        if (plain := one.simple_reply()) is not None:
            assert by_the_library(reply) == plain

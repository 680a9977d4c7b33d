"""The plainest of replies: whatever is read without the library must be what the library reads."""

import socket
from itertools import pairwise

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
    "chunks with more after them": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}",
    "a chunk longer than it says": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk of negative size": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk with an extension": OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    "a length that is a word": OK + b"Content-Length: chunked\r\n\r\n0\r\n\r\n",
    "a transfer that is a number": OK + b"Transfer-Encoding: 2\r\n\r\n{}",
    "a reply from a cache": OK + b"X-Cache: HIT\r\nContent-Length: 2\r\n\r\n{}",
    "an age": OK + b"age: 1\r\nContent-Length: 2\r\n\r\n{}",
    "trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    "a beginning that is no line": OK[:9] + b"x",
    "an odd line before the end of the head": OK + b"A : b\r\n",
    "a lone line end before the end of the head": OK + b"A: b\nC",
    "too many lines before the end of the head": OK + b"A: b\r\n" * 101,
    "a body longer than is read here": OK + b"Content-Length: 70000\r\n\r\n{",
    "a chunk longer than is read here": OK + b"Transfer-Encoding: chunked\r\n\r\n20000\r\n{",
    "a size of many digits": OK + b"Transfer-Encoding: chunked\r\n\r\n00000000",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x50",
}

# What is simple so far: the status, as far as it is known.
UNFINISHED: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "a status that is not all there": (b"HTTP/1.1 20", 0),
    "a head that is not all there": (OK + b"Content-Length: 0\r\n", 0),
    "a head within a line end": (OK + b"Content-Length: 0\r", 0),
    "a name that is not all there": (OK + b"Conte", 0),
    "a body that is not all there": (OK + b"Content-Length: 3\r\n\r\n{}", 200),
    "no chunk yet": (b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n", 201),
    "a size that is not all there": (OK + b"Transfer-Encoding: chunked\r\n\r\n2", 200),
    "a size within its line end": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r", 200),
    "a chunk that is not all there": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{", 200),
    "a chunk within its line end": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r", 200),
    "chunks without the last": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 200),
    "the last chunk within its line end": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", 200),
}


class Given(Line):
    """A connection that is there already."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def open(self, timeout: float) -> socket.socket:  # noqa: ARG002
        return self.sock


def connection(*pieces: bytes) -> connections.Connection:
    """The reply comes in these pieces: each is a packet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if len(pieces) > 1 else socket.SOCK_STREAM)
    for piece in pieces:
        theirs.sendall(piece)
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


def simple(one: connections.Connection) -> SimpleReply | None:
    return one.simple_reply(lambda _: None)


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
        assert simple(one) == says
    with connection(*(reply[n : n + 20] for n in range(0, len(reply), 20))) as one:
        assert simple(one) == says


@pytest.mark.parametrize("reply", FOR_THE_LIBRARY.values(), ids=FOR_THE_LIBRARY)
def test_anything_odd_is_left_to_the_library(reply: bytes) -> None:
    assert simple_reply(reply) is None
    with connection(reply) as one, connection(reply) as other:
        assert simple(one) is None
        assert said_or_wrong(one) == said_or_wrong(other), "it is all there for it"


@pytest.mark.parametrize(("begun", "status"), UNFINISHED.values(), ids=UNFINISHED)
def test_what_is_simple_so_far_may_come_in_pieces(begun: bytes, status: int) -> None:
    assert simple_reply(begun) == status
    with connection(begun) as one, connection(begun) as other:
        told: list[int] = []
        assert one.simple_reply(told.append) is None, "it broke off"
        assert set(told) == ({status} if status else set())
        assert said_or_wrong(one) == said_or_wrong(other)


def test_a_simple_reply_is_simple_wherever_it_is_cut() -> None:
    for reply, says in PLAIN:
        for cut in range(1, len(reply)):
            assert isinstance(simple_reply(reply[:cut]), int), reply[:cut]
        for cut in range(1, len(reply), 7):
            with connection(reply[:cut], reply[cut:]) as one:
                assert simple(one) == says


def test_a_reply_in_very_many_pieces_is_left_to_the_library() -> None:
    reply = OK + b"Content-Length: 100\r\n\r\n" + b"x" * 100
    with connection(*(bytes([byte]) for byte in reply)) as one:
        assert simple(one) is None
        assert read(one) == (200, "", b"x" * 100)


class Broken(socket.socket):
    """Resets the connection after one piece."""

    heard = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.heard:
            raise ConnectionResetError(104, "reset by peer")
        self.heard = True
        return super().recv(size, flags)


def test_what_breaks_a_reply_off_is_heard_by_the_library_as_well() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(OK + b"Content-Length: 3\r\n\r\n{}")
        one = connections.Connection(Given(Broken(fileno=ours.detach())), 1.0)
        one.write("POST", b"", b"")
        with one:
            assert simple(one) is None
            _, error = connections.read_body(one.reply(), 100)
    assert "reset by peer" in str(error)


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
        if (plain := simple(one)) is not None:
            assert by_the_library(reply) == plain


@given(STATUS, st.lists(HEADERS | CROSSED, max_size=5), BODIES, st.lists(st.integers(1, 200), max_size=6))
@settings(max_examples=400)
@example(b"200 OK", [b"Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", [50])
def test_in_pieces_the_two_read_the_same(status: bytes, headers: list[bytes], body: bytes, cuts: list[int]) -> None:
    """Also where the library begins in the middle of what was read already."""
    reply = b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", body])
    places = [
        0,
        *sorted(place for place in set(cuts) if place < len(reply)),
        *range(4096, len(reply), 4096),
        len(reply),
    ]
    pieces = [reply[a:b] for a, b in pairwise(sorted(set(places)))]
    with connection(*pieces) as one, connection(*pieces) as other:
        plain = simple(one)
        assert (plain or said_or_wrong(one)) == said_or_wrong(other)

"""A server on loopback for every way of answering badly. Their names are those of the tables in docs/calls.md.

A server is a function that gets the accepted connection; what else a case needs of the job stands beside it.
"""

import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

SECRET = "correct horse&battery/staple"  # every case sends it as the query parameter `token`
PACE = 0.02  # seconds between the pieces of a server that is slow on purpose
PATIENCE = 30.0  # seconds until a thread that does not end fails the test
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"success": true}\n'
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n"
ZEROS = bytes(2**20)


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, over: Event) -> None:
        self.sock = sock
        self._over = over

    def hear(self) -> bytes:
        """The whole request."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += self._piece()
        head, _, body = heard.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._piece()
        return head + b"\r\n\r\n" + body

    def _piece(self) -> bytes:
        piece = self.sock.recv(65536)
        if not piece:
            raise ConnectionError("the client has left")
        return piece

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        for byte in data:
            self.say(bytes([byte]))
            self.pause()

    def endless(self, data: bytes, slowly: bool = False) -> None:
        """Until the client leaves."""
        while not self._over.is_set():
            self.say(data)
            if slowly:
                self.pause()

    def hold(self) -> None:
        """Say no more until the client leaves."""
        while self.sock.recv(65536):
            pass

    def sit(self) -> None:
        """Neither read nor write until the test is over."""
        self._over.wait(PATIENCE)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def pause(self) -> None:
        if self._over.wait(PACE):
            raise ConnectionError("the test is over")


Serve = Callable[[Peer], None]


@dataclass(frozen=True)
class Case:
    """`job` are changes to the job; `tls` makes the listener speak it, `https` the client."""

    serve: Serve
    job: dict[str, Any] = field(default_factory=dict)
    tls: bool = False
    https: bool = False


CASES: dict[str, Case] = {}


def case(name: str, *, tls: bool = False, https: bool | None = None, **job: Any) -> Callable[[Serve], Serve]:
    def register(serve: Serve) -> Serve:
        assert name not in CASES, name
        CASES[name] = Case(serve, job, tls, tls if https is None else https)
        return serve

    return register


def replies(name: str, reply: bytes, **job: Any) -> None:
    """A server that hears the request, says this and closes."""

    def serve(peer: Peer) -> None:
        peer.hear()
        peer.say(reply)

    case(name, **job)(serve)


def status(code: int, *headers: str, body: bytes = b"", kind: str = "text/plain") -> bytes:
    lines = [f"HTTP/1.1 {code} Whatever", *headers, f"Content-Type: {kind}", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def json(body: bytes) -> bytes:
    return status(200, body=body, kind="application/json")


def packed(encoding: str, data: bytes) -> bytes:
    return status(200, f"Content-Encoding: {encoding}", body=data, kind="application/json")


class HostileServer:
    """Listens on loopback and serves one connection after the other in a thread, until closed."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.accepted = 0
        self.over = Event()
        self._serve = serve
        self._tls = tls
        ((family, _, _, _, address), *_) = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        self._listener = socket.socket(family)
        self._listener.bind(address)
        self._listener.listen()
        self.port = int(self._listener.getsockname()[1])
        self._current: socket.socket | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "HostileServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for sock in (self._listener, self._current):
            if sock:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._current = sock
            with sock, suppress(OSError):  # the client left, as it should
                if self._tls:
                    with self._tls.wrap_socket(sock, server_side=True) as wrapped:
                        self._current = wrapped
                        self._serve(Peer(wrapped, self.over))
                else:
                    self._serve(Peer(sock, self.over))
            self._current = None


class FullBacklog:
    """A listener that takes no connection: it drops what knocks, as a dead host does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting: list[socket.socket] = []
        for _ in range(16):  # one is enough on Linux today
            sock = socket.socket()
            self._waiting.append(sock)
            sock.setblocking(False)
            sock.connect_ex(self._listener.getsockname())

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> "FullBacklog":
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()


def bomb(layers: int, wbits: int) -> bytes:
    """128 MiB of zeros, compressed."""
    compressor = zlib.compressobj(9, wbits=wbits)
    data = b"".join([compressor.compress(ZEROS) for _ in range(2**7)]) + compressor.flush()
    for _ in range(layers - 1):
        data = gzip.compress(data)
    return data

"""The way to a job's host: a direct connection to the first of its addresses that answers, with TLS for https.

A name may have several addresses, of which some are dead. They are tried by RFC 8305, and the one that answered is
remembered.
"""

import contextlib
import errno
import os
import select
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult

import msgspec

from tocsin.jobfile.urls import host_to_resolve

NEXT_ADDRESS = 0.25  # seconds before the next address is tried as well (RFC 8305, 5)
AT_ONCE = 4  # addresses of a host tried at the same time: each takes a descriptor
ALPN = ["http/1.1"]  # the protocol inside TLS (RFC 7301)

Address = tuple[socket.AddressFamily, tuple[Any, ...]]  # as from getaddrinfo: host and port come first


class NoneAnswered(OSError):
    """No address of the host accepted a connection. `errors` has the order in which they were tried."""

    def __init__(self, errors: list[tuple[Address, OSError]]) -> None:
        super().__init__("no address of the host accepted a connection")
        self.errors = errors


class Took(msgspec.Struct):
    """Seconds that the way to the host took, as far as it went; None: there was no such step, or it did not begin."""

    lookup: float | None = None
    connect: float | None = None
    tls: float | None = None


class Line:
    """Connects to the host of a URL. It serves all calls of a job. Each call gets its own socket."""

    def __init__(self, url: SplitResult, tls: ssl.SSLContext | None) -> None:
        self._host = host_to_resolve(url.hostname or "")
        self._port = url.port or (443 if tls else 80)
        self._tls = tls
        if tls:
            tls.set_alpn_protocols(ALPN)
        self._in_certificate = self._host.partition("%")[0].rstrip(".")
        self._literal = _literal(self._host, self._port)
        self._ahead: list[Address] | None = None  # found by `look_up`
        self._answered: Address | None = None  # the address that answered, if it was not the first
        self.took = Took()  # of the last connection, or of the one that is being made
        self.certificate_until = ""  # the notAfter of the host's certificate; "" if none was checked

    @property
    def is_literal(self) -> bool:
        """Whether the host is an address and there is no TLS: then `open` is a single step."""
        return self._literal is not None and self._tls is None

    def look_up(self) -> None:
        """Find the addresses for the next `open`. Raises OSError and UnicodeError."""
        self._ahead, self.took = None, Took()
        if not self._literal:
            self._ahead = self._addresses()

    def open(self, timeout: float) -> socket.socket:
        """Return a new connected socket. Each address of the host has `timeout` seconds, and so has the TLS handshake.
        Raises OSError and ValueError."""
        took = self.took = Took(self.took.lookup if self._ahead else None)
        addresses, self._ahead = self._ahead, None
        if not self._literal and not addresses:
            addresses = self._addresses()
        began = time.monotonic()
        try:  # with an address there is nothing to look up: a thousand jobs may do this at once
            sock = _connected(self._literal, timeout) if self._literal else self._raced(addresses or [], timeout)
        finally:
            took.connect = time.monotonic() - began
        if not self._tls:
            return sock
        began = time.monotonic()
        try:
            return self._shaken(sock)
        finally:
            took.tls = time.monotonic() - began

    def _addresses(self) -> list[Address]:
        """Look up the addresses, in the order to try them."""
        host = self._host.encode("ascii")  # bytes, because for text Python loads its tables of international names
        began = time.monotonic()
        try:
            found = socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM)
        finally:
            self.took.lookup = time.monotonic() - began
        return interleaved(list(dict.fromkeys((family, address) for family, _, _, _, address in found)))

    def _raced(self, addresses: list[Address], timeout: float) -> socket.socket:
        first, before = addresses[0], self._answered
        self._answered = None
        if before in addresses:
            addresses = [before, *(one for one in addresses if one != before)]
        if len(addresses) == 1:
            return _connected(first, timeout)
        sock, winner = race(addresses, timeout)
        self._answered = None if winner == first else winner
        return sock

    def _shaken(self, sock: socket.socket) -> socket.socket:
        assert self._tls
        made: socket.socket = sock
        try:
            made = shaken = self._tls.wrap_socket(
                sock, server_hostname=self._in_certificate, do_handshake_on_connect=False
            )
            shaken.do_handshake()
            self.certificate_until = str((shaken.getpeercert() or {}).get("notAfter", ""))  # 20 µs
        except BaseException:
            made.close()
            self._answered = None
            raise
        return made


def interleaved(addresses: list[Address]) -> list[Address]:
    """Alternate the address families, beginning with the one that the system prefers (RFC 8305, 4)."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    mixed: list[Address] = []
    while first or others:
        mixed += first[:1] + others[:1]
        first, others = first[1:], others[1:]
    return mixed


def _literal(host: str, port: int) -> Address | None:
    """Return the address if the host is written as one, else None."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return family, (host, port)
    return None


def _socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connected(address: Address, timeout: float) -> socket.socket:
    sock = _socket(address[0])
    try:
        sock.settimeout(timeout)
        sock.connect(address[1])
    except BaseException:
        sock.close()
        raise
    return sock


def race(addresses: list[Address], timeout: float) -> tuple[socket.socket, Address]:
    """Return the first connection that is made, with its timeout set, and its address. The next address is tried when
    the one before has failed or NEXT_ADDRESS has passed. Raises NoneAnswered."""
    waiting = list(addresses)
    trying: dict[int, tuple[socket.socket, Address, float]] = {}  # by descriptor, with its deadline
    errors: dict[Address, OSError] = {}
    poll = select.poll()
    next_at = time.monotonic()

    def failed(descriptor: int, error: OSError) -> None:
        nonlocal next_at
        poll.unregister(descriptor)
        sock, address, _ = trying.pop(descriptor)
        sock.close()
        errors[address] = error
        next_at = time.monotonic()

    def won(descriptor: int) -> tuple[socket.socket, Address]:
        sock, address, _ = trying.pop(descriptor)
        sock.settimeout(timeout)
        return sock, address

    try:
        while waiting or trying:
            now = time.monotonic()
            if waiting and len(trying) < AT_ONCE and now >= next_at:
                address = waiting.pop(0)
                next_at = now + NEXT_ADDRESS
                try:
                    sock = _socket(address[0])
                except OSError as error:  # the machine does not have this address family
                    errors[address] = error
                    next_at = now
                    continue
                trying[sock.fileno()] = sock, address, now + timeout
                poll.register(sock, select.POLLOUT)
                sock.setblocking(False)
                code = sock.connect_ex(address[1])
                if code not in (0, errno.EINPROGRESS):
                    failed(sock.fileno(), OSError(code, os.strerror(code)))
                continue
            until = min(end for _, _, end in trying.values())
            if waiting and len(trying) < AT_ONCE:
                until = min(until, next_at)
            for descriptor, _ in poll.poll(max(0.0, until - now) * 1000):
                code = trying[descriptor][0].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return won(descriptor)
                failed(descriptor, OSError(code, os.strerror(code)))
            now = time.monotonic()
            for descriptor in [one for one, (_, _, end) in trying.items() if end <= now]:
                failed(descriptor, TimeoutError("timed out"))
    finally:
        for sock, _, _ in trying.values():
            sock.close()
    raise NoneAnswered([(one, errors[one]) for one in addresses])

"""The only listener: aiohttp's HTTP under a guard, because whoever can connect can also dawdle.

Measured under 200 clients that drip a byte a second, 50 that never read and 300 that say nothing: scrapes go
on. What bounds them stands here.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from aiohttp import web

from tocsin import log
from tocsin.exporter.site import SECURITY_HEADERS, Question, Reply

CONNECTIONS = 64  # at once; one more sheds another
PATIENCE = 15.0  # seconds for a connection from accept to end: Prometheus' own timeout is 10 s
BACKLOG = 128  # connections the kernel holds until they are accepted
SEND_BUFFER = 256 * 1024  # bytes the kernel holds for a client that does not read; by itself it takes up to 4 MB
SLICE = 64 * 1024  # bytes of a reply handed over at once; the next waits until the client has taken it
REQUEST_LINE = 4096  # bytes, and of one header: no path of ours needs more
HEADERS = 64
OUT_OF_DESCRIPTORS = 0.1  # seconds before the next accept when there is no descriptor for it, so as not to spin

SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # it logs clients' nonsense as errors; ours go to our log


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER // 2)  # the kernel doubles it
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class Guard:
    """Keeps connections few and short. Who has not yet asked anything is shed before who is being answered."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # in the order of their arrival
        self._answered: set[asyncio.Transport] = set()

    def admit(self, transport: asyncio.Transport) -> None:
        for one in [one for one in self._open if _is_gone(one)]:
            self._drop(one)
        self._answered = {one for one in self._answered if not _is_gone(one)}
        self._open[transport] = asyncio.get_running_loop().call_later(PATIENCE, self._drop, transport)
        if len(self._open) > CONNECTIONS:
            waiting = (one for one in self._open if one not in self._answered)
            shed = next(waiting, transport)
            self._drop(next(iter(self._open)) if shed is transport else shed)

    def answering(self, transport: asyncio.Transport) -> None:
        self._answered.add(transport)  # maybe before it is admitted: its request may come with the connection

    def _drop(self, transport: asyncio.Transport) -> None:
        self._open.pop(transport).cancel()
        if not _is_gone(transport):
            transport.abort()


def _is_gone(transport: asyncio.Transport) -> bool:
    """Whether its descriptor is closed. (`is_closing` is true as well while the client has yet to read the rest.)"""
    return bool(transport.get_extra_info("socket").fileno() < 0)


async def serve(listener: socket.socket, answer: Callable[[Question], Reply]) -> None:
    """Answer until cancelled."""
    loop = asyncio.get_running_loop()
    guard = Guard()

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        if request.transport:
            guard.answering(request.transport)
        return await _respond(request, answer)

    http = web.Server(
        respond,
        access_log=None,
        logger=SILENT,
        keepalive_timeout=0,
        lingering_time=0,
        max_line_size=REQUEST_LINE,
        max_field_size=REQUEST_LINE,
        max_headers=HEADERS,
        read_bufsize=SLICE,
        auto_decompress=False,
    )
    short = False
    while True:
        try:
            client, _ = await loop.sock_accept(listener)
            transport, _ = await loop.connect_accepted_socket(http, client)
        except OSError as error:  # the client is gone already, or there is no descriptor left
            if not short:
                log.warning("cannot accept connections", why=str(error))
            short = True
            await asyncio.sleep(OUT_OF_DESCRIPTORS)
        else:
            short = False
            guard.admit(transport)


async def _respond(request: web.BaseRequest, answer: Callable[[Question], Reply]) -> web.StreamResponse:
    headers = request.headers
    question = Question(request.method, request.path, headers.get("Host", ""), headers.get("Accept", ""))
    try:
        reply = answer(question)
    except Exception:  # noqa: BLE001 - a fault in one page must not take the others with it
        log.logger.error("cannot answer %s", question.path[:200], exc_info=True)
        reply = Reply(500, "text/plain; charset=utf-8", b"cannot answer: see the log\n")
    response = web.StreamResponse(status=reply.status, headers={**SECURITY_HEADERS, **reply.headers})
    response.headers["Content-Type"] = reply.content_type
    response.headers["Server"] = "Tocsin"
    response.content_length = len(reply.body)
    response.force_close()
    await response.prepare(request)
    if request.method != "HEAD":
        body = memoryview(reply.body)
        for start in range(0, len(body), SLICE):
            await response.write(body[start : start + SLICE])
    await response.write_eof()
    return response

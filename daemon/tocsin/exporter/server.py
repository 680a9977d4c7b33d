"""The only listener: aiohttp's HTTP, with limits on slow and hostile clients.

Measured with 200 clients that send byte by byte, 50 that never read and 300 that send nothing (bench/abuse.py):
scrapes still work. This module has the limits.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import HttpVersion10, web
from aiohttp.web_protocol import RequestHandler

from tocsin import log
from tocsin.exporter import reading
from tocsin.exporter.pieces import Work, in_turns
from tocsin.exporter.refusals import LATE_AT_ONCE, Refusal, Refusals
from tocsin.exporter.replies import TEXT, ReadBody, Reply, Request, Wanted
from tocsin.exporter.routes import SECURITY_HEADERS
from tocsin.ipc.actions import Action, Answered, FireJob, PauseJob, ReloadConfig
from tocsin.ipc.history import Actions, Answer, Question

CONNECTIONS = 64  # at once; one more drops another
PATIENCE = 15.0  # seconds for a connection from accept to end: Prometheus's own timeout is 10 s
HANDSHAKE = 5.0  # seconds for the TLS handshake: a silent client must not keep its place longer
SEND_BUFFER = 256 * 1024  # bytes that the kernel queues for a client that does not read; by default up to 4 MB
SLICE = 64 * 1024  # bytes of a reply written at once; the next write waits until the client has read them
REQUEST_LINE = 4096  # bytes: no path needs more
HEADER = 16 * 1024  # bytes of one header, the same as in Node: a browser sends the cookies of every port of localhost
HEADERS = 64
HEAD = 32 * 1024  # bytes of all headers, after which no more is read: many long ones must not fill the memory
TOO_OLD = Reply(400, TEXT, b"HTTP/1.0 or later is required\n", refused="malformed")
OUT_OF_DESCRIPTORS = 0.1  # seconds before the next accept when no descriptor is free

SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)  # it logs clients' faults as errors; ours go to our log


class Http(RequestHandler):
    """aiohttp's handler, with a limit on all headers together; aiohttp limits only each one. Bodies are hardly read.

    The answer to an invalid request is our own: aiohttp's repeats the request and names Python.
    """

    received = 0  # bytes of the request

    def __init__(self, *arguments: Any, refusals: Refusals, peer: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.refusals = refusals
        self.peer = peer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002 - details that we do not show
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        if request.writer.output_size:
            raise ConnectionResetError("the reply has begun")  # too late for an error; aiohttp hangs up
        if status < 500:
            self.refusals.add("malformed", self.peer)
        text = "this is not a valid HTTP request\n" if status < 500 else "cannot answer: see the log\n"
        response = web.Response(status=status, text=text, headers={**SECURITY_HEADERS, "Server": "Tocsin"})
        response.force_close()
        return response

    def data_received(self, data: bytes) -> None:
        if self.received > HEAD and not self._request_count:
            if self.transport and not self._force_close:
                self.refusals.add("malformed", self.peer)
            self.force_close()
        else:
            self.received += len(data)
            super().data_received(data)


@dataclass(eq=False, slots=True)
class Connection:
    """The connection of one client, from accept to end."""

    client: socket.socket
    protocol: Http
    transport: asyncio.Transport | None = None  # None until the handshake is done
    answering: bool = False
    receiving: asyncio.Task[None] | None = None
    patience: asyncio.TimerHandle | None = None

    async def receive(self, tls: ssl.SSLContext | None) -> None:
        """Do the TLS handshake, if any, and pass the connection to HTTP."""
        try:
            self.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self.protocol,
                self.client,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE if tls else None,
                ssl_shutdown_timeout=PATIENCE if tls else None,
            )
            self.transport.set_write_buffer_limits(SLICE)  # TLS would buffer 512 KB
        except OSError as error:  # the client hung up, or its handshake failed or took too long
            if isinstance(error, ssl.SSLError):
                self.protocol.refusals.add("tls", self.protocol.peer)
            error.__traceback__ = None  # else a cycle through asyncio's frames keeps the 256 KB of a TLS connection
        finally:
            self.receiving = None  # another cycle, if the task was cancelled

    @property
    def is_gone(self) -> bool:
        """Whether the descriptor is closed. (A transport is "closing" while the client has not read everything.)"""
        return self.client.fileno() < 0

    def drop(self) -> None:
        if self.patience:
            self.patience.cancel()
        if self.transport:
            if not self.is_gone:  # else its transport has no loop any more
                self.transport.abort()
        elif self.receiving:
            self.receiving.cancel()


class Guard:
    """Keeps connections few and short. Idle connections are dropped before active ones."""

    def __init__(self) -> None:
        self._open: dict[object, Connection] = {}  # by protocol, oldest first
        self._late = 0  # delayed replies to wrong credentials

    def admit(self, one: Connection) -> None:
        for gone in [other for other in self._open.values() if other.is_gone]:
            self._drop(gone)
        self._open[one.protocol] = one
        one.patience = asyncio.get_running_loop().call_later(PATIENCE, self._drop, one)
        if len(self._open) > CONNECTIONS:
            shed = next(other for other in self._open.values() if not other.answering)
            self._drop(next(iter(self._open.values())) if shed is one else shed)

    def answering(self, protocol: object) -> None:
        if one := self._open.get(protocol):
            one.answering = True

    async def refuse(self, request: web.BaseRequest, reason: Refusal, refusals: Refusals) -> None:
        """Count the refusal and delay its reply. Meanwhile the connection counts as idle, so it is dropped first. If
        too many are delayed, it is dropped at once. So clients that guess cannot take connections from others."""
        protocol = request.protocol
        assert isinstance(protocol, Http)
        detail = request.headers.get("Host", "") if reason == "host" else ""
        wait = refusals.add(reason, protocol.peer, detail)
        if wait and self._late >= LATE_AT_ONCE:
            if one := self._open.get(protocol):
                self._drop(one)
        elif wait:
            self._late += 1
            try:
                await asyncio.sleep(wait)
            finally:
                self._late -= 1

    def _drop(self, one: Connection) -> None:
        del self._open[one.protocol]
        one.drop()


async def serve(
    listener: socket.socket,
    answer: Callable[[Request], Reply | Wanted | Work[Reply]],
    ask: Callable[[Question | Actions], Awaitable[Answer]],
    act: Callable[[Action], Awaitable[Answered]],
    tls: ssl.SSLContext | None,
    refusals: Refusals,
) -> None:
    """Answer requests until cancelled. `ask` asks about the past and `act` acts; both answer within a limited time."""
    loop = asyncio.get_running_loop()
    guard = Guard()
    long_work = asyncio.Lock()  # one at a time: the next one may find that it can share the result

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        reply = await _reply(request, answer, ask, act, long_work) if request.version >= HttpVersion10 else TOO_OLD
        if reply.refused:
            await guard.refuse(request, reply.refused, refusals)
        guard.answering(request.protocol)
        return await _send(request, reply)

    http = partial(
        Http,
        web.Server(respond),
        loop=loop,
        access_log=None,
        logger=SILENT,
        keepalive_timeout=0,
        lingering_time=0,
        max_line_size=REQUEST_LINE,
        max_field_size=HEADER,
        max_headers=HEADERS,
        read_bufsize=SLICE,
        auto_decompress=False,
    )
    short = False
    while True:
        try:
            client, (peer, *_) = await loop.sock_accept(listener)
        except OSError as error:  # the client has gone, or no descriptor is free
            if not short:
                log.warning("cannot accept connections", why=str(error))
            short = True
            await asyncio.sleep(OUT_OF_DESCRIPTORS)
        else:
            short = False
            one = Connection(client, http(refusals=refusals, peer=peer))
            one.receiving = loop.create_task(one.receive(tls))
            guard.admit(one)
            await asyncio.sleep(0)  # let this connection have its turn before the next accept


async def _reply(
    request: web.BaseRequest,
    answer: Callable[[Request], Reply | Wanted | Work[Reply]],
    ask: Callable[[Question | Actions], Awaitable[Answer]],
    act: Callable[[Action], Awaitable[Answered]],
    long_work: asyncio.Lock,
) -> Reply:
    assert isinstance(request.protocol, Http)
    asked = reading.request_of(request, request.protocol.peer)
    try:
        reply = answer(asked)
        while isinstance(reply, Wanted):
            match reply.question:
                case ReadBody() as wanted:
                    reply = reply.then(await reading.body_of(request, wanted))
                case FireJob() | PauseJob() | ReloadConfig() as action:
                    reply = reply.then(await act(action))
                case question:
                    reply = reply.then(await ask(question))
        if not isinstance(reply, Reply):
            async with long_work:
                reply = await in_turns(reply)
    except Exception:  # noqa: BLE001 - a fault in one page must not affect the others
        log.logger.error("cannot answer %s", asked.path[:200], exc_info=True)
        return Reply(500, TEXT, b"cannot answer: see the log\n")
    return reply


async def _send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={**SECURITY_HEADERS, **reply.headers})
    if reply.status != 304:  # which is about a page that the client has
        response.headers["Content-Type"] = reply.content_type
        response.content_length = len(reply.body) + sum(map(len, reply.more))
    response.headers["Server"] = "Tocsin"
    response.force_close()
    await response.prepare(request)
    if request.method != "HEAD":
        for part in (reply.body, *reply.more):
            body = memoryview(part)
            for start in range(0, len(body), SLICE):
                await response.write(body[start : start + SLICE])
    await response.write_eof()
    return response

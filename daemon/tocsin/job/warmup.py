"""Makes a few test calls in the parent before the first fork, so that no child makes a call for the first time.

A first call imports encodings, fills caches and specialises bytecode: 7 ms of processor time and megabytes of
memory (measured), for each of a thousand children in the same moment, when the parent has not done it once.
"""

import contextlib
import os
import signal
import socket
import ssl
import time
from dataclasses import replace
from typing import NoReturn
from urllib.parse import urlsplit

from tocsin import linux, log
from tocsin.call import deadline
from tocsin.call.attempts import Endpoint
from tocsin.config import Config, Job
from tocsin.config.tls import TlsFiles
from tocsin.ipc import channel as channels
from tocsin.ipc.channel import Channel, Readable
from tocsin.ipc.job import Ask, Beginning, Finished, FromJob, Grant, ToJob, decode_from_job, decode_to_job
from tocsin.job.clock import Clock, Woken
from tocsin.job.main import JobProcess

CALLS = 50  # CPython rewrites the code of a function after some calls (3.11: from the eighth on)
TLS = b"\x16"  # the first byte of a handshake (RFC 8446, 5.1)
PATIENCE = 2.0  # seconds for one call over loopback
MOMENT = 0.0002  # seconds of sleep, so that sleeping is warmed up too
MESSAGES = 10  # the most that one round sends
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\n"
    b"Connection: close\r\n"
)
_BODY = b'{"success": true, "unassignedCount": 3}\n'
_REPLY = b"%bContent-Length: %d\r\n\r\n%b" % (_HEAD, len(_BODY), _BODY)
_PIECES = b"%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (_HEAD, len(_BODY), _BODY), b"0\r\n\r\n"  # as Next.js
_ODD_REPLY = b"%b\r\n%b" % (_HEAD, _BODY)  # not simple (`simple_reply.py`): the libraries read it
# 127.1 means 127.0.0.1 (inet(3)), but `line.py` takes it for a name and leaves it to urllib3.
_URLS = {
    "http": ("http://127.0.0.1:%d/rehearsal", "http://127.1:%d/odd"),
    "https": ("https://127.1:%d/rehearsal", "https://127.0.0.1:%d/odd"),
}


def rehearse(config: Config) -> None:
    """Call our own server on loopback as the jobs would, for each scheme that they use."""
    deadline.listen()  # sets a handler: without one, SIGUSR1 would kill the parent
    jobs = {urlsplit(job.url).scheme: job for job in config.enabled_jobs.values()}
    if not jobs:
        return
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            parent, server = os.getpid(), os.fork()
            if server == 0:
                try:
                    _serve(listener, parent)
                finally:  # whatever happened: the code below is only for the parent
                    os._exit(1)
            try:
                for scheme, job in jobs.items():
                    for url in _URLS[scheme]:
                        nobody = replace(
                            job, url=url % listener.getsockname()[1], headers=(), body=None, secret=None,
                            signing_secret=None, tls=_Nobody(), timeout=PATIENCE, retries=0, alert_after=0, arm=True,
                            expect_status=("2xx",), expect_json=(), expect_html=False, expect_cached=False,
                        )  # fmt: skip
                        with log.muted():  # no real job runs here
                            for _ in range(CALLS):
                                _call(nobody)
            finally:
                os.kill(server, signal.SIGKILL)
                os.waitpid(server, 0)
    except OSError as error:
        log.info("cannot make a warm-up call: the first calls will be slower", why=str(error))


class _Nobody(TlsFiles):
    """TLS with a server that has no certificate: anonymous elliptic-curve key exchange."""

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return _nameless(context)


def _nameless(context: ssl.SSLContext) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    return context


def _serve(listener: socket.socket, parent: int) -> NoReturn:
    """Serve in a child process. It must not outlive the parent, because it would hold the state folder's lock."""
    linux.die_with_parent(parent)
    linux.close_all_but({0, 1, 2, listener.fileno()})
    context = _nameless(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    while True:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):  # a client that gives up reports it itself
            _answer(client, context)


def _answer(client: socket.socket, context: ssl.SSLContext) -> None:
    if client.recv(1, socket.MSG_PEEK) == TLS:
        client = context.wrap_socket(client, server_side=True)
    with client:
        while (data := client.recv(65536)) and not data.endswith(b"\r\n\r\n"):
            pass
        if b"/odd " in data:
            client.sendall(_ODD_REPLY)
        elif isinstance(client, ssl.SSLSocket):
            for piece in _PIECES:
                client.sendall(piece)
        else:
            client.sendall(_REPLY)


class _Hurried(Clock):
    """A clock whose waits end at once, as if their instant had come. It also plays the parent and grants each slot."""

    def __init__(self, parent: Channel[ToJob, FromJob]) -> None:
        super().__init__()
        self.parent = parent
        self.reached = 0.0
        self.finished: Finished | None = None

    def now(self) -> float:
        return max(time.time(), self.reached)

    def wait(self, until: float, channel: Readable, line: Readable | None = None) -> Woken:
        self.listen()
        woken = super().wait(time.time() + MOMENT, channel, line)
        if woken == "due":
            self.reached = max(self.reached, until)
        return woken

    def listen(self) -> None:
        for message in self.parent.waiting(MESSAGES):
            if isinstance(message, Ask):
                self.parent.send(Grant(message.job, message.due))
            elif isinstance(message, Finished):
                self.finished = message


def _call(job: Job) -> None:
    """Run one round of a job's process."""
    a, b = channels.pair()
    ours: Channel[ToJob, FromJob] = Channel(a, decode_from_job, blocking=False)
    theirs: Channel[FromJob, ToJob] = Channel(b, decode_to_job, blocking=False)
    clock = _Hurried(ours)
    try:
        JobProcess(job, theirs, Beginning(int(time.time()), (0.0, 0.0), ""), clock, Endpoint(job)).step()
        clock.listen()
    finally:
        clock.close()
        ours.close()
        theirs.close()
    if clock.finished is None or clock.finished.outcome != "success":
        raise OSError(clock.finished.detail if clock.finished else "there was no call")

"""Checks whether the target answers while other connections to it are open and idle.

A server that handles one connection at a time does not. An armed job opens a connection before its instant, and the
server's other visitors then wait until the job has called.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator

from tocsin.doctor.dns import Address
from tocsin.doctor.finding import Finding, ok, skipped, warning

CHECK = "target.idle"
MOST = 4  # connections to hold: as many as there are jobs, but doctor is not a load test
PATIENCE = 1.0  # seconds that an answer may take at least, meanwhile
SLOWER = 5.0  # times the duration of an answer without idle connections
ROUNDS = 2  # in each it must not answer, and then answer when they are closed: one round may be chance
_ADVICE = (
    "give the server more workers or threads (gunicorn --threads 4), or set `arm = false` for the jobs that call it:"
    " they then connect only at their due instant"
)


class Question:
    """The request on each connection: OPTIONS for the path of a job, as before."""

    def __init__(self, host: str, address: Address, tls: ssl.SSLContext | None, head: bytes) -> None:
        self._host, self._address, self._tls, self._head = host, address, tls, head

    async def is_answered(self, within: float) -> bool:
        """Whether there is any answer. Raises OSError."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within), self._connection() as (reader, writer):
                writer.write(self._head)
                return bool(await reader.read(1))
        return False

    @contextlib.asynccontextmanager
    async def idle(self, many: int, within: float) -> AsyncIterator[None]:
        """Open connections without sending anything. Raises OSError, including TimeoutError."""
        async with contextlib.AsyncExitStack() as held:
            async with asyncio.timeout(within):
                for _ in range(many):
                    await held.enter_async_context(self._connection())
            yield

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        family, address = self._address
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
            name = self._host if self._tls else None
            reader, writer = await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def check(subject: str, question: Question, jobs: int, usual: float, until: float) -> Finding:
    """`jobs` are the jobs that arm, `usual` is an answer's duration in seconds, `until` is monotonic seconds."""
    many = min(jobs, MOST)
    patience = max(PATIENCE, SLOWER * usual)
    for _ in range(ROUNDS):
        if time.monotonic() + 3 * patience > until:
            return skipped(CHECK, subject, "not tested with an idle connection: no time was left")
        try:
            async with question.idle(many, patience):
                beside = await question.is_answered(patience)
            alone = beside or await question.is_answered(patience)
        except OSError as error:
            return skipped(CHECK, subject, f"unknown whether it answers during an idle connection: {error}")
        if beside:
            return ok(CHECK, subject, "answers while another connection to it is idle")
        if not alone:
            return skipped(CHECK, subject, "unknown whether it answers during an idle connection: it is too slow now")
    what = "an idle connection to it is open" if many == 1 else f"{many} idle connections to it are open"
    detail = f"answers no one else while {what}: its visitors wait for each job that connects before its due instant"
    return warning(CHECK, subject, detail, _ADVICE)

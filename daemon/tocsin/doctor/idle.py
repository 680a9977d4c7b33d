"""Does the target answer while connections to it are open and idle?

A server that takes one connection at a time does not. An armed job opens a connection before its instant, and the
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
MOST = 4  # connections that are held: as many as there are jobs, but doctor is no load test
PATIENCE = 1.0  # seconds at least that an answer may take beside them
SLOWER = 5.0  # times as long as an answer without them that it may take
ROUNDS = 2  # in each of which it must not answer, and answer once they are closed: one may be chance
_ADVICE = (
    "give the server more workers or threads (gunicorn --threads 4), or set `arm = false` for the jobs that call it:"
    " they then connect only at their due instant"
)


class Question:
    """What is asked on each connection: OPTIONS for the path of a job, as before."""

    def __init__(self, host: str, address: Address, tls: ssl.SSLContext | None, head: bytes) -> None:
        self._host, self._address, self._tls, self._head = host, address, tls, head

    async def is_answered(self, within: float) -> bool:
        """Whether anything comes back. Raises OSError."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within), self._connection() as (reader, writer):
                writer.write(self._head)
                return bool(await reader.read(1))
        return False

    @contextlib.asynccontextmanager
    async def idle(self, many: int, within: float) -> AsyncIterator[None]:
        """Connections on which nothing is sent. Raises OSError, TimeoutError too."""
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
    """`jobs` are those that arm, `usual` the seconds of an answer, `until` monotonic seconds."""
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
    detail = f"answers no one else while {what}: its visitors wait for each job that connects before its due time"
    return warning(CHECK, subject, detail, _ADVICE)

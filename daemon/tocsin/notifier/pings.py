"""Sends signs of life. Those of one job are sent in order. No job waits for another."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import aiohttp
from yarl import URL

from tocsin import __version__, log
from tocsin.config.notify import Style
from tocsin.notifier.signs import Sign, refused, style_of
from tocsin.redact import redact

TIMEOUT = 10.0  # seconds for one attempt
WAITS = (1.0, 5.0)  # seconds before the second and the third attempt: the sign of the next run comes soon anyway
WAITING = 20  # signs of one job that may wait: a server that hangs must not fill the memory
AT_ONCE = 50  # connections
READ = 200  # bytes of an answer
ITSELF = "the heartbeat"  # the name for the daemon's own signs


class Pinger:
    """`counted` is called for each sign, with whether it was taken."""

    def __init__(self, style: Style, counted: Callable[[bool], None]) -> None:
        self._style = style
        self._counted = counted
        self._waiting: dict[str, deque[Sign]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self.failing: dict[str, str] = {}  # jobs whose last sign was refused, and why

    def put(self, whose: str, sign: Sign | None) -> None:
        """Send the sign after the earlier ones of the same job."""
        if sign is None:
            return
        queue = self._waiting.setdefault(whose, deque())
        if len(queue) >= WAITING:
            queue.popleft()
            self._counted(False)
        queue.append(sign)
        if whose not in self._tasks:
            self._tasks[whose] = asyncio.create_task(self._send_all(whose, queue))

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        if self._session:
            await self._session.close()

    async def _send_all(self, whose: str, queue: deque[Sign]) -> None:
        try:
            while queue:
                await self._send(whose, queue[0])
                queue.popleft()
        finally:
            del self._tasks[whose]
            del self._waiting[whose]

    async def _send(self, whose: str, sign: Sign) -> None:
        why = ""
        for wait in (0.0, *WAITS):
            await asyncio.sleep(wait)
            why = await self._attempt(sign)
            if not why:
                break
        self._counted(not why)
        if why and whose not in self.failing:
            self._say(logging.WARNING, whose, "the ping failed; further failures are not logged", why)
        elif not why and whose in self.failing:
            self._say(logging.INFO, whose, "pings work again")
        if why:
            self.failing[whose] = why
        else:
            self.failing.pop(whose, None)

    def _say(self, level: int, whose: str, words: str, why: str | None = None) -> None:
        about: dict[str, object] = {} if whose == ITSELF else {"job": whose}
        log.log(level, f"{whose}: {words}", {**about, **({"why": why} if why else {})}, why=why)

    async def _attempt(self, sign: Sign) -> str:
        """Return why the sign was refused, or "". Redirects are not followed, because they would pass on the secret."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"Tocsin/{__version__} (notifier)"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            )
        try:
            async with self._session.request(
                sign.method,
                URL(sign.url, encoded=True),
                data=redact(sign.body).encode() if sign.body else None,
                allow_redirects=False,
            ) as answer:
                body = (await answer.content.read(READ)).decode(errors="replace")
        except TimeoutError:
            return f"no answer within {TIMEOUT:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return redact(str(error) or type(error).__name__)
        if not 200 <= answer.status < 300:
            return f"answered {answer.status}"
        return refused(style_of(sign.url, self._style), body)

"""Asks the parent to act. Few requests are open at once, and no caller waits longer than a few seconds."""

import asyncio
import itertools

from tocsin.ipc.actions import Action, Answered, Requested
from tocsin.ipc.channel import Channel
from tocsin.ipc.exporter import ToExporter

AT_ONCE = 8  # requests: further ones are refused, so that they cannot fill the channel when the parent hangs
PATIENCE = 5.0  # seconds until a caller is told that the daemon does not answer


class Asking:
    """Used inside the exporter's event loop, which passes the parent's answers to `heard`."""

    def __init__(self, channel: Channel[Requested, ToExporter]) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Answered]] = {}  # until answered, even if nobody waits any more

    @property
    def waits(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(not one.done() for one in self._open.values())

    async def ask(self, action: Action) -> Answered:
        number = next(self._numbers)
        if len(self._open) >= AT_ONCE:
            return Answered(number, "silent", "the daemon does not answer: it may be stopped or overloaded")
        waiting: asyncio.Future[Answered] = self._loop.create_future()
        self._open[number] = waiting
        self._channel.send(Requested(number, action))
        try:
            async with asyncio.timeout(PATIENCE):
                return await waiting
        except TimeoutError:
            why = f"the daemon did not answer within {PATIENCE:g} s; the action may still be carried out"
            return Answered(number, "silent", why)

    def heard(self, answer: Answered) -> None:
        waiting = self._open.pop(answer.number, None)
        if waiting and not waiting.done():
            waiting.set_result(answer)

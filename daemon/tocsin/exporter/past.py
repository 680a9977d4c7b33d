"""Asks the ledger's process about the past. Waits for a few seconds at most."""

import asyncio
import itertools
import socket
import time

from tocsin import log
from tocsin.ipc.channel import Channel, ChannelClosed, ChannelGarbage
from tocsin.ipc.history import PATIENCE, Actions, Answer, Ask, NoAnswer, Question, decode_answer

AT_ONCE = 8  # open questions; more get no answer, so that many clients cannot keep the ledger's process busy
QUEUE = 16  # questions queued while the ledger's process is down


class Past:
    """Must be used inside the event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel: Channel[Ask, Answer] = Channel(sock, decode_answer, blocking=False, queue_length=QUEUE)
        # earlier processes used lower numbers, and their answers may still arrive
        self._numbers = itertools.count(time.time_ns() // 1000)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._loop.add_reader(self._channel.fileno(), self._hear)

    async def ask(self, question: Question | Actions) -> Answer:
        number = next(self._numbers)
        if len(self._waiting) >= AT_ONCE:
            return NoAnswer(number, "too many requests for the history at the same time: try again")
        waiting: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[number] = waiting
        try:
            self._channel.flush()
            if not self._channel.send(Ask(number, time.time() + PATIENCE, question)):
                return NoAnswer(number, "the ledger's process does not answer")
            async with asyncio.timeout(PATIENCE):
                return await waiting
        except TimeoutError:
            return NoAnswer(number, f"the ledger's process did not answer within {PATIENCE:g} s")
        finally:
            del self._waiting[number]

    def _hear(self) -> None:
        try:
            answer = self._channel.receive()
        except ChannelGarbage as error:
            log.error("cannot understand an answer about the history", why=str(error))
            return
        except ChannelClosed:  # the parent holds both ends, so it is gone; the other channel reports that
            self._loop.remove_reader(self._channel.fileno())
            return
        if answer and (waiting := self._waiting.get(answer.number)) and not waiting.done():
            waiting.set_result(answer)

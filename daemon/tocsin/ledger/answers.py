"""Answers the exporter's questions about the past, in a thread of the ledger's process with its own connection.

So reading delays neither commits nor the parent. The exporter, which strangers may reach, cannot access the store.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from tocsin import log
from tocsin.ipc import channel as channels
from tocsin.ipc.actions import Acted
from tocsin.ipc.channel import Channel, ChannelGarbage
from tocsin.ipc.history import (
    ACTIONS_AT_MOST,
    ActionRows,
    Actions,
    Answer,
    Ask,
    NoAnswer,
    Question,
    Row,
    Rows,
    decode_question,
)
from tocsin.ledger.store import Absent, Found, Reader, Unreadable

ROOM = channels.MESSAGE_SIZE - 1024  # bytes of rows in one answer, which must fit into a message
QUEUE = 16  # answers kept for an exporter that does not read; it has at most half as many open questions
ENDS_IN = 1.0  # seconds that the answer in progress has when the process must end


class Answers:
    """The process's main thread begins and stops it. Each question opens its own reader, so no file stays open."""

    def __init__(self, sock: socket.socket, reader: Callable[[], Reader]) -> None:
        self._channel: Channel[Answer, Ask] = Channel(sock, decode_question, blocking=False, queue_length=QUEUE)
        self._reader = reader
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="answers", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop after the answer in progress."""
        os.eventfd_write(self._ended, 1)
        self._thread.join(ENDS_IN)
        if not self._thread.is_alive():
            os.close(self._ended)

    def _serve(self) -> None:
        spoken = select.poll()
        spoken.register(self._ended, select.POLLIN)
        while True:
            spoken.register(self._channel, select.POLLIN | (select.POLLOUT if self._channel.backlog else 0))
            ready = {descriptor for descriptor, _ in spoken.poll()}
            if self._ended in ready:
                return
            self._channel.flush()
            try:
                ask = self._channel.receive()
            except ChannelGarbage as error:
                log.error("cannot understand a question about the history", why=str(error))
                continue
            if ask and time.time() < ask.until:
                self._channel.send(self._answer(ask.number, ask.question))

    def _answer(self, number: int, question: Question | Actions) -> Answer:
        try:
            if isinstance(question, Actions):
                return action_rows(number, self._reader().actions(question), question.limit)
            found = self._reader().find(question)
        except Absent:
            return NoAnswer(number, "there is no ledger yet")
        except (Unreadable, OSError) as error:
            return NoAnswer(number, f"the ledger cannot be read: {error}"[:500])
        return fitting(number, found)


def action_rows(number: int, found: Sequence[Acted], limit: int) -> ActionRows:
    """`found` may have one more than was asked for, which says that there are more."""
    shown = tuple(found[: min(limit, ACTIONS_AT_MOST)])
    return ActionRows(number, shown, shown[-1].at if shown and len(found) > len(shown) else None)


def fitting(number: int, found: Found) -> Rows:
    """Return as many of the rows as fit into one message."""
    left, rows = ROOM, list[Row]()
    for row in found.rows:
        left -= len(msgspec.json.encode(row)) + 1
        if left < 0:
            return Rows(number, tuple(rows), rows[-1].place)
        rows.append(row)
    return Rows(number, tuple(rows), found.more)

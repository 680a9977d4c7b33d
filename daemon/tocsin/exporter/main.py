"""The exporter's process: reads the parent's messages and answers HTTP requests."""

import asyncio
import gc
import socket
import time
from typing import Never

from tocsin import log
from tocsin.config.access import Access
from tocsin.exporter.asking import Asking
from tocsin.exporter.metrics import Metrics
from tocsin.exporter.past import Past
from tocsin.exporter.refusals import Refusals
from tocsin.exporter.routes import Routes
from tocsin.exporter.server import SEND_BUFFER, serve
from tocsin.exporter.state import SLOTS_KEPT, State
from tocsin.ipc.actions import Answered, Requested
from tocsin.ipc.channel import Channel
from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.history import ActionRows, Actions, Rows, Slots
from tocsin.ipc.job import Stop

MESSAGES_AT_ONCE = 16  # read before requests have their turn again: a new job takes a millisecond
LAST_WORDS = 0.5  # seconds to answer an action when told to stop: a reload may have been the reason
GATHER = 0.01  # seconds between reads, so that the messages that arrive meanwhile share one wake-up
FREEZE_EACH = 100  # jobs: what stays of so many is not searched for garbage again, which would take 10 ms
RECALL_AGAIN = 1.0  # seconds until it asks again for a job's slots when the ledger could not answer


def main(
    channel: Channel[Requested, ToExporter],
    listener: socket.socket,
    past: socket.socket,
    host: str,
    access: Access,
    key: bytes,
) -> None:
    """Run in the forked child until the parent sends Stop. `listener` is already bound to `host`. `past` is the channel
    to the ledger for questions about the past. `key` signs the forms. The parent keeps all three for the
    next exporter.

    Raises ChannelClosed when the parent is gone, and ChannelGarbage when it sends something invalid.
    """
    gc.enable()  # the parent has it off
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER // 2)  # the kernel doubles it
    asyncio.run(_run(channel, listener, past, host, access, key))


async def _run(
    channel: Channel[Requested, ToExporter],
    listener: socket.socket,
    past_end: socket.socket,
    host: str,
    access: Access,
    key: bytes,
) -> None:
    loop = asyncio.get_running_loop()
    state = State(time.time(), time.monotonic())
    metrics = Metrics()
    past = Past(past_end)
    asking = Asking(channel)
    news = asyncio.Event()  # set when there are jobs whose past has not been read yet
    routes = Routes(state, metrics, host, access, time.time, time.monotonic, key)
    refusals = Refusals(metrics.refused, loop.call_later, time.monotonic)
    stopped: asyncio.Future[None] = loop.create_future()
    frozen = 0  # jobs whose series the collector leaves alone: 8,000 would hold up requests for half a second

    def hear() -> None:
        nonlocal frozen
        heard = 0
        try:
            for message in channel.waiting(MESSAGES_AT_ONCE):
                heard += 1
                if isinstance(message, Answered):
                    asking.heard(message)
                elif isinstance(message, Stop):
                    loop.call_later(LAST_WORDS if asking.waits else 0, stopped.cancel)
                metrics.hear(message, state.hear(message, time.monotonic()), time.time())
            if state.unread:
                news.set()
            metrics.settle()
            if len(state.jobs) >= frozen + FREEZE_EACH:
                frozen = len(state.jobs)
                gc.freeze()
        except Exception as error:  # noqa: BLE001 - of any kind: main raises it
            loop.remove_reader(channel.fileno())
            if not stopped.done():
                stopped.set_exception(error)
        else:
            if heard < MESSAGES_AT_ONCE:
                loop.remove_reader(channel.fileno())
                loop.call_later(GATHER, loop.add_reader, channel.fileno(), hear)

    loop.set_exception_handler(lambda _, context: log.error("in the exporter's loop", why=str(context)))
    loop.add_reader(channel.fileno(), hear)
    measuring = asyncio.create_task(_measure(state))
    recalling = asyncio.create_task(_recall(state, past, news))
    server = asyncio.create_task(
        serve(listener, routes.answer, past.ask, asking.ask, access.tls.context if access.tls else None, refusals)
    )
    await asyncio.wait((stopped, server, recalling, measuring), return_when=asyncio.FIRST_COMPLETED)
    if not stopped.cancelled():
        next(one for one in (stopped, server, recalling, measuring) if one.done()).result()


async def _measure(state: State) -> Never:
    """Measure the memory of the jobs' processes as long as somebody asks for it."""
    while True:
        await asyncio.sleep(state.measure(time.monotonic()))


async def _recall(state: State, past: Past, news: asyncio.Event) -> Never:
    """Read each job's slots from before this process, one job after another."""
    recalled = False  # what people did
    while True:
        await news.wait()
        if not recalled and isinstance(answer := await past.ask(Actions()), ActionRows):
            recalled = True
            state.recall_actions(answer.actions)
        while name := next(iter(state.unread), None):
            answer = await past.ask(Slots(name, limit=SLOTS_KEPT))
            if not isinstance(answer, Rows):
                await asyncio.sleep(RECALL_AGAIN)
            elif name in state.unread:
                del state.unread[name]
                state.recall(name, answer.rows)
        news.clear()

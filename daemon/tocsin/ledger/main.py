"""The ledger's process: commits the entries that have arrived as one transaction, and answers them."""

import gc
import select
import time
from collections.abc import Callable
from typing import TypeVar, assert_never

from tocsin import log
from tocsin.ipc.channel import Channel
from tocsin.ipc.job import Finished, Stop
from tocsin.ipc.ledger import (
    Committed,
    Entry,
    FromLedger,
    LedgerReady,
    LedgerTrouble,
    LedgerUnusable,
    Told,
    ToLedger,
)
from tocsin.ledger.answers import Answers
from tocsin.ledger.store import Held, Moved, Passing, Store, Unusable

BATCH = 1000  # entries in one transaction: a commit takes less than a tenth of a second
GATHER = 0.02  # seconds between commits, so that many entries share one; jobs ask early enough to wait for it
RETRY = 1.0  # seconds between retries while the store refuses to write
MEASURE = 60.0  # seconds between looks at the size of the ledger and the room that is left
SOON = 0.1  # seconds until the first retry: the trouble may be short, such as a server's restart

T = TypeVar("T")


def main(channel: Channel[FromLedger, ToLedger], open_store: Callable[[], Store], answers: Answers) -> None:
    """Run in the forked child until the parent sends Stop. `open_store` raises Passing and Unusable."""
    gc.enable()  # the parent has it off
    answers.begin()
    store: Store | None = None
    try:
        store, lost = _patiently(channel, lambda: _open(open_store))
        for one in lost:
            channel.send(one)
        channel.send(LedgerReady(store.before, store.seq, store.epoch))
        _serve(channel, store)
        store.stopped(time.time())
    except Unusable as error:
        channel.send(LedgerUnusable(str(error), held=isinstance(error, Held)))
    except Passing as error:
        log.error("the ledger could not record that the daemon was stopped", why=str(error))
    except Moved as moved:  # the next process opens the file that is there now, or creates one
        log.error(f"{moved}: the new ledger has none of the old history")
    finally:
        answers.stop()  # before the store is closed: the last connection to close removes the -wal file
        if store:
            store.close()


def _serve(channel: Channel[FromLedger, ToLedger], store: Store) -> None:
    """Commit and answer entries until Stop."""
    next_idle = next_beat = next_measure = time.monotonic()
    committed = -GATHER
    stopping = False
    spoken = select.poll()
    spoken.register(channel, select.POLLIN)
    while not stopping:
        heard = spoken.poll(max(0.0, min(next_idle, next_beat) - time.monotonic()) * 1000)
        if (began := time.monotonic()) >= next_beat:
            told, seconds = _patiently(channel, lambda: store.beat(time.time()))
            for one in told:
                channel.send(one)
            next_beat = began + seconds  # not from its end: a slow server must not stretch the time between two
        if not heard:
            if time.monotonic() >= next_idle:
                next_idle = time.monotonic() + _patiently(channel, lambda: store.idle(time.time()))
            if time.monotonic() >= next_measure:
                channel.send(_patiently(channel, store.room))
                next_measure = time.monotonic() + MEASURE
            continue
        gather = committed + GATHER - time.monotonic()
        if gather > 0:
            time.sleep(gather)
        entries = []
        for message in channel.waiting(BATCH):
            match message:
                case Entry():
                    entries.append(message)
                case Stop():
                    stopping = True
                case _:
                    assert_never(message)
        if entries:
            _commit(store, entries, channel)
            committed = time.monotonic()


def _open(open_store: Callable[[], Store]) -> tuple[Store, list[Finished]]:
    store = open_store()
    try:
        return store, store.recover(time.time())
    except (Passing, Unusable):
        store.close()
        raise


def _commit(store: Store, entries: list[Entry], channel: Channel[FromLedger, ToLedger]) -> None:
    def commit() -> tuple[list[Told], float]:
        began = time.perf_counter()
        return store.commit(entries), time.perf_counter() - began

    answers, seconds = _patiently(channel, commit)
    for answer in answers:
        channel.send(answer)
    channel.send(Committed(entries[-1].seq, seconds))


def _patiently(channel: Channel[FromLedger, ToLedger], work: Callable[[], T]) -> T:
    """Repeat `work` until it does not raise Passing, and return its result. Reports each reason once."""
    said = ""
    wait = min(SOON, RETRY)
    while True:
        try:
            result = work()
        except Passing as error:
            if str(error) != said:
                said = str(error)
                channel.send(LedgerTrouble(said))
            select.select([], [], [], wait)
            wait = min(2 * wait, RETRY)
        else:
            if said:
                channel.send(LedgerTrouble(None))
            return result

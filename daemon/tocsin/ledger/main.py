"""The ledger's process: takes in what has arrived, commits it as one transaction, answers."""

import gc
import select
import time
from collections.abc import Callable
from typing import TypeVar, assert_never

from tocsin import log
from tocsin.ipc.channel import Channel
from tocsin.ipc.job import Deny, Finished, Grant, Stop
from tocsin.ipc.ledger import (
    Committed,
    Entry,
    FromLedger,
    JobHistory,
    LedgerReady,
    LedgerTrouble,
    LedgerUnusable,
    ToLedger,
)
from tocsin.ledger.answers import Answers
from tocsin.ledger.store import Held, Moved, Passing, Store, Unusable

BATCH = 1000  # entries in one transaction at most: a commit stays under a tenth of a second
GATHER = 0.02  # seconds from one commit to the next: what came meanwhile becomes one, and slots are asked for ahead
RETRY = 1.0  # seconds between tries while the store refuses to write
SOON = 0.1  # seconds until the first of them: it may be a matter of a moment, as the restart of a server

T = TypeVar("T")


def main(channel: Channel[FromLedger, ToLedger], open_store: Callable[[], Store], answers: Answers) -> None:
    """Runs in the forked child until the parent says Stop. `open_store` raises Passing and Unusable."""
    gc.enable()  # the parent that forked it has it off
    answers.begin()
    store: Store | None = None
    try:
        store, lost = _patiently(channel, lambda: _open(open_store))
        for one in lost:
            channel.send(one)
        channel.send(LedgerReady(store.before, store.seq))
        _serve(channel, store)
        store.stopped(time.time())
    except Unusable as error:
        channel.send(LedgerUnusable(str(error), held=isinstance(error, Held)))
    except Passing as error:
        log.error("the ledger could not record that the daemon was stopped", why=str(error))
    except Moved as moved:  # the next process takes what is there, or begins a new one
        log.error(f"{moved}: the new ledger has none of the old history")
    finally:
        answers.stop()  # before the store is closed: who closes it last leaves one file
        if store:
            store.close()


def _serve(channel: Channel[FromLedger, ToLedger], store: Store) -> None:
    """Until Stop."""
    next_idle = time.monotonic()
    committed = -GATHER
    stopping = False
    spoken = select.poll()
    spoken.register(channel, select.POLLIN)
    while not stopping:
        if not spoken.poll(max(0.0, next_idle - time.monotonic()) * 1000):
            next_idle = time.monotonic() + _patiently(channel, lambda: store.idle(time.time()))
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
    def commit() -> tuple[list[Grant | Deny | JobHistory], float]:
        began = time.perf_counter()
        return store.commit(entries), time.perf_counter() - began

    answers, seconds = _patiently(channel, commit)
    for answer in answers:
        channel.send(answer)
    channel.send(Committed(entries[-1].seq, seconds))


def _patiently(channel: Channel[FromLedger, ToLedger], work: Callable[[], T]) -> T:
    """The result of `work`, tried until the store lets it; that it does not is said once."""
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

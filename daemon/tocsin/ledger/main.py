"""The ledger's process: takes in what has arrived, commits it as one transaction, answers."""

import gc
import select
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tocsin import log
from tocsin.ipc.channel import Channel
from tocsin.ipc.messages import (
    Committed,
    Deny,
    Entry,
    Finished,
    Grant,
    LedgerReady,
    LedgerTrouble,
    LedgerUnusable,
    Past,
    Stop,
)
from tocsin.ledger.files import Moved
from tocsin.ledger.sqlite import PRUNE_AT_ONCE, SqliteLedger, Unusable

BATCH = 1000  # entries in one transaction at most: a commit stays under a tenth of a second
GATHER = 0.02  # seconds from one commit to the next: what came meanwhile becomes one, and slots are asked for ahead
RETRY = 1.0  # seconds between tries while the store refuses to write
LOOK_EVERY = 5.0  # seconds between looks at the files while nothing is to be committed
PRUNE_EVERY = 600.0  # seconds between looks for rows older than `keep`

T = TypeVar("T")


def main(channel: Channel, folder: Path, session: str, keep: float) -> None:
    """Runs in the forked child until the parent says Stop. `keep` is seconds."""
    gc.enable()  # the parent that forked it has it off
    try:
        ledger, lost = _patiently(channel, folder, lambda: _open(folder, session))
    except Unusable as error:
        channel.send(LedgerUnusable(str(error)))
        return
    try:
        for one in lost:
            channel.send(one)
        channel.send(LedgerReady(ledger.before, ledger.seq))
        _serve(channel, ledger, keep)
        ledger.stopped(time.time())
    except Unusable as error:
        channel.send(LedgerUnusable(str(error)))
    except Moved as moved:  # the next process takes what is there, or begins a new one
        log.error(f"{moved}: what stands there from now on knows nothing of what was in it")
    finally:
        ledger.close()


def _serve(channel: Channel, ledger: SqliteLedger, keep: float) -> None:
    """Until Stop. Old rows are deleted when nothing else is to do."""
    next_prune = time.monotonic()
    committed = -GATHER
    stopping = False
    spoken = select.poll()
    spoken.register(channel, select.POLLIN)
    while not stopping:
        idle = max(0.0, min(next_prune - time.monotonic(), LOOK_EVERY))
        if not spoken.poll(idle * 1000):
            ledger.look()
            if time.monotonic() >= next_prune:
                pruned = _prune(ledger, keep)
                next_prune = time.monotonic() + (0 if pruned == PRUNE_AT_ONCE else PRUNE_EVERY)
            continue
        gather = committed + GATHER - time.monotonic()
        if gather > 0:
            time.sleep(gather)
        entries = []
        for message in channel.waiting(BATCH):
            if isinstance(message, Entry):
                entries.append(message)
            elif isinstance(message, Stop):
                stopping = True
        if entries:
            _commit(ledger, entries, channel)
            committed = time.monotonic()


def _open(folder: Path, session: str) -> tuple[SqliteLedger, list[Finished]]:
    ledger = SqliteLedger(folder, session)
    try:
        return ledger, ledger.recover(time.time())
    except (sqlite3.Error, Unusable):
        ledger.close()
        raise


def _commit(ledger: SqliteLedger, entries: list[Entry], channel: Channel) -> None:
    def commit() -> tuple[list[Grant | Deny | Past], float]:
        began = time.perf_counter()
        return ledger.commit(entries), time.perf_counter() - began

    answers, seconds = _patiently(channel, ledger.file, commit)
    for answer in answers:
        channel.send(answer)
    channel.send(Committed(entries[-1].seq, seconds))


def _patiently(channel: Channel, file: Path, work: Callable[[], T]) -> T:
    """The result of `work`, tried until the store lets it; that it does not is said once."""
    said = ""
    while True:
        try:
            result = work()
        except sqlite3.OperationalError as error:
            if str(error) != said:
                said = str(error)
                channel.send(LedgerTrouble(f"{file}: {said} (disk full, or may this user not write it?)"))
            select.select([], [], [], RETRY)
        else:
            if said:
                channel.send(LedgerTrouble(""))
            return result


def _prune(ledger: SqliteLedger, keep: float) -> int:
    try:
        return ledger.prune(time.time() - keep)
    except sqlite3.DatabaseError as error:  # damage among them too: what is written from now on may be well
        log.warning("cannot delete old rows of the ledger", why=str(error))
        return 0

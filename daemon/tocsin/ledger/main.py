"""The ledger's process: takes in what has arrived, commits it as one transaction, answers."""

import select
import sqlite3
import time
from pathlib import Path

from tocsin import log
from tocsin.channel import Channel
from tocsin.ledger.sqlite import PRUNE_AT_ONCE, SqliteLedger, Unusable
from tocsin.messages import Committed, Entry, LedgerReady, LedgerTrouble, LedgerUnusable, Stop

BATCH = 1000  # entries in one transaction at most: a commit stays under a tenth of a second
RETRY = 1.0  # seconds between tries while the store refuses to write
PRUNE_EVERY = 600.0  # seconds between looks for rows older than `keep`


def main(channel: Channel, folder: Path, session: str, keep: float) -> None:
    """Runs in the forked child until the parent says Stop. `keep` is seconds."""
    try:
        ledger = SqliteLedger(folder, session)
        lost = ledger.recover(time.time())
    except Unusable as error:
        channel.send(LedgerUnusable(str(error)))
        return
    for one in lost:
        channel.send(one)
    channel.send(LedgerReady())
    next_prune = time.monotonic()
    stopping = False
    while not stopping:
        idle = max(0.0, next_prune - time.monotonic())
        if not select.select([channel], [], [], idle)[0]:
            pruned = _prune(ledger, keep)
            next_prune = time.monotonic() + (0 if pruned == PRUNE_AT_ONCE else PRUNE_EVERY)
            continue
        entries = []
        for message in channel.waiting(BATCH):
            if isinstance(message, Entry):
                entries.append(message)
            elif isinstance(message, Stop):
                stopping = True
        if entries:
            _commit(ledger, entries, channel)


def _commit(ledger: SqliteLedger, entries: list[Entry], channel: Channel) -> None:
    """Until it is done: what cannot be written now is kept and tried again, and said once."""
    said = ""
    while True:
        began = time.perf_counter()
        try:
            answers = ledger.commit(entries)
            break
        except sqlite3.OperationalError as error:
            if str(error) != said:
                said = str(error)
                channel.send(LedgerTrouble(f"cannot write {ledger.file}: {said}"))
            select.select([], [], [], RETRY)
    if said:
        channel.send(LedgerTrouble(""))
    seconds = time.perf_counter() - began
    for answer in answers:
        channel.send(answer)
    channel.send(Committed(entries[-1].seq, seconds))


def _prune(ledger: SqliteLedger, keep: float) -> int:
    try:
        return ledger.prune(time.time() - keep)
    except sqlite3.OperationalError as error:
        log.warning("cannot delete old rows of the ledger", why=str(error))
        return 0

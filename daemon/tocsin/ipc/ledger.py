"""The messages between the ledger's process and the parent."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.actions import Acted
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Skipped, Stop
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Instant, Message


class Enroll(Message, frozen=True):
    """Enrol a job with its schedule, which is empty while the job is disabled. Answered by its `JobHistory`.
    `generation` is the number of the last load of the job file that enrolled all jobs."""

    job: str
    schedule: str
    generation: int
    now: Instant


class Enrolled(Message, frozen=True):
    """Every job of this generation is enrolled: the ledger forgets the records of the others."""

    generation: int


class JobHistory(Message, frozen=True):
    """Ledger to parent: the record of a job."""

    job: str
    record: JobRecord


Body = Ask | Finished | Skipped | Release | Pause | Acted | Enroll | Enrolled  # the entries of the ledger


class Entry(Message, frozen=True):
    """Parent to ledger. Entries are numbered, and the parent keeps them until they are committed."""

    seq: int
    body: Body


class Committed(Message, frozen=True):
    """Ledger to parent: everything up to `seq` is committed. The commit took `seconds`."""

    seq: int
    seconds: float


class LedgerReady(Message, frozen=True):
    """Ledger to parent: the ledger is open. `before` says why no slots ran before this daemon. Its entries up to `seq`
    are committed."""

    before: str | None = None
    seq: int = 0


class LedgerTrouble(Message, frozen=True):
    """Ledger to parent: it cannot commit; `detail` says why. None: it can again."""

    detail: str | None


class LedgerUnusable(Message, frozen=True):
    """Ledger to parent: the store cannot be used, and no retry helps. `held`: another daemon holds it."""

    detail: str
    held: bool = False


ToLedger = Entry | Stop
FromLedger = Grant | Deny | JobHistory | Finished | Committed | LedgerReady | LedgerTrouble | LedgerUnusable

decode_to_ledger: Callable[[bytes], ToLedger] = msgspec.json.Decoder(ToLedger).decode
decode_from_ledger: Callable[[bytes], FromLedger] = msgspec.json.Decoder(FromLedger).decode

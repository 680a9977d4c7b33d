"""What the ledger's process and the parent say to each other."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Skipped, Stop
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Instant, Message


class Enroll(Message, frozen=True):
    """The job has this schedule, which is empty while it is disabled. Answered by its `JobHistory`. `generation` is the
    number of the last load of the job file at which every job was named."""

    job: str
    schedule: str
    generation: int
    now: Instant


class Enrolled(Message, frozen=True):
    """Every job of this generation was named: the ledger forgets the baseline of the others."""

    generation: int


class JobHistory(Message, frozen=True):
    """What the ledger knows of a job."""

    job: str
    record: JobRecord


Body = Ask | Finished | Skipped | Release | Pause | Enroll | Enrolled  # what the ledger must know


class Entry(Message, frozen=True):
    """What the parent sends to the ledger: numbered, kept and sent again until committed."""

    seq: int
    body: Body


class Committed(Message, frozen=True):
    """Ledger to parent: everything up to `seq` is durable; the commit took `seconds`."""

    seq: int
    seconds: float


class LedgerReady(Message, frozen=True):
    """Ledger to parent: open for entries. `before` says what kept slots from running until this daemon began; this
    daemon's entries up to `seq` are durable."""

    before: str | None = None
    seq: int = 0


class LedgerTrouble(Message, frozen=True):
    """Ledger to parent: cannot commit, and why; None: it can again."""

    detail: str | None


class LedgerUnusable(Message, frozen=True):
    """Ledger to parent: the store cannot be used, and no retry will mend that. `held`: another daemon has it."""

    detail: str
    held: bool = False


ToLedger = Entry | Stop
FromLedger = Grant | Deny | JobHistory | Finished | Committed | LedgerReady | LedgerTrouble | LedgerUnusable

decode_to_ledger: Callable[[bytes], ToLedger] = msgspec.json.Decoder(ToLedger).decode
decode_from_ledger: Callable[[bytes], FromLedger] = msgspec.json.Decoder(FromLedger).decode

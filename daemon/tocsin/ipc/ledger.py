"""The messages between the ledger's process and the parent."""

from collections.abc import Callable

import msgspec

from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import AwayPart, GivenUp, Leave, Members, Roster, RosterPart, Yield
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Skipped, Stop
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Count, Instant, Message, StoreKind


class Enroll(Message, frozen=True):
    """Enrol a job with its schedule, which is empty while the job is disabled. Answered by its `JobHistory`: where
    several nodes share the ledger, once this node owns the job. `generation` is the number of the last load of the job
    file that enrolled all jobs."""

    job: str
    schedule: str
    generation: int
    now: Instant


class Enrolled(Message, frozen=True):
    """Every job of this generation is enrolled: the ledger forgets the records of the others, except those in the job
    file of another node."""

    generation: int


class JobHistory(Message, frozen=True):
    """Ledger to parent: the record of a job. `why_missed` says why no slots ran before, if that is special to this job.
    `again` is a run that was lost on another node, as the ask for its next delivery."""

    job: str
    record: JobRecord
    why_missed: str | None = None
    again: Ask | None = None


OnNodes = Roster | Yield | Leave  # entries that matter only where several nodes share the ledger
Body = Ask | Finished | Skipped | Release | Pause | Acted | Enroll | Enrolled | OnNodes  # the entries of the ledger


class Entry(Message, frozen=True):
    """Parent to ledger. Entries are numbered, and the parent keeps them until they are committed. `epoch` is the one
    that the parent knew at that time; 0 if it knew none."""

    seq: int
    body: Body
    epoch: Count = 0


class Committed(Message, frozen=True):
    """Ledger to parent: everything up to `seq` is committed. The commit took `seconds`."""

    seq: int
    seconds: float


class LedgerReady(Message, frozen=True):
    """Ledger to parent: the ledger is open. `before` says why no slots ran before this daemon. Its entries up to `seq`
    are committed. `epoch` counts how often this daemon has joined the nodes that share the ledger; 0 in SQLite."""

    before: str | None = None
    seq: int = 0
    epoch: Count = 0


class LedgerTrouble(Message, frozen=True):
    """Ledger to parent: it cannot commit; `detail` says why. None: it can again."""

    detail: str | None


class LedgerUnusable(Message, frozen=True):
    """Ledger to parent: the store cannot be used, and no retry helps. `held`: another daemon holds it."""

    detail: str
    held: bool = False


class LedgerRoom(Message, frozen=True):
    """Ledger to parent and exporter: the bytes that the ledger takes, and those that are left to it. `free` is None
    where nobody can tell, as on a PostgreSQL server."""

    store: StoreKind
    size: int
    free: int | None = None


ToLedger = Entry | Stop
Told = (
    Grant | Deny | JobHistory | Finished | Pause | Members | RosterPart | GivenUp | AwayPart
)  # what a store has to say
FromLedger = Told | Committed | LedgerReady | LedgerTrouble | LedgerUnusable | LedgerRoom

decode_to_ledger: Callable[[bytes], ToLedger] = msgspec.json.Decoder(ToLedger).decode
decode_from_ledger: Callable[[bytes], FromLedger] = msgspec.json.Decoder(FromLedger).decode

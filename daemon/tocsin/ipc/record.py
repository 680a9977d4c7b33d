"""The record of a job, and what each event changes in it.

The ledger stores the record as a row and sends it to the next daemon. The parent and the exporter keep it up to date
with the same functions.
"""

import math

from msgspec import Struct, field
from msgspec.structs import replace

from tocsin.ipc.fates import FATES, Fate, is_unreachable
from tocsin.ipc.job import Ask, Finished, Pause, Release, Skipped
from tocsin.ipc.types import Count, Instant, Outcome
from tocsin.timestamps import CLOCK_SET_BACK

LARGEST = 2.0**53  # beyond it a float loses whole numbers


class JobRecord(Struct, frozen=True):
    accounted: int  # Unix seconds: slots of the schedule up to here are accounted for
    since: Instant = 0.0  # since when a success is expected, if there was none later; 0 if unknown
    paused: bool = False
    last_outcome: Outcome | None = None
    last_detail: str = ""
    last_run: Instant | None = None
    last_success: Instant | None = None
    consecutive_failures: Count = 0
    unreachable: bool = False  # whether the last run got no answer from the app
    # Of its pause. If it is not paused, of the last one: when it began, and when it ended.
    paused_since: Instant | None = None
    paused_until: Instant | None = None
    paused_why: str = ""
    paused_by: str = ""
    missed_at: Instant | None = None  # when slots were last found to be missed without a catch-up
    counts: dict[Fate, Count] = field(default_factory=dict)  # runs and slots by fate, since the job's first enrolment
    totals: dict[str, float] = field(default_factory=dict)  # sums of the reported values, since then

    @property
    def pause(self) -> tuple[float, float]:
        """The pause, or the last one: slots due from its start to before its end are skipped."""
        if self.paused and self.paused_until is None:
            return self.paused_since or 0.0, math.inf
        return self.paused_since or 0.0, self.paused_until or 0.0


def enrolled(record: JobRecord | None, now: float, *, same_schedule: bool) -> JobRecord:
    """Return the record of a job that the job file names at `now` (Unix time). `record` is None for a new job.

    A new schedule starts at `now`: the slots of the old one do not matter to it.
    """
    whole = int(now)
    if record is None:
        return JobRecord(whole, whole)
    if same_schedule:
        return record if record.since <= whole else replace(record, since=whole)
    return replace(record, accounted=whole, since=whole)


def after(record: JobRecord, event: Ask | Finished | Skipped | Release | Pause) -> JobRecord:
    """Return the record after an event of its job. Manual runs do not account for slots of the schedule."""
    match event:
        case Ask(due=due, attempt=attempt):
            if event.trigger == "manual":
                return record
            set_back = not attempt and record.accounted > due + CLOCK_SET_BACK
            return _accounted(record, int(due) if set_back else max(record.accounted, int(due)))
        case Skipped(last=last):
            known = record if event.trigger == "manual" else _accounted(record, max(record.accounted, int(last)))
            counts = _counted(record, event.reason, event.count)
            if event.reason == "missed" and not event.made_up and event.trigger != "manual":
                return replace(known, counts=counts, missed_at=event.at or last)
            return replace(known, counts=counts)
        case Release(due=due, attempt=0):
            return _accounted(record, min(record.accounted, int(due) - 1))
        case Release():  # the slot of a redelivery is accounted for already
            return record
        case Finished(outcome=outcome, finished=finished):
            failures = 0 if outcome == "success" else record.consecutive_failures + FATES[outcome].is_failure
            return replace(
                record,
                last_outcome=outcome,
                last_detail=event.detail,
                last_run=finished,
                last_success=finished if outcome == "success" else record.last_success,
                consecutive_failures=failures,
                unreachable=is_unreachable(outcome, event.status),
                counts=_counted(record, outcome, 1),
                totals=_added(record.totals, event.reported) if event.reported else record.totals,
            )
        case Pause(paused=True, at=at, until=until):
            since = record.paused_since if record.paused else at
            return replace(
                *(record,),
                paused=True,
                paused_since=since,
                paused_until=until,
                paused_why=event.why,
                paused_by=event.by,
            )
        case Pause(at=at) if record.paused:  # skipped slots do not count against the job
            return replace(record, paused=False, paused_until=at, paused_why="", paused_by="", since=at)
        case Pause():
            return record


def _counted(record: JobRecord, fate: Fate, count: int) -> dict[Fate, Count]:
    return {**record.counts, fate: record.counts.get(fate, 0) + count}


def addable(value: float) -> bool:
    """Whether a reported value may be added to a sum. A job's process sends no others, unless it was taken over."""
    return 0 <= value <= LARGEST


def _added(totals: dict[str, float], reported: dict[str, float]) -> dict[str, float]:
    return totals | {name: totals.get(name, 0.0) + value for name, value in reported.items() if addable(value)}


def _accounted(record: JobRecord, until: int) -> JobRecord:
    return record if until == record.accounted else replace(record, accounted=until)

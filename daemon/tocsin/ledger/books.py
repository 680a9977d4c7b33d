"""Applies entries to jobs and slots in memory: takes the rows that a transaction has read, gives those to write.

The rules are those of the SQLite store, but a thousand entries need only a few SQL statements. `tocsin.ipc.record`
decides what a result means for a job.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from msgspec.json import encode

from tocsin.ipc import record as records
from tocsin.ipc.actions import Acted
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, Enrolled, JobHistory
from tocsin.ipc.record import JobRecord
from tocsin.ledger.times import columns
from tocsin.schedule import same

NEVER_ENDED = (
    "another run of the job was asked for before its end was reported; whether the app did the work is unknown"
)

Key = tuple[str, float, int]  # job, due, attempt


@dataclass(slots=True)
class JobRow:
    schedule: str | None = None  # None: not enrolled, the row is only kept for an unfinished run
    generation: int = 0
    owner: str | None = None
    record: JobRecord | None = None
    open: Ask | None = None  # the unfinished run
    stored: bool = False
    forgotten: bool = False


@dataclass(slots=True)
class SlotRow:
    job: str
    due: float
    attempt: int
    last: float
    count: int
    state: str
    reason: str | None = None
    trigger: str | None = None
    run_id: str | None = None
    started: float | None = None
    finished: float | None = None
    lateness: float | None = None
    duration: float | None = None
    outcome: str | None = None
    status: int | None = None
    detail: str = ""
    reported: str | None = None
    lookup_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    armed: int | None = None
    tries: int | None = None

    @property
    def key(self) -> Key:
        return self.job, self.due, self.attempt


class Books:
    """`taken`: the state of each slot that the entries name and that has a row. `newest`: the latest row of each job
    with skipped slots. `jobs`: the row of each job that the entries name, or of all jobs if they include an Enrolled.
    `owner`: the session that owns the enrolled jobs."""

    def __init__(
        self, owner: str, jobs: dict[str, JobRow], taken: Mapping[Key, str], newest: Mapping[str, SlotRow]
    ) -> None:
        self._owner = owner
        self.jobs = jobs
        self._taken = dict(taken)
        self._newest = dict(newest)
        self._changed: set[str] = set()
        self.new: dict[Key, SlotRow] = {}
        self.continued: dict[Key, SlotRow] = {}
        self.acted: list[Acted] = []

    @property
    def changed(self) -> Iterable[tuple[str, JobRow]]:
        return ((name, self.jobs[name]) for name in sorted(self._changed))

    def apply(self, body: Body, *, new: bool) -> Grant | Deny | JobHistory | None:
        match body:
            case Ask():
                return self._ask(body, new=new)
            case Enroll():
                return JobHistory(body.job, self._enroll(body))
            case _ if not new:
                return None
            case Finished():
                self.finish(body)
            case Skipped():
                self._skip(body)
            case Release():
                self.release(body)
            case Pause():
                self._follow(body)
            case Acted():
                self.acted.append(body)
            case Enrolled(generation=generation):
                self._forget_others(generation)
            case _:
                assert_never(body)
        return None

    # ---- slots

    def _ask(self, ask: Ask, *, new: bool) -> Grant | Deny:
        """Grant or deny a slot. An entry that was applied before is only answered: its slot may be free again."""
        job, key = self._job(ask.job), _key(ask)
        mine = job.open is not None and _key(job.open) == key
        if new and not mine and key not in self._taken:
            if job.open:  # its end was dropped, because the parent's outbox was full
                run = job.open
                self.finish(lost(run, NEVER_ENDED, ask.due))
            job.open, job.forgotten = ask, False
            self._touch(ask.job)
            self._follow(ask)
        elif not (mine and job.open and job.open.owner == ask.owner):
            state = "started" if mine else self._taken.get(key, "released")
            return Deny(ask.job, ask.due, ask.attempt, f"the slot is already {state}")
        return Grant(ask.job, ask.due, ask.attempt)

    def release(self, body: Release) -> None:
        run = self._job(body.job).open
        if run and (_key(run), run.owner) == ((body.job, body.due, body.attempt), body.owner):
            self._close(body.job)
            self._follow(body)

    def finish(self, run: Finished) -> None:
        self._end(_key(run))
        self._insert(
            SlotRow(
                job=run.job,
                due=run.due,
                attempt=run.attempt,
                last=run.due,
                count=1,
                state="finished",
                trigger=run.trigger,
                run_id=run.run_id,
                started=run.started,
                finished=run.finished,
                lateness=run.lateness,
                duration=run.duration,
                outcome=run.outcome,
                status=run.status,
                detail=storable(run.detail),
                reported=encode(run.reported).decode() if run.reported else None,
                **columns(run),
            )
        )
        self._follow(run)

    def _skip(self, body: Skipped) -> None:
        state, detail = "missed" if body.reason == "missed" else "skipped", storable(body.detail)
        run = self._job(body.job).open
        if run and run.due == body.first:  # the job asked for this slot, but did not call
            self._close(body.job)
            self._insert(
                SlotRow(
                    body.job,
                    run.due,
                    run.attempt,
                    run.due,
                    1,
                    state,
                    body.reason,
                    run.trigger,
                    run.run_id,
                    detail=detail,
                )
            )
        elif not self._continue(body, state, detail, run):
            row = SlotRow(body.job, body.first, 0, body.last, body.count, state, body.reason, detail=detail)
            self._insert(row)
        self._follow(body)

    def _continue(self, body: Skipped, state: str, detail: str, run: Ask | None) -> bool:
        """Extend the row before, if it has the same state, reason and detail. Returns whether it did."""
        before = self._newest.get(body.job)
        if before is None or (run and run.due >= before.due):
            return False
        if before.last >= body.first or (before.state, before.reason, before.detail) != (state, body.reason, detail):
            return False
        before.last, before.count = body.last, before.count + body.count
        if before.key not in self.new:
            self.continued[before.key] = before
        return True

    def _insert(self, row: SlotRow) -> None:
        """Add a row, unless the slot has one."""
        if row.key in self._taken:
            return
        self._taken[row.key] = row.state
        self.new[row.key] = row
        newest = self._newest.get(row.job)
        if newest is None or (row.due, row.attempt) > (newest.due, newest.attempt):
            self._newest[row.job] = row

    # ---- jobs

    def _job(self, name: str) -> JobRow:
        return self.jobs.setdefault(name, JobRow())

    def _touch(self, name: str) -> None:
        self._changed.add(name)

    def _end(self, key: Key) -> None:
        run = self._job(key[0]).open
        if run and _key(run) == key:
            self._close(key[0])

    def _close(self, name: str) -> None:
        job = self.jobs[name]
        job.open, job.forgotten = None, job.schedule is None
        self._touch(name)

    def _follow(self, event: Ask | Finished | Skipped | Release | Pause) -> None:
        """Apply an event to the job's record, if the job is enrolled."""
        job = self._job(event.job)
        if job.record:
            after = records.after(job.record, event)
            if after is not job.record:
                job.record = after
                self._touch(event.job)

    def _enroll(self, body: Enroll) -> JobRecord:
        job = self._job(body.job)
        kept = job.record is not None and same(job.schedule or "", body.schedule)
        record = records.enrolled(job.record, body.now, same_schedule=kept)
        after = body.schedule, body.generation, self._owner, record
        if (job.schedule, job.generation, job.owner, job.record) != after or job.forgotten:
            job.schedule, job.generation, job.owner, job.record = after
            job.forgotten = False
            self._touch(body.job)
        return record

    def _forget_others(self, generation: int) -> None:
        """Forget the jobs that this generation did not name. The row of an unfinished run stays until the run ends."""
        for name, job in self.jobs.items():
            if job.schedule is not None and job.generation != generation:
                job.schedule, job.record, job.forgotten = None, None, job.open is None
                self._touch(name)


def lost(run: Ask, detail: str, now: float) -> Finished:
    return Finished(run.job, run.due, run.run_id, run.trigger, run.attempt, "lost", detail, finished=now)


def storable(text: str) -> str:
    """Replace what PostgreSQL cannot store as text: NUL and lone surrogates."""
    return text.replace("\0", "␀").encode(errors="replace").decode()


def _key(run: Ask | Finished) -> Key:
    return run.job, run.due, run.attempt

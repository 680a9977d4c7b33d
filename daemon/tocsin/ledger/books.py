"""Applies entries to jobs and slots in memory: takes the rows that a transaction has read, and returns those to write.

The rules are those of the SQLite store, but a thousand entries need only a few SQL statements. `tocsin.ipc.record`
decides what a result means for a job.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import assert_never, cast

from msgspec.json import encode

from tocsin.ipc import record as records
from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import Leave, Roster, Yield
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, Enrolled, JobHistory
from tocsin.ipc.types import NotRunReason, Trigger
from tocsin.ledger.rows import JobRow, Key, SlotRow, Taken, lost, storable
from tocsin.ledger.slot_rows import SlotRows
from tocsin.ledger.times import columns
from tocsin.schedule import same
from tocsin.timestamps import rfc3339

NEVER_ENDED = (
    "another run of the job was asked for before its end was reported; whether the app did the work is unknown"
)

MOVED = "the job was moving to another node"
NOT_CALLED = "its node was given up by the others before it could call"


class Books:
    """`jobs` has the row of every job that the entries name, and of those in `unnamed`: jobs that no node's job file
    has, as far as the rosters tell. `taken` and `newest` are what `SlotRows` needs of these jobs. `owner` is this
    session and its epoch, which will own the jobs that are enrolled."""

    def __init__(
        self,
        owner: str,
        jobs: dict[str, JobRow],
        taken: Mapping[Key, Taken],
        newest: Mapping[str, SlotRow],
        unnamed: Collection[str] = (),
    ) -> None:
        self._owner = owner
        self._session = owner.rpartition(":")[0]
        self.jobs = jobs
        self.slots = SlotRows(taken, newest)
        self._unnamed = unnamed
        self._changed: set[str] = set()
        self.acted: list[Acted] = []
        self.wanted: dict[str, Enroll] = {}  # claims of jobs that another session still owns
        self.unwanted: set[str] = set()  # jobs that are no longer claimed

    @property
    def changed(self) -> Iterable[tuple[str, JobRow]]:
        return ((name, self.jobs[name]) for name in sorted(self._changed))

    def apply(self, body: Body, *, new: bool, late: bool = False) -> Grant | Deny | JobHistory | None:
        """`new`: it was not committed before. `late`: it is from before this node was given up."""
        match body:
            case Ask():
                return self._ask(body, new=new, late=late)
            case Enroll():
                return None if late else self.enroll(body)
            case _ if not new:
                return None
            case Finished():
                self.finish(body)
            case Skipped():
                self._skip(body, late=late)
            case Release():
                self.release(body)
            case Pause():
                self._follow(body)
            case Acted():
                self.acted.append(body)
            case Enrolled(generation=generation):
                self._forget_others(generation)
            case Yield(job=job):
                self._yield(job, late=late)
            case Roster() | Leave():
                pass  # these are about the node, not about a job
            case _:
                assert_never(body)
        return None

    # ---- slots

    def _ask(self, ask: Ask, *, new: bool, late: bool) -> Grant | Deny:
        """An Ask that was committed before is only answered again, because its slot may have been released since."""
        job, key = self._job(ask.job), _key(ask)
        mine = job.open is not None and _key(job.open) == key
        scheduled = ask.trigger != "manual"

        def denied(why: str, reason: NotRunReason | None = None) -> Deny:
            return Deny(ask.job, ask.due, ask.attempt, why, reason)

        if late:
            return denied("the other nodes gave this one up")
        if scheduled and not self._may_own(job):
            return denied("the job moved to another node")
        if scheduled and new and not (ask.attempt or ask.retry) and _is_paused(job, ask.due):
            return denied("", "paused")  # perhaps through another node, and the asker does not know yet
        if new and not mine and key not in self.slots.taken and not ask.retry:
            if job.open and not job.open.owner.startswith(f"{self._session}/"):
                why = f"the run due at {rfc3339(job.open.due)} is running, or about to, on another node"
                return denied(why, "overlap" if scheduled else None)
            if job.open:  # its end found no room in the parent's outbox
                self.finish(lost(job.open, NEVER_ENDED, ask.due))
            job.open, job.forgotten = ask, False
            self._touch(ask.job)
            self._follow(ask)
        elif not (mine and job.open and job.open.owner == ask.owner):
            return denied(f"the slot is already {self._state(key, mine=mine)}")
        return Grant(ask.job, ask.due, ask.attempt)

    def _state(self, key: Key, *, mine: bool) -> str:
        if mine:
            return "started"
        return self.slots.taken[key].state if key in self.slots.taken else "released"

    def _may_own(self, job: JobRow) -> bool:
        """Whether no other session owns the job."""
        return job.owner in (None, self._owner)

    def release(self, body: Release) -> None:
        key = body.job, body.due, body.attempt
        run = self._job(body.job).open
        if run and (_key(run), run.owner) == (key, body.owner):
            self._close(body.job)
            self._follow(body)
        elif self.slots.is_lost(key):  # this node was given up meanwhile
            self.slots.replace(SlotRow(*key, body.due, 1, "missed", "missed", detail=NOT_CALLED))

    def finish(self, run: Finished) -> None:
        self._end(_key(run))
        row = SlotRow(
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
        if run.outcome != "lost" and self.slots.is_lost(row.key) and self.slots.taken[row.key].run_id == run.run_id:
            self.slots.replace(row)  # the late report of a node that was given up
            known = self._job(run.job).record
            if known and known.last_run and known.last_run > run.finished:
                return  # the job has run since
        else:
            self.slots.insert(row)
        self._follow(run)

    def _skip(self, body: Skipped, *, late: bool) -> None:
        state, detail = "missed" if body.reason == "missed" else "skipped", storable(body.detail)
        job = self._job(body.job)
        run = job.open
        first = body.job, body.first, 0
        if body.count == 1 and self.slots.is_lost(first) and not (run and run.due == body.first):
            self.slots.replace(SlotRow(*first, body.last, 1, state, body.reason, body.trigger, detail=detail))
            return  # this node was given up meanwhile
        if late or (body.trigger != "manual" and not self._may_own(job)):
            return  # the job's present owner reports these slots
        if run and run.due == body.first:  # it was granted, but not called
            self._close(body.job)
            self.slots.insert(
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
        elif not self.slots.extend(body, state, detail, run):
            row = SlotRow(body.job, body.first, 0, body.last, body.count, state, body.reason, detail=detail)
            self.slots.insert(row)
        self._follow(body)

    # ---- jobs

    def made(self, names: Iterable[str]) -> None:
        """These jobs have new rows, which are deleted again unless an entry changes them."""
        for name in names:
            self.jobs[name].forgotten = True
            self._touch(name)

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

    def enroll(self, body: Enroll) -> JobHistory | None:
        """Return the job's record, or None if another session owns the job; then it is claimed later."""
        job = self._job(body.job)
        if not self._may_own(job):
            self.wanted[body.job] = body
            return None
        kept = job.record is not None and same(job.schedule or "", body.schedule)
        record = records.enrolled(job.record, body.now, same_schedule=kept)
        why, again = job.why, self._again(body.job)
        after = body.schedule, body.generation, self._owner, record, None
        if (job.schedule, job.generation, job.owner, job.record, job.why) != after or job.forgotten:
            job.schedule, job.generation, job.owner, job.record, job.why = after
            job.forgotten = False
            self._touch(body.job)
        return JobHistory(body.job, record, why, again if why else None)

    def _again(self, name: str) -> Ask | None:
        """Return an Ask to deliver the job's last run again, if that run was lost."""
        newest = self.slots.newest.get(name)
        if newest is None or newest.outcome != "lost" or newest.trigger == "manual" or not newest.run_id:
            return None
        trigger = cast(Trigger, newest.trigger or "schedule")
        return Ask(name, newest.due, newest.run_id, trigger, newest.attempt + 1)

    def _yield(self, name: str, *, late: bool) -> None:
        self.unwanted.add(name)
        self.wanted.pop(name, None)
        job = self._job(name)
        if job.owner == self._owner and not late:
            job.owner, job.why = None, MOVED
            self._touch(name)

    def disown(self, name: str, why: str) -> None:
        """The session that owns the job has ended."""
        job = self.jobs[name]
        job.owner, job.why = None, why
        self._touch(name)

    def _forget_others(self, generation: int) -> None:
        """Forget the jobs that are neither in this generation nor in the job file of another node. A job with an
        unfinished run keeps its row until the run ends."""
        for name in self._unnamed:
            job = self.jobs[name]
            if job.schedule is not None and job.generation != generation:
                job.schedule, job.record, job.owner, job.forgotten = None, None, None, job.open is None
                self._touch(name)


def _key(run: Ask | Finished) -> Key:
    return run.job, run.due, run.attempt


def _is_paused(job: JobRow, due: float) -> bool:
    began, ends = job.record.pause if job.record else (0.0, 0.0)
    return began <= due < ends

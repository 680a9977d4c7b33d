"""The life of one child as pure functions: (state, event) -> (new state, actions).

States of the process: `waiting` (not started yet), `up`, `stopping` (told to stop), `backing_off` (died, will be
started again), `stopped` (ended, not restarted). A child of a job may also hold a slot: asked for, then granted.
Invariant: every grant ends in exactly one Finished or Skipped, whichever process dies, and whenever.

`now` is always monotonic seconds. `wake` is the moment at which `timer` must be called.
"""

import signal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tocsin.ipc.exporter import ProcessExited
from tocsin.ipc.job import CANCEL, Ask, Deny, Finished, Grant, Release, Skipped, Stop
from tocsin.ipc.types import ExitReason, Outcome

BACKOFF = (0.1, 60.0)  # seconds, first and longest: a child that dies at once must not use up a core
BACKOFF_FACTOR = 4.0
STEADY = 60.0  # seconds: after so long in `up`, earlier deaths no longer count
KILL_GRACE = 5.0  # seconds after its deadline that a call has to end by itself
CANCEL_GRACE = 2.0  # seconds between CANCEL and SIGKILL: time to report a cancelled run

State = Literal["waiting", "up", "stopping", "backing_off", "stopped"]


class Slot(Struct, frozen=True):
    ask: Ask
    granted: bool = False
    calls: float = 0.0  # monotonic: no call is sent before this moment, nor before the wall clock shows `ask.due`
    asks_again: bool = False  # the request was sent, and the job wants to send it again


class Child(Struct, frozen=True):
    """`process` is `job`, `ledger`, `exporter` or `notifier`. `job` is the job's name, or empty.

    Each run replaces it three times. It is a Struct because that takes a tenth of the time of a frozen dataclass.
    """

    process: str
    job: str = ""
    state: State = "waiting"
    slot: Slot | None = None
    failures: int = 0
    started: float = 0.0
    wake: float | None = None
    over: float | None = None  # monotonic: when its call must be over at the latest
    overdue: bool = False  # its call passed the deadline, so it was killed
    signalled: int = 0  # the strongest signal sent since it was told to stop
    once: bool = False  # it is for one run, and not started again


class Fork(Struct, frozen=True):
    """Start the process."""


class Send(Struct, frozen=True):
    """Send a message to the child."""

    message: Grant | Deny | Stop


class Kill(Struct, frozen=True):
    """Send a signal to the child."""

    signal: int


class Record(Struct, frozen=True):
    """Record an event in the ledger, and tell the exporter and the log."""

    body: Ask | Finished | Skipped | Release


class Tell(Struct, frozen=True):
    """Tell the exporter and the log of an event."""

    event: ProcessExited


class Gone(Struct, frozen=True):
    """The child has stopped and is not restarted."""


Action = Fork | Send | Kill | Record | Tell | Gone
Step = tuple[Child, list[Action]]


class ExitStatus(Struct, frozen=True):
    """How a process ended: its exit code, or the signal that killed it."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {signal.Signals(self.signal).name}"
        return f"exit code {self.code}"


def start(child: Child, now: float) -> Step:
    """It is this child's turn to be forked."""
    if child.state not in ("waiting", "backing_off"):
        return child, []
    return replace(child, state="up", started=now, wake=None, overdue=False, signalled=0), [Fork()]


def asked(child: Child, ask: Ask) -> Step:
    """The job wants to run a slot, or asks again because its grant has ended."""
    slot = child.slot
    again = slot is not None and slot.granted and slot.ask.run_id == ask.run_id and slot.ask.attempt == ask.attempt
    if ask.retry if slot is None else not again:  # the process is out of step with the parent
        return child, [Kill(signal.SIGKILL)]
    if slot and ask.retry:
        return replace(child, slot=replace(slot, asks_again=True)), [Record(ask)]
    return replace(child, slot=Slot(ask), over=None), [Record(ask)]


def answered(child: Child, answer: Grant | Deny, now: float, wait: float, longest: float) -> Step:
    """The ledger has answered. The call begins in `wait` seconds and must be over `longest` seconds later.

    An answer for a slot that the job no longer asks for changes nothing: a Release or Skipped has been sent already.
    """
    slot = child.slot
    if slot is None or (slot.ask.due, slot.ask.attempt) != (answer.due, answer.attempt):
        return child, []
    if slot.asks_again:
        return replace(child, slot=replace(slot, asks_again=False)), [Send(answer)]
    if slot.granted:
        return child, []
    if isinstance(answer, Deny):
        return replace(child, slot=None), [Send(answer)]
    over = now + wait + longest + KILL_GRACE
    wake = over if child.wake is None else min(over, child.wake)
    return replace(child, slot=Slot(slot.ask, True, now + wait), over=over, wake=wake), [Send(answer)]


def finished(child: Child, run: Finished) -> Step:
    """The job reports the end of a run."""
    if child.slot is None or not child.slot.granted or child.slot.ask.run_id != run.run_id:
        return child, [Kill(signal.SIGKILL)]
    return _free(child), [Record(run)]


def skipped(child: Child, passed: Skipped) -> Step:
    """The job skipped slots, perhaps the one it had asked for."""
    if child.slot and passed.first <= child.slot.ask.due <= passed.last:
        child = _free(child)
    return child, [Record(passed)]


def released(child: Child, release: Release) -> Step:
    """The job hands back the slot it had asked for, because it was told to stop before the call."""
    slot = child.slot
    if slot is None or (slot.ask.due, slot.ask.attempt) != (release.due, release.attempt):
        return child, [Kill(signal.SIGKILL)]
    return _free(child), [Record(Release(slot.ask.job, slot.ask.due, slot.ask.attempt, slot.ask.owner))]


def _free(child: Child) -> Child:
    return replace(child, slot=None, over=None, wake=child.wake if child.state == "stopping" else None)


def exited(child: Child, status: ExitStatus, now: float, wall: float) -> Step:
    """The process has exited. `wall` is Unix time."""
    actions: list[Action] = []
    if child.slot and child.slot.granted and (wall >= child.slot.ask.due or now >= child.slot.calls):
        actions.append(Record(_cut_off(child, child.slot.ask, status, wall)))
    elif child.slot:  # no call is sent before its grant, nor before its instant
        actions.append(Record(_not_called(child.slot.ask, status)))
    actions.append(Tell(ProcessExited(child.process, child.job, _reason(child, status), str(status))))
    if child.state in ("stopping", "stopped") or child.once:
        return replace(child, state="stopped", slot=None, over=None, wake=None), [*actions, Gone()]
    failures = 0 if now - child.started >= STEADY else child.failures
    first, longest = BACKOFF
    wake = now + min(longest, first * BACKOFF_FACTOR ** min(failures, 10))
    return replace(child, state="backing_off", slot=None, over=None, failures=failures + 1, wake=wake), actions


def _cut_off(child: Child, ask: Ask, status: ExitStatus, wall: float) -> Finished:
    """How the run of a child ended that died between grant and report."""
    outcome: Outcome
    if child.overdue:
        outcome, why = "timeout", "the call could not be interrupted at its deadline; its process was killed"
    elif child.state == "stopping" and child.signalled:
        outcome, why = "cancelled", "the daemon stopped before the reply came"
    else:
        outcome, why = "lost", f"its process died ({status}); whether the app did the work is unknown"
    return Finished(ask.job, ask.due, ask.run_id, ask.trigger, ask.attempt, outcome, why, finished=wall)


def _not_called(ask: Ask, status: ExitStatus) -> Release | Skipped:
    """What becomes of the slot of a child that died before the call: the next child may have it, but a manual run is
    missed."""
    if ask.trigger != "manual":
        return Release(ask.job, ask.due, ask.attempt, ask.owner)
    detail = f"its process died before the call ({status})"
    return Skipped(ask.job, ask.due, ask.due, 1, "missed", detail, "manual", ask.due)


def _reason(child: Child, status: ExitStatus) -> ExitReason:
    if child.overdue:
        return "deadline"
    if child.state == "stopping" or status.code == 0:
        return "clean"
    return "signal" if status.signal is not None else "error"


def timer(child: Child, now: float) -> Step:
    """The moment `wake` has come."""
    child = replace(child, wake=None)
    if child.over is not None and now >= child.over:
        return replace(child, overdue=True), [Kill(signal.SIGKILL)]
    match child.state:
        case "backing_off":
            return start(child, now)
        case "stopping":
            return hurry(child, now)
    return child, []


def stop(child: Child, now: float, drain: float | None) -> Step:
    """End the child. A running call may finish within `drain` seconds, or within its own deadline if that is None."""
    match child.state:
        case "waiting" | "backing_off":
            return replace(child, state="stopped", wake=None), [Gone()]
        case "up":
            ends = [moment for moment in (child.wake, None if drain is None else now + drain) if moment is not None]
            return replace(child, state="stopping", wake=min(ends, default=None)), [Send(Stop())]
        case "stopping" if drain is not None and (child.wake is None or now + drain < child.wake):
            return replace(child, wake=now + drain), []
    return child, []


def hurry(child: Child, now: float) -> Step:
    """The drain time is over: send CANCEL, and SIGKILL if that did not end the child."""
    if child.state != "stopping":
        return child, []
    if not child.signalled:
        return replace(child, signalled=CANCEL, wake=now + CANCEL_GRACE), [Kill(CANCEL)]
    if child.signalled == CANCEL:
        return replace(child, signalled=signal.SIGKILL, wake=None), [Kill(signal.SIGKILL)]
    return child, []

"""The health of a job and of the daemon: one word for each, and the reason.

The status pages, readiness, `tocsin jobs`, `tocsin doctor` and the metrics all use this module, so that they agree.
docs/health.md is the documentation. Everything but `answered` is pure: the time, the state of a process and what is
known of the daemon are arguments.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from tocsin.ipc import status as statuses
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, JobStatus, LedgerState, NotifierState
from tocsin.ipc.fates import FATES
from tocsin.ipc.types import Message
from tocsin.linux import process_state
from tocsin.schedule.expected import Expected
from tocsin.timestamps import rfc3339
from tocsin.units import duration

Health = Literal[
    "stalled", "overdue", "failing", "slow", "missing", "paused", "running", "well", "new", "elsewhere", "disabled"
]
HEALTHS: tuple[Health, ...] = get_args(Health)  # worst first
MEASURED = tuple(health for health in HEALTHS if health not in ("elsewhere", "disabled"))  # those that have series

# Seconds that a fire may be overdue, or a new process silent. A job wakes within milliseconds, but an overloaded
# machine or a commit on a slow disk may take seconds.
TOLERANCE = 10.0
SLOW = 5.0  # times the usual duration that a run may take
SLOW_FROM = 10.0  # seconds: a shorter run is never slow


class Look(NamedTuple):
    """How a word is shown: `sign` comes before it, `colour` is for terminals, `meaning` explains it."""

    sign: str
    colour: Literal["red", "yellow", "green", "cyan", "white"]
    meaning: str
    is_trouble: bool = False


LOOKS: dict[Health, Look] = {
    "stalled": Look("!", "red", "it cannot be called: its process or the daemon is stuck", is_trouble=True),
    "overdue": Look("◆", "red", "no run has succeeded by its success deadline", is_trouble=True),
    "failing": Look("✕", "red", "its last runs failed, and none has succeeded since", is_trouble=True),
    "slow": Look("◔", "yellow", "its run takes much longer than usual", is_trouble=True),
    "missing": Look("◌", "yellow", "its last slots did not run", is_trouble=True),
    "paused": Look("‖", "yellow", "its slots are skipped until it is resumed"),
    "running": Look("▸", "cyan", "a run is in progress"),
    "well": Look("●", "green", "its last run was a success"),
    "new": Look("○", "white", "it has not run yet"),
    "elsewhere": Look("·", "white", "another node runs it"),
    "disabled": Look("–", "white", "it is disabled in the job file"),
}

_STANDS_STILL = {  # by the state letter of proc(5)
    "T": "is stopped (SIGSTOP)",
    "t": "is stopped by a debugger",
    "Z": "has exited, but the daemon has not noticed",
}
_NO_PROCESS = {
    "starting": "its process is being started",
    "backing off": "its process ended, and is started again in a moment",
    "stopped": "its process has ended, as it was told to",
}


class Judged(NamedTuple):
    """`why` is one sentence without a full stop, or empty."""

    health: Health
    why: str = ""


# ---- the daemon


class Trouble(NamedTuple):
    """A trouble of the daemon. `words` is a headline, `why` the details. `holds`: meanwhile no job is called."""

    what: Literal["silent", "stopping", "ledger", "job file", "exporter", "notifier"]
    words: str
    why: str = ""
    holds: bool = True

    def __str__(self) -> str:
        return self.words[0].lower() + self.words[1:] + (f": {self.why}" if self.why else "")


class Known(NamedTuple):
    """What is known of the daemon. `silence` and `behind` are seconds since its last message and its last heartbeat."""

    config: ConfigLoaded | None = None
    ledger: LedgerState | None = None
    stops: DaemonStops | None = None
    silence: float = 0.0
    behind: float = 0.0
    notifier: NotifierState | None = None


SILENCE = 15.0  # seconds without a sign of life, which comes every 5 seconds, before the daemon counts as dead


def troubles(known: Known) -> list[Trouble]:
    """Return what is wrong with the daemon, worst first."""
    return list(_troubles(known))


def _troubles(known: Known) -> Iterator[Trouble]:
    if known.silence > SILENCE:
        yield Trouble("silent", "The daemon is silent", f"nothing heard of the parent for {known.silence:.0f} s")
    if known.stops is not None:
        yield Trouble("stopping", "The daemon is stopping", f"since {_at(known.stops.now)}")
    if known.config is None:
        yield Trouble("job file", "The job file is not loaded")
    if known.ledger is None:
        yield Trouble("ledger", "The ledger has not answered yet")
    elif not known.ledger.up:
        yield Trouble("ledger", "The ledger does not commit", known.ledger.detail or "")
    if known.config is not None and known.config.error is not None:
        yield Trouble("job file", "The job file was refused", known.config.error, holds=False)
    if known.behind > SILENCE and known.silence <= SILENCE:
        why = f"what it shows is {known.behind:.0f} s old"
        yield Trouble("exporter", "The exporter is behind", why, holds=False)
    if known.notifier is not None and known.notifier.detail:
        yield Trouble("notifier", "Notifications do not get through", known.notifier.detail, holds=False)


def held(found: Iterable[Trouble]) -> str | None:
    """Return why no job can be called, or None."""
    return next((str(one) for one in found if one.holds), None)


_ARE: dict[Health, str] = {
    "stalled": "stalled", "overdue": "overdue", "failing": "failing", "slow": "slow", "missing": "missing slots",
}  # fmt: skip


def headline(found: Sequence[Trouble], counts: Mapping[Health, int]) -> tuple[str, int]:
    """Summarize everything in one sentence, and count the troubles. `counts` has the number of jobs of each health."""
    total = sum(counts.values())
    sick = [health for health in HEALTHS if LOOKS[health].is_trouble and counts.get(health)]
    if found and found[0].holds:
        return found[0].words, len(found)  # the jobs are stalled because of it
    number = sum(counts[health] for health in sick)
    if sick:
        what = _ARE[sick[0]] if len(sick) == 1 else "in trouble"
        jobs = f"{number} of {total} {'job' if total == 1 else 'jobs'} {'is' if number == 1 else 'are'} {what}"
        return jobs, number + len(found)
    if found:
        return found[0].words, len(found)
    return ("All is well" if total else "No jobs yet"), 0


# ---- a job


def pause_in_words(status: JobStatus) -> str:
    """Since when it is paused, until when, by whom and why; "" of a job that is not."""
    if not status.paused:
        return ""
    since = f"since {_at(status.paused_since)} " if status.paused_since else ""
    end = f"until {_at(status.paused_until)}" if status.paused_until is not None else "until it is resumed"
    by = f", by {status.paused_by}" if status.paused_by else ""
    return f"{since}{end}{by}" + (f": {status.paused_why}" if status.paused_why else "")


def judge(status: JobStatus, now: float, deadline: float | None, process: str = "", held: str | None = None) -> Judged:
    """Judge the job at Unix time `now`: the worst that applies. `deadline` is its success deadline, `process` the state
    letter of its process in proc(5) ("" if unknown), and `held` says why no job can be called, if so."""
    if not status.enabled:
        return Judged("disabled")
    if status.state == "elsewhere":
        return Judged("elsewhere", f"node {status.node} runs it" if status.node else "no node owns it")
    if why := _stalled(status, now, process, None if status.paused else held):
        return Judged("stalled", why)
    if deadline is not None and now > deadline and not status.paused:
        return Judged("overdue", _overdue(status, deadline))
    if status.consecutive_failures:
        return Judged("failing", _failures(status))
    if why := _slow(status, now):
        return Judged("slow", why)
    if why := _missing(status):
        return Judged("missing", why)
    if status.paused:
        return Judged("paused", pause_in_words(status))
    if status.state == "running":
        return Judged("running")
    return Judged("new" if status.last_outcome is None else "well")


def _stalled(status: JobStatus, now: float, process: str, held: str | None) -> str | None:
    if held:
        return held
    if status.pid is None:
        return _NO_PROCESS.get(status.state, "it has no process")
    if why := stands_still(status.pid, process):
        return f"its process {why}"
    began, due = status.process_started, status.next_fire
    if status.state == "starting" and began is not None and now > began + TOLERANCE:
        return f"its process {status.pid} was started at {_at(began)} but has not reported yet"
    if status.state == "sleeping" and due is not None and now > due + TOLERANCE:
        return f"it was due at {_at(due)}, and its process {status.pid} has not called"
    return None


def stands_still(pid: int, process: str) -> str | None:
    """Describe a process in this state, for example "12 is stopped (SIGSTOP)". None if it can run."""
    return f"{pid} {_STANDS_STILL[process]}" if process in _STANDS_STILL else None


def _overdue(status: JobStatus, deadline: float) -> str:
    since = f"no success since {_at(status.last_success)}" if status.last_success else "it has never succeeded"
    failed = f"; {_failures(status)}" if status.consecutive_failures else ""
    return f"{since}; the deadline was {_at(deadline)}{failed}"


def _failures(status: JobStatus) -> str:
    many = status.consecutive_failures
    last = FATES[status.last_outcome].words if status.last_outcome else "not known"
    failed = f"{many} runs in a row failed, the last: " if many > 1 else "its last run failed: "
    return failed + last + (f": {status.last_detail}" if status.last_detail else "")


def _slow(status: JobStatus, now: float) -> str | None:
    since, usual = status.running_since, status.usual_duration
    if status.state != "running" or since is None or usual is None or now - since <= max(SLOW * usual, SLOW_FROM):
        return None
    return f"its run has been going on since {_at(since)}; usually one takes {duration(usual)}"


def _missing(status: JobStatus) -> str | None:
    if status.missing:
        return f"{status.missing} {'slot' if status.missing == 1 else 'slots'} did not run since its last run"
    return "its last run was cut off when the daemon stopped" if status.last_outcome == "cancelled" else None


def _at(seconds: float) -> str:
    return rfc3339(int(seconds))


# ---- for commands that ask the daemon


class Answered(NamedTuple):
    """The daemon's answers on its control socket, judged."""

    troubles: list[Trouble]
    statuses: list[JobStatus]
    judged: dict[str, Judged]  # by the job's name


def answered(answers: Iterable[Message], now: float) -> Answered:
    """Judge the answers to ListJobs, with the current state of the jobs' processes."""
    known, listed = Known(), []
    for one in answers:
        match one:
            case JobStatus():
                listed.append(one)
            case ConfigLoaded():
                known = known._replace(config=one)
            case LedgerState():
                known = known._replace(ledger=one)
            case DaemonStops():
                known = known._replace(stops=one)
            case NotifierState():
                known = known._replace(notifier=one)
    found = troubles(known)
    why_none = held(found)
    judged = {
        one.name: judge(one, now, Expected().deadline(one), process_state(one.pid) if one.pid else "", why_none)
        for one in listed
    }
    return Answered(found, listed, judged)


def as_json(status: JobStatus, judged: Judged, memory: int | None) -> dict[str, Any]:
    """Return the object of a job in `tocsin jobs --json` and `/api/jobs`. `memory` is its process's private bytes."""
    return {"name": status.name, "health": judged.health, "why": judged.why, "memory": memory} | statuses.as_json(
        status
    )

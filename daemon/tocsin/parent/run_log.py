"""Writes the log lines of runs, of slots that did not run, and of processes."""

import logging

from tocsin import log
from tocsin.ipc.actions import Acted
from tocsin.ipc.exporter import ProcessExited, ProcessUp
from tocsin.ipc.fates import FATES, Fate
from tocsin.ipc.job import Finished, Pause, Skipped
from tocsin.ipc.types import Verb
from tocsin.timestamps import rfc3339


def finished(run: Finished) -> None:
    """Log one line for the run, with everything that identifies and explains it."""
    fields: dict[str, object] = {
        "status": run.status,
        "detail": run.detail or None,
        "duration": _rounded(run.duration),
        "lateness": _rounded(run.lateness),
        "trigger": run.trigger,
        "attempts": run.retries + 1 if run.retries else None,
        "run_id": run.run_id,
    }
    taken = {*fields, *log.OWN_KEYS}  # a total may have any name
    fields |= {f"reported_{name}" if name in taken else name: number for name, number in run.reported.items()}
    data = _slot(
        run.job,
        run.outcome,
        due=rfc3339(run.due, milliseconds=True),
        detail=run.detail,
        status=run.status,
        run_id=run.run_id,
        lateness=_rounded(run.lateness),
        duration=_rounded(run.duration),
        attempt=run.attempt,
        tries=run.retries + 1,
        trigger=run.trigger,
        reported=run.reported,
    )
    log.log(FATES[run.outcome].level, f"{run.job}: {run.outcome}", data, **fields)
    for name, why in run.reported_errors.items():
        reason = why.replace("_", " ")
        no_number: dict[str, object] = {"job": run.job, "run_id": run.run_id, "field": name, "why": reason}
        words = f"{run.job}: no number for {name} in the reply"
        log.log(logging.WARNING, words, no_number, why=reason, run_id=run.run_id)


def skipped(passed: Skipped) -> None:
    look = FATES[passed.reason]
    data = _slot(
        passed.job,
        passed.reason,
        due=rfc3339(passed.first, milliseconds=True),
        detail=passed.detail,
        last=rfc3339(passed.last, milliseconds=True),
        count=passed.count,
        trigger=passed.trigger,
    )
    slots = "a slot was" if passed.count == 1 else f"{passed.count} slots were"
    log.log(
        look.level,
        f"{passed.job}: {slots} {look.words}",
        data,
        detail=passed.detail or None,
        first=rfc3339(passed.first),
        last=rfc3339(passed.last) if passed.count > 1 else None,
    )


_DONE: dict[Verb, str] = {"fire": "fired", "pause": "paused", "resume": "resumed", "reload": "reload"}


def acted(one: Acted) -> None:
    """One line for each thing that people did, with who, from where and why."""
    fields: dict[str, object] = {
        "until": rfc3339(one.until) if one.until is not None else None,
        "why": one.why or None,
        "run_id": one.run_id,
    }
    data: dict[str, object] = {"job": one.job or None, "action": one.what, "by": one.by.name, "way": one.by.way}
    data |= {name: value for name, value in (("address", one.by.address), *fields.items()) if value}
    log.log(logging.INFO, f"{one.job}: {_DONE[one.what]}".removeprefix(": "), data, by=str(one.by), **fields)


def paused_elsewhere(event: Pause) -> None:
    """Log on this node what was done on another one. It is no action of this log: each action has one such line."""
    what: Verb = "pause" if event.paused else "resume"
    until = rfc3339(event.until) if event.until is not None else None
    fields: dict[str, object] = {"by": event.by or None, "until": until, "why": event.why or None}
    data = {"job": event.job} | {name: value for name, value in fields.items() if value}
    log.log(logging.INFO, f"{event.job}: {_DONE[what]} on another node", data, **fields)


def up(event: ProcessUp) -> None:
    data: dict[str, object] = {"job": event.job or None, "process": event.process, "pid": event.pid}
    log.log(logging.DEBUG, "process started", data, process=f"{event.process} {event.job}".strip(), pid=event.pid)


def exited(event: ProcessExited) -> None:
    level = logging.DEBUG if event.reason == "clean" else logging.WARNING
    data: dict[str, object] = {"job": event.job or None, "process": event.process, "why": event.detail}
    log.log(level, "process exited", data, process=f"{event.process} {event.job}".strip(), why=event.detail)


_OF_A_SLOT: dict[str, object] = dict.fromkeys(
    (
        *("job", "outcome", "due", "last", "count", "detail", "status", "run_id", "lateness", "duration"),
        *("attempt", "tries", "trigger", "reported"),
    )
)


def _slot(job: str, outcome: Fate, **known: object) -> dict[str, object]:
    """Return the fields of a slot's JSON line. Every line has the same names, with null for a missing value."""
    return _OF_A_SLOT | {"job": job, "outcome": outcome} | known


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)

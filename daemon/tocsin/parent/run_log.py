"""The log lines of what happens: one for each run, and a word for what did not run."""

import logging

from tocsin import log
from tocsin.ipc.exporter import ProcessExited, ProcessUp
from tocsin.ipc.fates import FATES
from tocsin.ipc.job import Finished, Skipped
from tocsin.timestamps import rfc3339


def finished(run: Finished) -> None:
    """One line for each run, with everything that identifies and explains it."""
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
    log.log(FATES[run.outcome].level, f"{run.job}: {run.outcome}", **fields)
    for name, why in run.reported_errors.items():
        log.warning(f"{run.job}: no number for {name} in the reply", why=why.replace("_", " "), run_id=run.run_id)


def skipped(passed: Skipped) -> None:
    look = FATES[passed.reason]
    slots = "a slot was" if passed.count == 1 else f"{passed.count} slots were"
    log.log(
        look.level,
        f"{passed.job}: {slots} {look.words}",
        detail=passed.detail or None,
        first=rfc3339(passed.first),
        last=rfc3339(passed.last) if passed.count > 1 else None,
    )


def up(event: ProcessUp) -> None:
    log.debug("process started", process=f"{event.process} {event.job}".strip(), pid=event.pid)


def exited(event: ProcessExited) -> None:
    level = logging.DEBUG if event.reason == "clean" else logging.WARNING
    log.log(level, "process exited", process=f"{event.process} {event.job}".strip(), why=event.detail)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)

"""Reads the `crons` of a vercel.json. The jobs call them like Vercel.

Sources: vercel.com/docs/cron-jobs and /manage-cron-jobs (read 2026-08), and the schema of `crons` in the Vercel
CLI: path (from "/", at most 512 characters) and schedule, nothing else.
"""

import re
from typing import Any

from tocsin.importing import json_text
from tocsin.importing.found import Found, FoundJob, fault, literal, name_of, number, table_faults
from tocsin.jobfile.faults import ConfigError, Fault, nearest
from tocsin.schedule import Schedule, ScheduleError

USER_AGENT = "vercel-cron/1.0"
LONGEST_PATH = 512  # characters, the limit in Vercel's schema
_FIELD = re.compile(r"[0-9*,/-]+")
_TIMEOUT = 300  # seconds: the default of a job's timeout

_DIFFERS = (
    "caches: these are GET requests; where Next.js prerenders such a handler, or a CDN answers for it, the reply comes "
    'from a cache and the handler never runs: set `export const dynamic = "force-dynamic"` in its route, or let it '
    "take POST and set method",
    "place: Vercel calls the production deployment; Tocsin calls base_url of [target]",
    "lateness: Vercel calls at some time within the minute (on Hobby within the hour), and may skip a run or make it "
    "twice; Tocsin calls at the exact second, at most once, and counts a slot later than grace (60s) as missed",
    "retries: Vercel never tries again; Tocsin does, up to 3 times, when a call was certainly not processed (refused, "
    "not reached, 429, 503); retries = 0 stops that",
    "overlap: Vercel may start a run while the last one is still running; Tocsin skips that slot",
    "duration: Vercel ends a function at its maxDuration; Tocsin waits for timeout (300s), and the app keeps working",
    "failures: Vercel accepts any reply; for Tocsin a status other than 2xx, a redirect, HTML or a reply that says "
    'success = false is a failure (the key "expect")',
)


def read(text: str, source: str) -> Found:
    """Return the jobs of a vercel.json. Raises ConfigError with every fault."""
    document = json_text.parse(text, source)
    if not isinstance(document, dict):
        raise ConfigError([fault(source, "", "", 'is not a vercel.json: it must be an object with "crons"')])
    found = Found(source, send_secret="bearer")
    if "crons" not in document:
        meant = nearest("crons", [key for key in document if key != "functions"])
        found.note("check", "", f'there is no "crons" in it{meant}')
        return found
    crons = document["crons"]
    if not isinstance(crons, list):
        raise ConfigError([fault(source, "", "crons", "must be a list", crons)])
    faults: list[Fault] = []
    for index, entry in enumerate(crons):
        _entry(entry, f"crons[{index}]", found, faults)
    if faults:
        raise ConfigError(faults)
    number(found.jobs)
    if not crons:
        found.note("check", "", '"crons" is empty')
        return found
    found.needs_target = True
    for difference in _DIFFERS:
        found.note("differs", "", difference)
    for name, longest in _durations(document.get("functions")):
        found.note("differs", f"functions[{name}]", f"maxDuration is {longest} s: give its jobs as long a timeout")
    return found


def _entry(entry: Any, place: str, found: Found, faults: list[Fault]) -> None:
    if not isinstance(entry, dict):
        faults.append(fault(found.source, place, "entry", "must be an object with path and schedule", entry))
        return
    for key in entry.keys() - {"path", "schedule"}:
        found.note("left out", place, f"{key[:40]!a}: Vercel has only path and schedule")
    path: Any = entry.get("path")
    schedule: Any = entry.get("schedule")
    wrong = [("path", _path_fault(path)), ("schedule", _schedule_fault(schedule))]
    faults += [fault(found.source, place, key, why, entry.get(key)) for key, why in wrong if why]
    if any(why for _, why in wrong):
        return
    expression = " ".join(schedule.split())
    if "7" in expression.split()[4]:
        found.note("check", place, "7 in day-of-week: Vercel documents 0 to 6; in Tocsin 7 is Sunday")
    found.note_secret(path, place)
    table = {
        "schedule": expression,
        "timezone": "UTC",
        "method": "GET",
        "path": literal(path),
        "send_secret": "bearer",
        "headers": {"user-agent": USER_AGENT, "x-vercel-cron-schedule": expression},
    }
    job = FoundJob(name_of(path), place, table)
    faults += table_faults(found.source, job)
    found.jobs.append(job)


def _path_fault(path: Any) -> str:
    if not isinstance(path, str):
        return 'must be text, for example "/api/cron/sync"'
    if not path.startswith("/") or len(path) > LONGEST_PATH:
        return f'must start with "/" and have at most {LONGEST_PATH} characters'
    if not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        return 'must be percent-encoded, without spaces or "#"'
    return ""


def _schedule_fault(schedule: Any) -> str:
    if not isinstance(schedule, str):
        return 'must be text, for example "0 5 * * *"'
    fields = schedule.split()
    if len(fields) != 5:
        return "must have five fields: minute hour day-of-month month day-of-week"
    if strange := next((one for one in fields if not _FIELD.fullmatch(one)), ""):
        return f"{strange[:20]!a}: Vercel allows only numbers, '*', ',', '-' and '/', and no names, L, W, '#' or '?'"
    if "*" not in (fields[2], fields[4]):
        return "sets day-of-month and day-of-week, which Vercel refuses: one of them must be '*'"
    try:
        Schedule(schedule)
    except ScheduleError as error:
        return str(error)
    return ""


def _durations(functions: Any) -> list[tuple[str, int]]:
    """Return the functions that may run longer than a job's default timeout."""
    found = []
    for name, settings in functions.items() if isinstance(functions, dict) else ():
        longest = settings.get("maxDuration") if isinstance(settings, dict) else None
        if isinstance(longest, int) and longest > _TIMEOUT:
            found.append((name[:80], longest))
    return found

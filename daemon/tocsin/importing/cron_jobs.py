"""Reads a list of jobs of a caller that uses node-cron: {path, schedule, description, enabled, method}.

node-cron's rules: six fields have seconds first, and a day must match both day fields
(github.com/node-cron/node-cron, src/time/time-matcher.ts).
"""

import re
from typing import Any, get_args

from tocsin.importing import json_text
from tocsin.importing.found import Found, FoundJob, fault, literal, name_of, number, table_faults
from tocsin.jobfile.faults import ConfigError, Fault, nearest
from tocsin.jobfile.tables import JobTable
from tocsin.jobfile.values import JOB_NAME
from tocsin.schedule import Schedule, ScheduleError
from tocsin.schedule.elsewhere import rewritten

LISTS = ("jobs", "cronJobs", "cron-jobs")  # keys of the list if the file is an object
METHODS: tuple[str, ...] = get_args(JobTable.model_fields["method"].annotation)
_KEYS = ("name", "path", "url", "schedule", "intervalMs", "description", "enabled", "method", "timezone")
_LONG_NAMES = re.compile(  # node-cron accepts these, Tocsin their first three letters
    r"\b((sun|mon|tues|wednes|thurs|fri|satur)day"
    r"|january|february|march|april|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
_DAY = 86_400_000  # milliseconds

_DIFFERS = (
    "secret: sent as set by send_secret in [target], by default in the header x-cron-secret",
    "retries: Tocsin tries again, up to 3 times, when a call was certainly not processed (refused, not reached, 429, "
    "503); retries = 0 stops that",
    "overlap: node-cron starts a run while the last one is still running; Tocsin skips that slot",
    "failures: a status other than 2xx, a redirect, HTML or a reply that says success = false is a failure "
    '(the key "expect")',
)
_ZONE = (
    "time zone: node-cron used the time zone of its process (in a container mostly UTC); these jobs go by [defaults] "
    "timezone, else UTC"
)
_INTERVAL = "intervalMs: an interval was counted from the start of the process; `every` is counted from midnight UTC"


def read(text: str, source: str) -> Found:
    """Return the jobs of the list. Raises ConfigError with every fault."""
    document = json_text.parse(text, source)
    where = ""
    if isinstance(document, dict):
        where = next((key for key in LISTS if key in document), "")
        document = document.get(where)
    if not isinstance(document, list):
        raise ConfigError([fault(source, where, "", 'must be a list of jobs, or an object with a list "jobs"')])
    found = Found(source)
    faults: list[Fault] = []
    for index, entry in enumerate(document):
        _entry(entry, f"{where}[{index}]", found, faults)
    if faults:
        raise ConfigError(faults)
    number(found.jobs)
    if not found.jobs:
        found.note("check", "", "the list is empty")
        return found
    found.needs_target = any("path" in job.table for job in found.jobs)
    for difference in _DIFFERS:
        found.note("differs", "", difference)
    if any("schedule" in job.table and "timezone" not in job.table for job in found.jobs):
        found.note("differs", "", _ZONE)
    if any("every" in job.table for job in found.jobs):
        found.note("differs", "", _INTERVAL)
    return found


def _entry(entry: Any, place: str, found: Found, faults: list[Fault]) -> None:
    if not isinstance(entry, dict):
        faults.append(fault(found.source, place, "entry", "must be an object with path and schedule", entry))
        return
    before = len(faults)

    def wrong(key: str, why: str) -> None:
        faults.append(fault(found.source, place, key, why, entry.get(key)))

    for key in entry.keys() - set(_KEYS):
        found.note("left out", place, f"{key[:40]!a} is not understood{nearest(key, _KEYS)}")
    table: dict[str, Any] = {}
    for key in ("name", "path", "url", "schedule", "description", "method", "timezone"):
        if key in entry and not isinstance(entry[key], str):
            wrong(key, "must be text")
    if not isinstance(entry.get("enabled", True), bool):
        wrong("enabled", "must be true or false")
    if ("path" in entry) == ("url" in entry):
        wrong("path", 'is missing; set path or url, for example "/api/cron/sla-check"')
    if len(faults) > before:
        return

    table |= _when(entry, wrong)
    if "schedule" in table and table["schedule"].split() != _LONG_NAMES.sub(_three, entry["schedule"]).split():
        found.note("check", place, f"its schedule is written here as '{table['schedule']}'")
    if "path" in entry and not entry["path"].startswith("/"):
        wrong("path", 'must start with "/"')
    method = entry.get("method", "POST").upper()
    if method not in METHODS:
        wrong("method", f"must be one of {', '.join(METHODS)}")
    if "method" not in entry:
        found.note("check", place, 'has no method: it becomes POST; a caller that used fetch\'s default means "GET"')
    if len(faults) > before:
        return
    found.note_secret(entry.get("path") or entry["url"], place)
    table["method"] = method
    table |= {key: literal(entry[key]) for key in ("path", "url", "timezone") if key in entry}
    if description := " ".join(entry.get("description", "").split()):
        table["description"] = literal(description[:400])
    if not entry.get("enabled", True):
        table["enabled"] = False
    name = entry.get("name", "").lower().replace(" ", "-").replace("/", "-")
    if not JOB_NAME.fullmatch(name):
        name = name_of(entry.get("path") or entry["url"].partition("://")[2].partition("/")[2])
    job = FoundJob(name, place, table)
    faults += table_faults(found.source, job)
    found.jobs.append(job)


def _when(entry: dict[str, Any], wrong: Any) -> dict[str, str]:
    """Return schedule or every, whichever the entry has. Reports its faults."""
    if ("schedule" in entry) == ("intervalMs" in entry):
        wrong("schedule", 'is missing; set schedule or intervalMs, for example "* * * * *"')
        return {}
    if "intervalMs" in entry:
        interval = entry["intervalMs"]
        number_like = isinstance(interval, int | float) and not isinstance(interval, bool)
        if not number_like or interval % 1000 or not 1000 <= interval <= 366 * _DAY:
            wrong("intervalMs", "must be whole seconds, from 1000 to a year of milliseconds")
            return {}
        return {"every": f"{int(interval) // 1000}s"}
    schedule, zone = rewritten(_LONG_NAMES.sub(_three, entry["schedule"]))
    if zone and entry.get("timezone", zone) != zone:
        wrong("timezone", f"differs from the zone in the schedule ({zone[:40]!a})")
    fields = schedule.split()
    if len(fields) in (5, 6) and "*" not in (fields[-3], fields[-1]) and "?" not in (fields[-3], fields[-1]):
        wrong("schedule", "node-cron runs it when both day fields match, Tocsin when one does; use for example 'MON#1'")
        return {}
    try:
        Schedule(schedule, zone or "UTC")
    except ScheduleError as error:
        wrong("schedule", str(error))
    return {"schedule": " ".join(fields), **({"timezone": literal(zone)} if zone else {})}


def _three(name: re.Match[str]) -> str:
    return name[0][:3]

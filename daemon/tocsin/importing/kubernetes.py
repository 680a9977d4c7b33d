"""Reads Kubernetes CronJobs whose container calls curl or wget, as `kubectl get cronjobs -o json` prints them.

Source: the API reference of batch/v1, CronJob (kubernetes.io, v1.31). A container that does anything else is listed in
the report.
"""

import re
from typing import Any

from tocsin.importing import json_text
from tocsin.importing.calls import Calls
from tocsin.importing.credentials import Variables, table
from tocsin.importing.found import Found, FoundJob, fault, name_of, number, table_faults
from tocsin.importing.shell import Command, Unclear, mark
from tocsin.jobfile.faults import ConfigError
from tocsin.jobfile.values import JOB_NAME
from tocsin.schedule import Schedule, ScheduleError
from tocsin.schedule.elsewhere import rewritten

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")  # $$(NAME) means the text $(NAME)
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")

_DIFFERS = (
    "place: a container was started for each run; Tocsin calls from where it runs, so the names of services must "
    "resolve there",
    "retries: backoffLimit and restartPolicy do not count; Tocsin tries again, up to 3 times, when a call was "
    "certainly not processed (refused, not reached, 429, 503); retries = 0 stops that",
    "overlap: Tocsin never starts a job that is still running, like concurrencyPolicy Forbid",
    "lateness: a slot that is up to grace (60s) late still runs; before, startingDeadlineSeconds decided that",
    "failures: a status other than 2xx, a redirect, HTML or a reply that says success = false is a failure, where "
    'Kubernetes saw only the exit code of curl (the key "expect")',
)
_ZONE = "time zone: without timeZone the schedule used the time zone of the control plane (mostly UTC); here it is UTC"


def is_cron_job(document: Any) -> bool:
    """Whether a JSON document is a CronJob, or a list with a CronJob in it."""
    return any(_at(one, "kind", kind=str) == "CronJob" for one in _items(document))


def read(text: str, source: str) -> Found:
    """Return the calls of the CronJobs. Raises ConfigError for anything else."""
    document = json_text.parse(text, source)
    if not is_cron_job(document):
        why = 'is not a CronJob: it must be an object with "kind": "CronJob", or a List of them'
        raise ConfigError([fault(source, "", "", why)])
    found = Found(source)
    variables = Variables(found, set(_NAME.findall(text)), of="the container")
    for index, item in enumerate(_items(document)):
        if _at(item, "kind", kind=str) == "CronJob":
            name = _at(item, "metadata", "name", kind=str) or f"items[{index}]"
            _cron_job(item, name[:80], found, variables)
        else:
            found.note("left out", f"items[{index}]", "is not a CronJob")
    number(found.jobs)
    for difference in _DIFFERS if found.jobs else ():
        found.note("differs", "", difference)
    if any("timezone" not in job.table for job in found.jobs):
        found.note("differs", "", _ZONE)
    return found


def _items(document: Any) -> list[Any]:
    if _at(document, "kind", kind=str) in ("List", "CronJobList"):
        return _at(document, "items", kind=list) or []
    return [document]


def _cron_job(item: dict[str, Any], name: str, found: Found, variables: Variables) -> None:
    before = len(found.notes), variables.known.copy(), variables.made.copy(), variables.used.copy()
    try:
        job = _job(item, name, found, variables)
    except Unclear as unclear:
        while len(found.notes) > before[0]:
            found.notes.popitem()
        _, variables.known, variables.made, variables.used = before
        found.note("left out", name, str(unclear))
        return
    variables.known = before[1]
    found.jobs.append(job)


def _job(item: dict[str, Any], name: str, found: Found, variables: Variables) -> FoundJob:
    """Raises Unclear."""
    written = _at(item, "spec", "schedule", kind=str)
    if not written:
        raise Unclear("has no schedule")
    schedule, zone = rewritten(written)
    zone = _at(item, "spec", "timeZone", kind=str) or zone
    try:
        expression = Schedule(schedule, zone or "UTC").expression
    except ScheduleError as error:
        raise Unclear(str(error)) from None
    pod = ("spec", "jobTemplate", "spec", "template", "spec")
    containers = _at(item, *pod, "containers", kind=list) or []
    if len(containers) != 1 or _at(item, *pod, "initContainers", kind=list):
        raise Unclear("runs several containers" if containers else "runs no container")
    _environment(containers[0], name, variables)
    words = [*(_at(containers[0], "command", kind=list) or []), *(_at(containers[0], "args", kind=list) or [])]
    if not all(isinstance(word, str) for word in words):
        raise Unclear("has a command that is not a list of texts")
    if "curl" in str(_at(containers[0], "image", kind=str)).lower() and not _at(containers[0], "command", kind=list):
        words.insert(0, "curl")  # the entry point of curl's images
    command = Command([_REFERENCE.sub(lambda one: mark(one[1]) if one[1] else "$", word) for word in words])
    if any(char in word for word in words for char in "\x01\x02\0"):
        raise Unclear("has control characters in its command")
    if not words:
        raise Unclear("has no command, so it is not known what its image does")
    delay, call = Calls(found, variables).read([command], None, name)
    if delay:
        raise Unclear("sleeps before the call")
    for remark in call.remarks:
        found.note("differs", name, remark)
    job_name = name if JOB_NAME.fullmatch(name) else name_of(name)
    keys: dict[str, Any] = {"schedule": expression, **({"timezone": zone} if zone else {})}
    if _at(item, "spec", "suspend", kind=bool):
        keys["enabled"] = False
    job = FoundJob(job_name, name, {**keys, **table(call, job_name, name, variables)})
    if faults := table_faults(found.source, job):
        raise Unclear(f"{faults[0].key}: {faults[0].why}")
    return job


def _environment(container: Any, name: str, variables: Variables) -> None:
    """Return the values of the container's variables, as far as they are written there."""
    for entry in _at(container, "env", kind=list) or []:
        variable, value = _at(entry, "name", kind=str), _at(entry, "value", kind=str)
        if variable and value is not None and _NAME.fullmatch(variable) and "$(" not in value:
            variables.known[variable] = value, name


def _at(value: Any, *path: str, kind: type) -> Any:
    """Return the value at a place, or None if there is none of that type."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, kind) else None

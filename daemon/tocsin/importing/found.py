"""The results of a reader: the new jobs, and notes for their owner."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

from tocsin.jobfile.faults import REFERENCE, Fault, shown
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import JobTable
from tocsin.redact import looks_random, names_a_secret

LONGEST_NAME = 63  # characters, the limit of JOB_NAME
_COMMON = frozenset({"api", "cron", "crons", "jobs", "tasks"})  # they say nothing at the start of a path
PLACEHOLDER = "https://not-set.invalid/placeholder"  # for an unset variable: valid as secret, URL and part of one

Kind = Literal["differs", "check", "left out", "set"]


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report. `place` is an entry or line of the file, or "" for all of it.

    "differs": it works differently in Tocsin. "check": somebody should check it. "left out": it was not imported.
    "set": this environment variable must be set. No text repeats a secret.
    """

    kind: Kind
    place: str
    text: str


@dataclass(slots=True)
class FoundJob:
    """A table for the job file, and its origin."""

    name: str
    place: str
    table: dict[str, Any]


@dataclass(slots=True)
class Found:
    """`needs_target`: jobs have a path, so the job file needs a target."""

    source: str
    jobs: list[FoundJob] = field(default_factory=list)
    notes: dict[Note, None] = field(default_factory=dict)  # in order, each once
    made: set[str] = field(default_factory=set)  # variables for secrets of this file
    needs_target: bool = False
    send_secret: str = ""  # the value in [target] that suits these jobs

    def note(self, kind: Kind, place: str, text: str) -> None:
        self.notes.setdefault(Note(kind, place, text))

    def note_secret(self, address: str, place: str) -> None:
        """Add a note if the query of an address, which is copied unchanged, seems to hold a secret."""
        query = address.partition("?")[2]
        if looks_secret(query) or any(names_a_secret(name) for name, _ in parse_qsl(query)):
            self.note("check", place, "its query seems to hold a secret, which was copied into the job")


def fault(source: str, place: str, key: str, why: str, value: Any = None) -> Fault:
    """Return a fault of one entry: file, entry, key, value, remedy. Hides query and user of an address."""
    return Fault(f"{source} {place}".strip(), "", key, "" if value is None else shown(value, key), why)


def table_faults(source: str, job: FoundJob) -> list[Fault]:
    """Check a table by the rules of the job file, whatever the values of its variables."""
    unset = {name: PLACEHOLDER for name, default in REFERENCE.findall(json.dumps(job.table)) if not default}
    reader = Reader(Path(source), unset)
    reader.model(JobTable, job.table, f"jobs.{job.name}")
    return [fault_of(one, f"{source} {job.place}".strip()) for one in reader.faults]


def fault_of(one: Fault, file: str) -> Fault:
    """Return the fault for a table that comes from another file than the job file."""
    return replace(one, file=file)


def name_of(path: str) -> str:
    """Name a job after its path: "/api/cron/sla-check?x=1" is sla-check. Never uses what may be a secret."""
    segments = [unquote(part).lower() for part in path.partition("?")[0].split("/") if part and not looks_random(part)]
    while len(segments) > 1 and segments[0] in _COMMON:
        segments.pop(0)
    name = re.sub(r"[^a-z0-9._]+", "-", "-".join(segments)).lstrip("._-")[:LONGEST_NAME].rstrip("._-")
    return name or "job"


def number(jobs: Iterable[FoundJob]) -> None:
    """Number jobs that have the same name, in order: x, x-2, x-3. Unique names do not change."""
    jobs = list(jobs)
    taken = {job.name for job in jobs}
    counts: dict[str, int] = {}
    for job in jobs:
        name = job.name
        if name in counts:
            while job.name in taken:
                counts[name] += 1
                job.name = f"{name[: LONGEST_NAME - len(str(counts[name])) - 1]}-{counts[name]}"
            taken.add(job.name)
        counts.setdefault(name, 1)


def literal(text: str) -> str:
    """Escape a text for the job file, so that no ${reference} in it is filled in."""
    return text.replace("${", "${DOLLAR:-$}{") if REFERENCE.search(text) else text


def looks_secret(value: str) -> bool:
    """Whether a value is probably a secret, whatever its name: a part of it looks random."""
    return looks_random(unquote(value))

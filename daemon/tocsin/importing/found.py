"""What a reader found in another scheduler's file: jobs-to-be, and what their owner should know."""

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

LONGEST_NAME = 63  # characters, as JOB_NAME has it
_COMMON = frozenset({"api", "cron", "crons", "jobs", "tasks"})  # say nothing at the front of a path
PLACEHOLDER = "https://not-set.invalid/placeholder"  # for an unset variable: serves as secret, URL and part of one

Kind = Literal["differs", "check", "left out", "set"]


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report. `place` is an entry or line of the file, or empty for all of it.

    "differs" means something else in Tocsin, "check" wants a look, "left out" was not taken over, "set" names an
    environment variable that must be set. No text repeats a secret.
    """

    kind: Kind
    place: str
    text: str


@dataclass(slots=True)
class FoundJob:
    """A table of the job file, and where it comes from."""

    name: str
    place: str
    table: dict[str, Any]


@dataclass(slots=True)
class Found:
    """`needs_target`: jobs give a path, and the job file must say whose."""

    source: str
    jobs: list[FoundJob] = field(default_factory=list)
    notes: dict[Note, None] = field(default_factory=dict)  # in their order, each once
    made: set[str] = field(default_factory=set)  # variables that stand for secrets of this file
    needs_target: bool = False
    send_secret: str = ""  # what [target] would say to suit these jobs

    def note(self, kind: Kind, place: str, text: str) -> None:
        self.notes.setdefault(Note(kind, place, text))

    def note_secret(self, address: str, place: str) -> None:
        """Of an address that is copied as it stands: say so where its query seems to hold a secret."""
        query = address.partition("?")[2]
        if looks_secret(query) or any(names_a_secret(name) for name, _ in parse_qsl(query)):
            self.note("check", place, "its query seems to hold a secret, which stands in the job as it stood here")


def fault(source: str, place: str, key: str, why: str, value: Any = None) -> Fault:
    """A fault of one entry: file, entry, key, value, and what would be right. Of an address, no query and no user."""
    return Fault(f"{source} {place}".strip(), "", key, "" if value is None else shown(value, key), why)


def table_faults(source: str, job: FoundJob) -> list[Fault]:
    """What is wrong with a table by the rules of the job file, whatever its variables hold."""
    unset = {name: PLACEHOLDER for name, default in REFERENCE.findall(json.dumps(job.table)) if not default}
    reader = Reader(Path(source), unset)
    reader.model(JobTable, job.table, f"jobs.{job.name}")
    return [fault_of(one, f"{source} {job.place}".strip()) for one in reader.faults]


def fault_of(one: Fault, file: str) -> Fault:
    """The fault of a table that stands in another file than the job file."""
    return replace(one, file=file)


def name_of(path: str) -> str:
    """A job's name from the path it calls: "/api/cron/sla-check?x=1" is sla-check. Never what may be a secret."""
    segments = [unquote(part).lower() for part in path.partition("?")[0].split("/") if part and not looks_random(part)]
    while len(segments) > 1 and segments[0] in _COMMON:
        segments.pop(0)
    name = re.sub(r"[^a-z0-9._]+", "-", "-".join(segments)).lstrip("._-")[:LONGEST_NAME].rstrip("._-")
    return name or "job"


def number(jobs: Iterable[FoundJob]) -> None:
    """Give jobs with one name a number each, in their order: x, x-2, x-3. Names that are unique stay."""
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
    """The text as the job file must say it so that no ${reference} in it is filled in."""
    return text.replace("${", "${DOLLAR:-$}{") if REFERENCE.search(text) else text


def looks_secret(value: str) -> bool:
    """Whether a value is likely a secret whatever its name: a part of it looks random."""
    return looks_random(unquote(value))

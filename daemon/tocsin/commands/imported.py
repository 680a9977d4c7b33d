"""The work of `tocsin import`: reads the files, appends to the job file, reports. Only that command loads it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tocsin import config, display
from tocsin.config import dotenv
from tocsin.importing import files, found, writing
from tocsin.importing.found import Found, FoundJob, Kind, Note
from tocsin.jobfile.faults import ConfigError, Fault

_TITLES: dict[Kind, str] = {
    "differs": "Different in Tocsin:",
    "check": "Look at:",
    "left out": "Left out:",
    "set": "To set, in the environment or in the .env beside the job file:",
}
TARGET_VARIABLES = (
    Note("set", "", "API_BASE_URL: to the address of the app, for example https://app.example.com"),
    Note("set", "", "CRON_SECRET: to the secret that the app checks"),
)


def read(sources: Sequence[str], kind: str | None) -> list[Found]:
    """Read all the files. Raises ConfigError with the faults of all."""
    imported: list[Found] = []
    faults: list[Fault] = []
    for source in dict.fromkeys(sources):
        named = "standard input" if source == "-" else source
        try:
            text = files.decoded(sys.stdin.buffer, named) if source == "-" else files.text_of(Path(source), named)
            one = files.READERS[kind or files.kind_of(text, named)](text, named)
            why = "would hold secrets of two files; import one file at a time"
            faults += [
                found.fault(named, "", name, why) for other in imported for name in sorted(one.made & other.made)
            ]
            imported.append(one)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return imported


def write(file: Path, text: str, tables: dict[str, object], new: str, imported: list[Found]) -> None:
    """Append the new tables if the job file is valid with them. Raises ConfigError and OSError, and then changes
    nothing."""
    old = tables.get("jobs")
    taken = [
        found.fault(
            one.source,
            job.place,
            f"[jobs.{job.name}]",
            f"{file.name} already has a job with this name; rename it there, or in {job.place}",
        )
        for one in imported
        for job in one.jobs
        if isinstance(old, dict) and job.name in old
    ]
    used = writing.variables(text)
    why = "is already a variable of {}, and would also be a secret of this file; rename the other one"
    taken += [found.fault(one.source, "", name, why.format(file.name)) for one in imported for name in one.made & used]
    if taken:
        raise ConfigError(taken)
    whole = f"{text.rstrip()}\n\n{new}" if text.strip() else new
    held = {**dotenv.read(file, os.environ).values, **os.environ}
    for one in imported:
        for name in sorted(one.made & held.keys()):
            one.note("check", "", f"{name} is already set: is it the value that is needed below?")
    try:
        stand_ins = writing.stand_ins(whole, held)
    except ValueError as error:  # tables cannot be added to `jobs = {…}`, for example
        why = f"cannot append tables to it: {error}"
        raise ConfigError([Fault(file.name, "", "", "", why)]) from None
    config.parse(whole.encode(), file, {**stand_ins, **os.environ})
    writing.replace(file, whole)


def report(imported: list[Found], extra: Sequence[Note]) -> None:
    for one in imported:
        click.echo(display.printable(f"{one.source}: {len(one.jobs)} job{'s' * (len(one.jobs) != 1)}"), err=True)
        if one.jobs:
            rows = [[job.name, _when(job), job.table["method"], _public(job), job.place] for job in one.jobs]
            click.echo(display.table(["JOB", "SCHEDULE", "METHOD", "CALLS", "FROM"], rows), err=True)
        notes = [*one.notes, *(extra if one is imported[-1] else ())]
        for kind, title in _TITLES.items():
            places: dict[str, list[str]] = {}
            for note in notes:
                if note.kind == kind:
                    places.setdefault(note.text, []).append(note.place)
            if places:
                click.echo(f"\n{title}", err=True)
            for text, where in sorted(places.items(), key=lambda one: one[1] != [""]):
                head = f"{', '.join(where)}: " if any(where) else ""
                click.echo(display.printable(f"  - {head}{text}"), err=True)
        click.echo(err=True)


def _when(job: FoundJob) -> str:
    return str(job.table.get("schedule") or f"every {job.table['every']}")


def _public(job: FoundJob) -> str:
    return str(job.table.get("path") or job.table["url"]).partition("?")[0]


def as_json(imported: list[Found], extra: Sequence[Note], written: Path | None) -> dict[str, object]:
    return {
        "written": str(written) if written else None,
        "files": [
            {
                "file": one.source,
                "jobs": [{"name": job.name, "place": job.place, **job.table} for job in one.jobs],
                "notes": [{"kind": note.kind, "place": note.place, "text": note.text} for note in one.notes],
            }
            for one in imported
        ],
        "set": [note.text for note in extra],
    }

"""`daemon.jobs_from`: jobs that stay in the app's own file, which is read at the start and at each reload."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.importing import files
from tocsin.importing.found import fault
from tocsin.jobfile.faults import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A table of the job file that comes from another file: from `where` in `source`."""

    name: str
    table: dict[str, Any]
    source: str
    where: str


def jobs(
    folder: Path, named: Mapping[str, str], own: Collection[str], faults: list[Fault], warnings: list[str]
) -> Iterator[LiveJob]:
    """Return the jobs of the named files (relative to `folder`); the job file writes the names as given. Adds to faults
    and warnings. `own` are names that are taken."""
    holders = dict.fromkeys(own, "the job file")
    for name, source in named.items():
        try:
            text = files.text_of(folder / name, source, again=True)
            kind = files.kind_of(text, source)
            if kind in ("crontab", "kubernetes"):
                why = "holds commands that somebody must check; import its jobs once, with tocsin import"
                raise ConfigError([fault(source, "", "", why)])
            found = files.READERS[kind](text, source)
        except ConfigError as error:
            faults += error.faults
            continue
        warnings += [
            f"{source}: {' '.join((one.place, one.text)).strip()}" for one in found.notes if one.kind != "differs"
        ]
        for job in found.jobs:
            if holder := holders.get(job.name):
                why = f"is also a job of {holder}; a job cannot be overridden, so rename or remove one"
                faults.append(fault(source, job.place, f"[jobs.{job.name}]", why))
                continue
            holders[job.name] = f"{source} {job.place}"
            yield LiveJob(job.name, job.table, source, f"{source} {job.place}")

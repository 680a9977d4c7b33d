"""Checks this machine: descriptors, processes, memory, time zones, and a synchronised clock."""

import importlib.metadata
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

from tocsin import linux
from tocsin.config import Config
from tocsin.doctor.finding import Finding, fail, in_number, ok, skipped, warning
from tocsin.parent import limits, room
from tocsin.units import size


def check(config: Config, *, running: bool) -> Iterator[Finding]:
    """`running`: the daemon already has its memory, so that is not checked."""
    jobs = len(config.enabled_jobs)
    yield processes(jobs)
    if not running:
        yield memory(jobs, room.memory_free())
    yield zones(config)
    yield clock()


def processes(jobs: int) -> Finding:
    """Apply the rule by which the daemon refuses to start."""
    if why := limits.shortage(jobs):
        detail, _, advice = why.partition("; ")
        return fail("machine.limits", in_number(jobs), detail, advice)
    return ok("machine.limits", in_number(jobs), "descriptors and processes are enough")


def memory(jobs: int, free: int | None) -> Finding:
    """`free` is in bytes."""
    needed = room.memory_needed(jobs)
    if free is None:
        return skipped("machine.memory", in_number(jobs), f"need about {size(needed)}; free memory is unknown")
    if free < needed:
        return warning(
            "machine.memory",
            in_number(jobs),
            f"need about {size(needed)}, and {size(free)} are free, enough for {room.jobs_that_fit(free)}",
            "give the machine or the container more memory, or run fewer jobs on it",
        )
    return ok("machine.memory", in_number(jobs), f"need about {size(needed)} of {size(free)} free")


def zones(config: Config) -> Finding:
    """Say where the time zone data is, and its version. The zones themselves were read with the job file."""
    used = sorted({job.schedule.timezone for job in config.jobs.values()})
    subject = ", ".join(used[:3]) + ("" if len(used) <= 3 else f" and {len(used) - 3} more")
    for folder in zoneinfo.TZPATH:
        if (Path(folder) / "UTC").exists():
            return ok("machine.zones", subject, f"time zone data in {folder}{_version(Path(folder))}")
    try:
        return ok(
            "machine.zones", subject, f"time zone data of the package tzdata {importlib.metadata.version('tzdata')}"
        )
    except importlib.metadata.PackageNotFoundError:
        return fail("machine.zones", subject, "there is no time zone data", "install the package tzdata")


def _version(folder: Path) -> str:
    try:
        with (folder / "tzdata.zi").open() as stream:
            return f", version {stream.readline().removeprefix('# version ').strip()[:20]}"
    except (OSError, UnicodeDecodeError):
        return ""


def clock() -> Finding:
    """Check that a service keeps the clock synchronised, because Tocsin fires by it."""
    synchronised = linux.clock_is_synchronised()
    if synchronised is None:
        return skipped("machine.clock", "system clock", "the kernel does not say whether it is synchronised")
    if not synchronised:
        return warning(
            "machine.clock",
            "system clock",
            "no service keeps it synchronised (the kernel reports it as unsynchronised)",
            "run chrony or systemd-timesyncd; in a container, on the host",
        )
    return ok("machine.clock", "system clock", "synchronised")

"""Checks this machine: descriptors, processes, memory, time zones, and a synchronised clock."""

import importlib.metadata
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

from tocsin import linux
from tocsin.config import Config
from tocsin.doctor.finding import Finding, fail, in_number, ok, skipped, warning
from tocsin.parent import limits
from tocsin.units import size

BASE_MEMORY = 100 * 1024**2  # bytes of parent, ledger and exporter
JOB_MEMORY = 5 * 1024**2 // 2  # bytes of a job's process after it has fired
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def check(config: Config, *, running: bool) -> Iterator[Finding]:
    """`running`: the daemon already has its memory, so that is not checked."""
    jobs = len(config.enabled_jobs)
    yield processes(jobs)
    if not running:
        yield memory(jobs, memory_free())
    yield zones(config)
    yield clock()


def processes(jobs: int) -> Finding:
    """Apply the rule by which the daemon refuses to start."""
    if why := limits.shortage(jobs):
        detail, _, advice = why.partition("; ")
        return fail("machine.limits", in_number(jobs), detail, advice)
    needed = limits.PROCESSES + jobs
    allowed = cgroup_limit("pids.max")
    if allowed is not None and allowed < needed:
        return fail(
            "machine.limits",
            in_number(jobs),
            f"need {needed} processes, and this container or unit allows {allowed}",
            "raise pids_limit of the container, or TasksMax in the systemd unit",
        )
    return ok("machine.limits", in_number(jobs), "descriptors and processes are enough")


def memory(jobs: int, free: int | None) -> Finding:
    """`free` is in bytes."""
    needed = BASE_MEMORY + JOB_MEMORY * jobs
    if free is None:
        return skipped("machine.memory", in_number(jobs), f"need about {size(needed)}; free memory is unknown")
    if free < needed:
        return warning(
            "machine.memory",
            in_number(jobs),
            f"need about {size(needed)}, and {size(free)} are free",
            "give the machine or the container more memory, or run fewer jobs on it",
        )
    return ok("machine.memory", in_number(jobs), f"need about {size(needed)} of {size(free)} free")


def memory_free(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that this process and its children may still use, or None if the kernel does not say."""
    try:
        (line,) = [line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return None
    free = int(line.split()[1]) * 1024
    rooms = [limit - (_number(group / "memory.current") or 0) for group, limit in _limits("memory.max")]
    return min(free, *rooms) if rooms else free


def cgroup_limit(name: str) -> int | None:
    """Return the smallest value of this file in this process's control group and those above (cgroups(7), v2). None if
    there is none, or if all are "max".
    """
    return min((limit for _, limit in _limits(name)), default=None)


def _limits(name: str) -> Iterator[tuple[Path, int]]:
    """Yield the control groups that set a limit, from this process's own upward."""
    try:
        line = next(line for line in OWN_CGROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    folder = CGROUPS / line.removeprefix("0::").lstrip("/")
    for group in (folder, *folder.parents):
        if group.is_relative_to(CGROUPS) and (limit := _number(group / name)) is not None:
            yield group, limit


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # it does not exist (in the root group, or in another version), or is "max"
        return None


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

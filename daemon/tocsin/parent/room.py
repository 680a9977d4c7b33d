"""The memory and processes that the machine and the control groups (a container, a systemd unit) leave for the jobs."""

from collections.abc import Iterator
from pathlib import Path

from tocsin.units import size

BASE_MEMORY = 100 * 1024**2  # bytes of parent, ledger and exporter
JOB_MEMORY = 5 * 1024**2 // 2  # bytes of a job's process after it has fired
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def memory_needed(jobs: int) -> int:
    return BASE_MEMORY + JOB_MEMORY * jobs


def jobs_that_fit(free: int) -> int:
    return max(0, (free - BASE_MEMORY) // JOB_MEMORY)


def tight(jobs: int, free: int | None) -> str:
    """Return "", or a warning that so many jobs may need more than the free bytes. It refuses none of them: what they
    need depends on what they call, and there may be swap."""
    if free is None or memory_needed(jobs) <= free:
        return ""
    return (
        f"{jobs} jobs need about {size(memory_needed(jobs))} of memory once they have fired, and {size(free)} are free,"
        f" enough for {jobs_that_fit(free)}; give the machine or the container more memory, or run fewer jobs on it"
    )


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

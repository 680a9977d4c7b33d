"""File descriptors and processes for all jobs: raises the soft limits, and says which hard limit is too low."""

import resource

from tocsin.parent import room

DESCRIPTORS = 64  # besides the jobs': locks, log, control clients, ledger, exporter, and what Python opens briefly
PER_JOB = 2  # its channel and its pidfd
PROCESSES = 8  # besides the jobs': parent, ledger, exporter, and an operator's commands


def shortage(jobs: int) -> str:
    """Raise the soft limits to what `jobs` jobs need. Returns "", or which hard limit is too low, how many jobs it
    allows, and how to raise it."""
    descriptors = _raised(resource.RLIMIT_NOFILE, DESCRIPTORS + PER_JOB * jobs)
    if descriptors is not None:
        return (
            f"{jobs} jobs need {DESCRIPTORS + PER_JOB * jobs} open files, and the hard limit is {descriptors}, enough"
            f" for {_fitting(descriptors - DESCRIPTORS, PER_JOB)}; raise `minfds` under [supervisord], LimitNOFILE in"
            " the systemd unit, or ulimits.nofile of the container"
        )
    processes = _raised(resource.RLIMIT_NPROC, PROCESSES + jobs)
    if processes is not None:
        return (
            f"{jobs} jobs need {PROCESSES + jobs} processes, and the hard limit of this user is {processes}, enough"
            f" for {_fitting(processes - PROCESSES, 1)}; raise `minprocs` under [supervisord], TasksMax and LimitNPROC"
            " in the systemd unit, or pids_limit of the container"
        )
    allowed = room.cgroup_limit("pids.max")
    if allowed is not None and allowed < PROCESSES + jobs:
        return (
            f"{jobs} jobs need {PROCESSES + jobs} processes, and this container or unit allows {allowed}, enough for"
            f" {_fitting(allowed - PROCESSES, 1)}; raise pids_limit of the container, or TasksMax in the systemd unit"
        )
    return ""


def _fitting(left: int, each: int) -> str:
    number = max(0, left // each)
    return f"{number} {'job' if number == 1 else 'jobs'}"


def _raised(limit: int, needed: int) -> int | None:
    """Raise the soft limit to the hard one. Returns the hard limit if that is too low, else None."""
    soft, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY and hard < needed:
        return hard
    if soft != hard:
        resource.setrlimit(limit, (hard, hard))
    return None

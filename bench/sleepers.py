"""A daemon with many sleeping jobs, for bench/crowd.py and bench/reload.py."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # from a checkout, installed or not

from tocsin.commands.asking import ask
from tocsin.ipc.control import ListJobs
from tocsin.ipc.exporter import JobStatus

DAEMON = str(Path(__file__).parents[1] / "daemon")
ENVIRONMENT = {"CRON_SECRET": "0123456789abcdef0123456789abcdef", "PATH": os.environ["PATH"]}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def job_file(jobs: int, port: int, target: int, when: Callable[[int], str], version: Callable[[int], int]) -> str:
    """Return a job file with the jobs job-0, job-1, … `when` gives the schedule of a job; another `version` of a job
    is another job to a reload."""
    head = f'[daemon]\nlisten = "127.0.0.1:{port}"\n[target]\nbase_url = "http://127.0.0.1:{target}"\n'
    return head + "".join(
        f'[jobs.job-{n}]\nschedule = "{when(n)}"\npath = "/job/{n}?version={version(n)}"\n'
        f'expect.json = {{ success = true }}\ntotals = {{ unassigned = "unassignedCount" }}\n'
        for n in range(jobs)
    )


def start(file: Path) -> "subprocess.Popen[bytes]":
    """Start a daemon with this job file. Its log is `log` in the same folder."""
    command = [sys.executable, "-m", "tocsin", "run", "-c", str(file)]
    with (file.parent / "log").open("wb") as log:
        return subprocess.Popen(command, env=ENVIRONMENT | {"PYTHONPATH": DAEMON}, stdout=log, stderr=log)


def asleep(file: Path) -> dict[str, int]:
    """Return the pids of the jobs that are asleep until their next instant."""
    listed = [one for one in ask(file, ListJobs()) if isinstance(one, JobStatus)]
    return {one.name: one.pid for one in listed if one.pid and one.state == "sleeping"}

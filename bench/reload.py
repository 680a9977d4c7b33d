"""How long does `tocsin reload` take when one job of many has changed, and does it leave the others alone?

    python bench/reload.py [--jobs N] [--reloads N]

Starts a daemon whose jobs are due once a year, changes one of them in the job file, and asks for a reload as the
command does; once more for each reload. Prints the median in milliseconds of what the command waits for: `find` (the
daemon's socket, by the job file), `load` (the job file, as the daemon reads it; measured here on the same file), `take
over` (the rest of the wait) and `total`. The start of the command's interpreter is not in it. Then it says how many
processes were replaced, and how many of the others were scheduled at all in between: there should be none. Last, how
much memory the reloads left behind in the parent: `--jobs 10 --reloads 1000` shows it best.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # from a checkout, installed or not

from tocsin import config
from tocsin.commands.asking import ask
from tocsin.ipc.actions import ReloadConfig
from tocsin.ipc.control import ListJobs
from tocsin.ipc.exporter import JobStatus
from tocsin.linux import resident_memory

PATIENCE = 120.0  # seconds for the daemon to start all its processes
CHANGED = "job-0"
ENVIRONMENT = {"CRON_SECRET": "0123456789abcdef0123456789abcdef", "PATH": os.environ["PATH"]}


def job_file(jobs: int, port: int, closed: int, version: int) -> str:
    head = f'[daemon]\nlisten = "127.0.0.1:{port}"\n[target]\nbase_url = "http://127.0.0.1:{closed}"\n'
    return head + "".join(
        f'[jobs.job-{n}]\nschedule = "0 0 1 1 *"\npath = "/job/{n}?version={version if f"job-{n}" == CHANGED else 0}"\n'
        f'expect.json = {{ success = true }}\ntotals = {{ unassigned = "unassignedCount" }}\n'
        for n in range(jobs)
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def pids(file: Path) -> dict[str, int]:
    """Of the jobs that are asleep until their next instant."""
    listed = [one for one in ask(file, ListJobs()) if isinstance(one, JobStatus)]
    return {one.name: one.pid for one in listed if one.pid and one.state == "sleeping"}


def calm(file: Path, jobs: int, other_than: int = 0) -> dict[str, int]:
    """The pids once every job is asleep, the changed one in another process."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (file.parent / "var/control.sock").exists():
            found = pids(file)
            if len(found) == jobs and found[CHANGED] != other_than:
                time.sleep(0.2)
                return found
        time.sleep(0.1)
    raise SystemExit(f"not every job slept after {PATIENCE:.0f} s; see {file.parent}/log")


def times_scheduled(pid: int) -> str:
    """How often the process had the processor since its start (proc(5): the third number)."""
    return Path(f"/proc/{pid}/schedstat").read_text().split()[2]


def measure(file: Path, daemon: int, jobs: int, reloads: int, write: Callable[[int], None]) -> None:
    known = config.Known()
    config.load(file, ENVIRONMENT, known)
    seen: dict[str, list[float]] = {"find": [], "load": [], "take over": [], "total": []}
    replaced = scheduled = 0
    before = calm(file, jobs)
    memory = resident_memory(daemon) or 0
    for version in range(1, reloads + 1):
        write(version)
        at = {name: times_scheduled(pid) for name, pid in before.items() if name != CHANGED}
        total = milliseconds(lambda: ask(file, ReloadConfig()))
        after = calm(file, jobs, other_than=before[CHANGED])
        find = milliseconds(lambda: config.state_dir(file, ENVIRONMENT))
        load = milliseconds(lambda: config.load(file, ENVIRONMENT, known))
        replaced += sum(after[name] != pid for name, pid in before.items())
        scheduled += sum(times_scheduled(before[name]) != times for name, times in at.items())
        for what, took in zip(seen, (find, load, total - find - load, total), strict=True):
            seen[what].append(took)
        before = after
    print(f"one job of {jobs} changed, {reloads} reloads, ms\n{'':12}{'p50':>8}{'max':>8}")
    for what, times in seen.items():
        print(f"{what:12}{statistics.median(times):8.1f}{max(times):8.1f}")
    print(f"processes replaced: {replaced}; others that were scheduled: {scheduled}")
    grown = (resident_memory(daemon) or 0) - memory
    print(f"memory of the parent (RSS): {memory / 1e6:.1f} MB, and {grown / 1e3 / reloads:.1f} kB more for each reload")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--reloads", type=int, default=9)
    options = parser.parse_args()
    port, closed = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tocsin.toml")

        def write(version: int) -> None:
            file.write_text(job_file(options.jobs, port, closed, version))

        write(0)
        path = {"PYTHONPATH": str(Path(__file__).parents[1] / "daemon")}
        command = [sys.executable, "-m", "tocsin", "run", "-c", str(file)]
        with Path(folder, "log").open("wb") as log:
            daemon = subprocess.Popen(command, env=ENVIRONMENT | path, stdout=log, stderr=log)
        try:
            measure(file, daemon.pid, options.jobs, options.reloads, write)
        finally:
            daemon.terminate()
            daemon.wait()


if __name__ == "__main__":
    main()

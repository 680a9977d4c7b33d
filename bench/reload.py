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
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sleepers  # puts daemon/ on the path
from sleepers import ENVIRONMENT
from tocsin import config
from tocsin.commands.asking import ask
from tocsin.ipc.actions import ReloadConfig
from tocsin.linux import resident_memory

PATIENCE = 120.0  # seconds for the daemon to start all its processes
CHANGED = "job-0"


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def calm(file: Path, jobs: int, other_than: int = 0) -> dict[str, int]:
    """The pids once every job is asleep, the changed one in another process."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (file.parent / "var/control.sock").exists():
            found = sleepers.asleep(file)
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
    port, closed = sleepers.free_port(), sleepers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tocsin.toml")

        def write(version: int) -> None:
            changed = {CHANGED: version}
            text = sleepers.job_file(
                options.jobs, port, closed, lambda _: "0 0 1 1 *", lambda n: changed.get(f"job-{n}", 0)
            )
            file.write_text(text)

        write(0)
        daemon = sleepers.start(file)
        try:
            measure(file, daemon.pid, options.jobs, options.reloads, write)
        finally:
            daemon.terminate()
            daemon.wait()


if __name__ == "__main__":
    main()

"""Measures what grows with the number of jobs: start, readiness, scrape, page, commands, reload, memory and stop.

    python bench/crowd.py [--jobs 1000 2000 4000 8000] [--brief]

For each number it starts a daemon whose jobs are due in twelve hours, and a sink on loopback for a run on request. It
prints one table in Markdown, with a row for each measure and a column for each number of jobs. "Longest hold-up" is the
longest answer of /healthz, which is requested several times a second meanwhile. `--brief` leaves out the reload of all
jobs. Eight thousand jobs take about 10 GB and a few minutes.
"""

import argparse
import contextlib
import datetime
import os
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import sleepers  # puts daemon/ on the path
from tocsin.commands.asking import ask
from tocsin.ipc.actions import FireJob, ReloadConfig
from tocsin.ipc.control import ListJobs
from tocsin.linux import resident_memory

PATIENCE = 400.0  # seconds for any one step: a bound against hanging
SHARED = 1.1  # seconds: longer than the exporter gives everybody the same scrape (SCRAPE_SHARED)
AGAIN = 5  # repetitions of a warm measurement
REPLY = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'

Measures = dict[str, float]


def sink() -> int:
    """Start a server that answers all requests, one after the other. Returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.settimeout(10)
                if client.recv(65536):
                    client.sendall(REPLY)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def daily(number: int) -> str:
    """The schedule of a job: once a day, in twelve hours."""
    return f"{number % 60} {(datetime.datetime.now(datetime.UTC).hour + 12) % 24} * * *"


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def until(found: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > give_up:
            raise SystemExit(f"waited {PATIENCE:.0f} s in vain for {what}")
        time.sleep(0.05)


class Crowd:
    """A daemon with many jobs, in its own folder."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.jobs = jobs
        self.file = folder / "tocsin.toml"
        self.port, self.target = sleepers.free_port(), sink()
        self.longest = 0.0
        self.write(lambda _: 0)
        self.daemon = sleepers.start(self.file)

    def write(self, version: Callable[[int], int]) -> None:
        self.file.write_text(sleepers.job_file(self.jobs, self.port, self.target, daily, version))

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as reply:
            body: bytes = reply.read()
        return body

    def ready(self) -> bool:
        try:
            return b'"ready"' in self.get("/readyz")
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            if self.daemon.poll() is not None:
                raise SystemExit(f"the daemon ended: {(self.file.parent / 'log').read_text()[-2000:]}") from None
        return False

    def asleep(self) -> dict[str, int]:
        return sleepers.asleep(self.file)

    def child(self, title: str) -> int:
        for pid in Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == b"tocsin: " + title.encode():
                    return int(pid)
        return 0

    def pss(self) -> float:
        """Bytes of all processes: the private memory of each, and its part of the shared memory."""
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split()
        total = 0
        for pid in (str(self.daemon.pid), *children):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total * 1024

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Ask for /healthz all the time, and keep the longest answer."""
        over = threading.Event()
        self.longest = 0.0

        def watch() -> None:
            while not over.wait(0.02):
                with contextlib.suppress(OSError):
                    self.longest = max(self.longest, timed(lambda: self.get("/healthz")))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def warm(work: Callable[[], object], pause: float = 0.0) -> float:
    """Return the median of some more repetitions, each after a pause."""
    took = []
    for _ in range(AGAIN):
        time.sleep(pause)
        took.append(timed(work))
    return statistics.median(took)


def all_reloaded(crowd: Crowd) -> Measures:
    old = crowd.asleep()
    crowd.write(lambda _: 2)
    began = time.perf_counter()
    answered = timed(lambda: ask(crowd.file, ReloadConfig()))

    def all_new() -> bool:
        new = crowd.asleep()
        return len(new) == crowd.jobs and all(new[name] != pid for name, pid in old.items())

    until(all_new, "all to have a new process")
    until(crowd.ready, "readiness")
    return {
        "reload, all changed: answered, s": answered,
        "… all asleep and ready again, s": time.perf_counter() - began,
    }


def measure(crowd: Crowd, brief: bool) -> Measures:
    seen: Measures = {}
    with crowd.watched():
        seen["start to ready, s"] = timed(lambda: until(crowd.ready, "readiness"))
    seen["… longest hold-up, ms"] = crowd.longest * 1000
    until(lambda: len(crowd.asleep()) == crowd.jobs, "all to sleep")
    for name, path in (("scrape", "/metrics"), ("page", "/"), ("JSON", "/api/jobs")):
        with crowd.watched():
            first = timed(lambda: crowd.get(path))  # noqa: B023
            again = warm(lambda: crowd.get(path), SHARED)  # noqa: B023
        seen[f"{name}, first, ms"] = first * 1000
        seen[f"{name}, ms"] = again * 1000
        seen[f"… longest hold-up of that {name}, ms"] = crowd.longest * 1000
        seen[f"{name}, MB"] = len(crowd.get(path)) / 1e6
    seen["list of the jobs (control socket), ms"] = warm(lambda: ask(crowd.file, ListJobs())) * 1000
    seen["one run asked for, ms"] = warm(lambda: ask(crowd.file, FireJob("job-1"))) * 1000
    seen["memory of all (PSS), MB"] = crowd.pss() / 1e6
    seen["… of the parent (RSS), MB"] = (resident_memory(crowd.daemon.pid) or 0) / 1e6
    seen["… of the exporter (RSS), MB"] = (resident_memory(crowd.child("exporter")) or 0) / 1e6
    seen["reload, nothing changed, ms"] = timed(lambda: ask(crowd.file, ReloadConfig())) * 1000
    crowd.write(lambda n: int(n == 0))
    seen["reload, one job changed, ms"] = timed(lambda: ask(crowd.file, ReloadConfig())) * 1000
    if not brief:
        seen |= all_reloaded(crowd)
    for name in ("the exporter killed: ready again, s", "… and once more, s"):
        exporter = crowd.child("exporter")
        os.kill(exporter, signal.SIGKILL)
        until(lambda: crowd.child("exporter") not in (0, exporter), "a new exporter")  # noqa: B023
        seen[name] = timed(lambda: until(crowd.ready, "readiness"))
    crowd.daemon.terminate()
    seen["stop, s"] = timed(lambda: crowd.daemon.wait(PATIENCE))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    table: dict[str, list[str]] = {}
    parser.add_argument("--brief", action="store_true", help="leave out the reload of all jobs")
    options = parser.parse_args()
    sizes = options.jobs
    for jobs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            crowd = Crowd(Path(folder), jobs)
            try:
                for name, value in measure(crowd, options.brief).items():
                    table.setdefault(name, []).append(f"{value:,.{0 if value >= 100 else 1}f}")
            finally:
                if crowd.daemon.poll() is None:
                    crowd.daemon.terminate()
                    crowd.daemon.wait()
        print(f"{jobs} jobs measured", file=sys.stderr, flush=True)
    print("| jobs |", " | ".join(f"{jobs:,}" for jobs in sizes), "|")
    print("| --- |", " | ".join("---:" for _ in sizes), "|")
    for name, values in table.items():
        print(f"| {name} |", " | ".join(values), "|")


if __name__ == "__main__":
    main()

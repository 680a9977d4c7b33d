"""What grows with the number of jobs? Start, readiness, scrape, page, commands, reload, memory and stop of sleepers.

    python bench/crowd.py [--jobs 1000 2000 4000 8000] [--brief]

For each number it starts a daemon whose jobs are due in twelve hours, and a sink on loopback for the one run that is
asked for. Prints one table in Markdown: a row for each measure, a column for each number of jobs. "Longest hold-up" is
the longest time that /healthz, asked some times a second meanwhile, took to answer. `--brief` leaves out the
reload of all jobs. Eight thousand jobs take about 10 GB and, in all, some minutes.
"""

import argparse
import contextlib
import datetime
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # from a checkout, installed or not

from tocsin.commands.asking import ask
from tocsin.ipc.actions import FireJob, ReloadConfig
from tocsin.ipc.control import ListJobs
from tocsin.ipc.exporter import JobStatus
from tocsin.linux import resident_memory

PATIENCE = 400.0  # seconds for any one step: a bound against hanging
SHARED = 1.1  # seconds: so long the exporter gives the same scrape to all (SCRAPE_SHARED)
AGAIN = 5  # times that what is asked for warm is asked
ENVIRONMENT = {"CRON_SECRET": "0123456789abcdef0123456789abcdef", "PATH": os.environ["PATH"]}
REPLY = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'

Measures = dict[str, float]


def sink() -> int:
    """Answers every request on the port that it returns, one after the other."""
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


def job_file(jobs: int, port: int, target: int, version: Callable[[int], int]) -> str:
    hour = (datetime.datetime.now(datetime.UTC).hour + 12) % 24
    head = f'[daemon]\nlisten = "127.0.0.1:{port}"\n[target]\nbase_url = "http://127.0.0.1:{target}"\n'
    return head + "".join(
        f'[jobs.job-{n}]\nschedule = "{n % 60} {hour} * * *"\npath = "/job/{n}?version={version(n)}"\n'
        f'expect.json = {{ success = true }}\ntotals = {{ unassigned = "unassignedCount" }}\n'
        for n in range(jobs)
    )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


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
    """A daemon with so many jobs, in a folder of its own."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.jobs = jobs
        self.file = folder / "tocsin.toml"
        self.port, self.target = free_port(), sink()
        self.longest = 0.0
        self.write(lambda _: 0)
        command = [sys.executable, "-m", "tocsin.cli", "run", "-c", str(self.file)]
        path = {"PYTHONPATH": str(Path(__file__).parents[1] / "daemon")}
        with (folder / "log").open("wb") as log:
            self.daemon = subprocess.Popen(command, env=ENVIRONMENT | path, stdout=log, stderr=log)

    def write(self, version: Callable[[int], int]) -> None:
        self.file.write_text(job_file(self.jobs, self.port, self.target, version))

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
        """The pids of the jobs that sleep."""
        listed = [one for one in ask(self.file, ListJobs()) if isinstance(one, JobStatus)]
        return {one.name: one.pid for one in listed if one.pid and one.state == "sleeping"}

    def child(self, title: str) -> int:
        for pid in Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == b"tocsin: " + title.encode():
                    return int(pid)
        return 0

    def pss(self) -> float:
        """Bytes of the whole tree: what each process has alone, and its share of what it shares."""
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split()
        total = 0
        for pid in (str(self.daemon.pid), *children):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total * 1024

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Ask for /healthz all the time."""
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
    """The median of some more times, each after a pause."""
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

"""The nodes under test: real daemons, each with its own state folder and its own wire to the database."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import free_port
from postgres_rig import Wire

AS_NODE = Path(__file__).with_name("as_node.py")


def write_jobs(file: Path, target: int, jobs: int, slow: int) -> None:
    """So many jobs of every second; of the first `slow` of them a call takes longer."""
    tables = "".join(
        f'[jobs.j{number}]\nevery = "1s"\npath = "/j{number}{"-slow" * (number < slow)}"\n' for number in range(jobs)
    )
    file.write_text(
        f'[daemon]\nledger = "${{DATABASE_URL}}"\n[target]\nbase_url = "http://127.0.0.1:{target}"\n{tables}'
    )


class Node:
    def __init__(self, name: str, folder: Path, job_file: Path, wire: Wire, url: str, clock: float, rule: str) -> None:
        folder.mkdir()
        self.name, self.wire = name, wire
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.wanted = False  # started again when it ends
        self._stopped: list[int] = []
        self._environment = os.environ | {
            "TOCSIN_CONFIG": str(job_file),
            "TOCSIN_STATE_DIR": str(folder / "var"),
            "TOCSIN_LISTEN": f"127.0.0.1:{free_port()}",
            "TOCSIN_NODE": name,
            "DATABASE_URL": url,
            "CRON_SECRET": "a-secret-for-the-bench",
            "BENCH_NODE": name,
            "BENCH_CLOCK": str(clock),
            "BENCH_WITHOUT": rule,
        }

    def start(self) -> None:
        self.wanted = True
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, AS_NODE, "run"], env=self._environment, stdout=log, stderr=log
            )

    def look(self) -> int | None:
        """Start it again when it has ended, as supervisord would; its exit code then."""
        if not self.process or self.process.poll() is None:
            return None
        code = self.process.returncode
        self.process = None
        if self.wanted:
            self.start()
        return code

    def pids(self, title: str = "") -> list[int]:
        """Of the parent, and of its children whose titles begin so."""
        if not self.process:
            return []
        found = [] if title else [self.process.pid]
        with contextlib.suppress(OSError):
            for word in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
                name = Path(f"/proc/{word}/cmdline").read_bytes().split(b"\0")[0].decode()
                if name.startswith(f"tocsin: {title}"):
                    found.append(int(word))
        return found

    def kill(self) -> None:
        """As a power cut: nothing of it is left, and it does not come back before `start`."""
        self.wanted = False
        if self.process:
            self.process.kill()
            self.process.wait()  # its children die with it
            self.process = None

    def stop(self, title: str = "") -> None:
        """SIGSTOP to the parent first, so that it starts nothing meanwhile."""
        self._stopped = self.pids(title)
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """All at once, the children first: a job that was granted its slot acts before anybody tells it otherwise."""
        for pid in reversed(self._stopped):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._stopped = []

    def end(self, patience: float = 60.0) -> int:
        """SIGTERM; the exit code."""
        self.wanted = False
        if not self.process:
            return 0
        self.process.terminate()
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code


def wait_for(seconds: float, nodes: list[Node]) -> list[tuple[str, int]]:
    """Let time pass and look after the nodes; who ended, and with which code."""
    end = time.monotonic() + seconds
    ended: list[tuple[str, int]] = []
    while time.monotonic() < end:
        ended += [(node.name, code) for node in nodes if (code := node.look()) is not None]
        time.sleep(0.1)
    return ended

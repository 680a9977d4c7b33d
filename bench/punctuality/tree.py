"""One tool with every process it starts: its processor time, its memory, its end.

Where a cgroup can be made (as root, as a rule), the kernel does the sums and nothing is missed. Elsewhere the
processes are found through /proc, below this process, which orphans come back to (PR_SET_CHILD_SUBREAPER); the
processor time of children that ended is then what their parents waited for.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 20.0  # seconds between SIGTERM and SIGKILL: a tool may drain
PR_SET_CHILD_SUBREAPER = 36
ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # where cgroup v2 is, alone or beside v1


def new_cgroup() -> Path | None:
    """A cgroup of our own below the one we are in, or None where that is not allowed.

    It has no controller (none is enabled), so it changes nothing about how its processes run; cpu.stat is there
    without one.
    """
    own = next((line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), "")
    for root in ROOTS:
        group = Path(f"{root}/{own}") / f"tocsin-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "cpu.stat").exists():
            return group
        group.rmdir()
    return None


def processes() -> dict[int, tuple[int, str]]:
    """pid -> parent's pid and state (proc(5): Z is a zombie), of every process."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended
                state, parent = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()[:2]
                found[int(entry.name)] = int(parent), state
    return found


def below(root: int) -> list[int]:
    """The pids of all descendants of a process."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes().items():
        children.setdefault(parent, []).append(pid)
    found, rest = [], [root]
    while rest:
        for pid in children.get(rest.pop(), []):
            found.append(pid)
            rest.append(pid)
    return found


class Tree:
    """The processes of one tool. `apart` are our own that do not belong to it (the sink)."""

    def __init__(self, apart: set[int]) -> None:
        self.apart = apart
        self.group = new_cgroup()
        self.started: list[subprocess.Popen[bytes]] = []
        if self.group is None:
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> None:
        """A session of its own, as a service has; what it prints goes to `log`."""
        if self.group is not None:
            enter = f'echo $$ > {self.group}/cgroup.procs && exec "$@"'
            command = ["sh", "-c", enter, "sh", *command]
        with log.open("ab") as out:
            self.started.append(
                subprocess.Popen(
                    command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                    start_new_session=True,
                )
            )  # fmt: skip

    def died(self) -> bool:
        return any(process.poll() is not None for process in self.started)

    def pids(self) -> list[int]:
        if self.group is not None:
            return [int(line) for line in (self.group / "cgroup.procs").read_text().split()]
        return [pid for pid in below(os.getpid()) if pid not in self.apart]

    def cpu(self) -> float:
        """Seconds of processor time that the tree has used, with children that have ended."""
        if self.group is not None:
            first = (self.group / "cpu.stat").read_text().split(maxsplit=2)
            return int(first[1]) / 1e6
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]))
        return ticks / TICK

    def pss(self) -> int:
        """Bytes of memory: each process's own and its share of what is shared (PSS), summed."""
        kilobytes = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        kilobytes += int(line.split()[1])
        return kilobytes * 1024

    def stop(self) -> None:
        """SIGTERM to what was started, last first; then SIGKILL to what is left."""
        give_up = time.monotonic() + PATIENCE
        for process in reversed(self.started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, give_up - time.monotonic()))
        while left := self.pids():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.started:
                process.poll()
            with contextlib.suppress(ChildProcessError):
                if self.group is None:
                    os.waitpid(-1, os.WNOHANG)  # an orphan that came back to us
            time.sleep(0.05)
        if self.group is not None:
            self.group.rmdir()


def spent(pid: int) -> float:
    """Seconds of processor time of one living process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9

"""The daemon's processes, as the kernel shows them (proc(5)): stopped ones do nothing, and nobody says so."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from tocsin.doctor.finding import Finding, fail, ok
from tocsin.ipc.exporter import JobStatus
from tocsin.parent.listener import sockets
from tocsin.timestamps import rfc3339

HANGS = 10.0  # seconds beyond a job's grace that its process may take to act on its instant, or to start
_STATES = {
    "T": ("is stopped (SIGSTOP)", "continue it: kill -CONT {pid}"),
    "t": ("is held by a debugger", "detach the debugger (gdb, strace) from process {pid}"),
    "Z": ("has ended, and the daemon does not take note", "is the daemon stopped? See its log"),
}
_LISTENS = "0A"  # the state of a socket in /proc/net/tcp
_TITLE = "tocsin: "  # how the daemon's children name themselves


def daemon_of(holder: str) -> int | None:
    """The daemon's process, from what it wrote into its lock. None where that is not visible here (in another
    container, say), or is not its any more.
    """
    written = re.match("process ([0-9]+) ", holder)
    if written is None:
        return None
    with contextlib.suppress(OSError):
        if b"tocsin" in Path(f"/proc/{written[1]}/cmdline").read_bytes():
            return int(written[1])
    return None


def family(daemon: int) -> dict[int, str]:
    """The daemon and its children, by process number, as they name themselves."""
    found = {daemon: "daemon"}
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split():
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                found[int(child)] = title.removeprefix(_TITLE)
    return found


def listens_on(daemon: int) -> list[tuple[str, int]] | None:
    """Addresses at which processes of the daemon take connections; None where that cannot be seen from here."""
    found = []
    try:
        if os.readlink(f"/proc/{daemon}/ns/net") != os.readlink("/proc/self/ns/net"):  # its ports are others
            return None
        own = set[str]().union(*map(sockets, map(str, family(daemon))))
        for file in Path("/proc/net").glob("tcp*"):
            lines = [line.split() for line in file.read_text().splitlines()]
            found += [_address(line[1]) for line in lines if line[3] == _LISTENS and line[9] in own]
    except OSError:
        return None
    return found


def _address(written: str) -> tuple[str, int]:
    """As /proc/net/tcp writes it: the address in words of this machine's byte order, and the port."""
    address, _, port = written.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)


def stopped(daemon: int) -> Iterator[Finding]:
    """Processes of the daemon that do not run, whatever they are for."""
    names = family(daemon)
    found = [_stopped(pid, name) for pid, name in names.items()]
    yield from filter(None, found)
    if not any(found):
        yield ok("state.processes", f"process {daemon}", f"none of its {len(names)} processes is stopped")


def _stopped(pid: int, name: str) -> Finding | None:
    if (words := _STATES.get(_state(pid))) is None:
        return None
    what, advice = words
    effect = "nothing is called" if name == "daemon" else "its slots do not run" if name.startswith("job ") else ""
    detail = f"its process {pid} {what}" + (f": {effect}" if effect else "")
    return fail("state.processes", name.removeprefix("job "), detail, advice.format(pid=pid))


def _state(pid: int) -> str:
    """One letter; "" where the process is gone or cannot be seen."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def hanging(one: JobStatus, now: float) -> Finding | None:
    """A process that should have done something by now, by what the daemon says of it."""
    if not one.enabled or one.pid is None or _state(one.pid) in _STATES:  # these are found above
        return None
    late = now - one.grace - HANGS
    if one.state == "sleeping" and one.next_fire is not None and one.next_fire < late:
        what = f"was due at {rfc3339(one.next_fire)} and has not woken"
    elif one.state == "starting" and one.process_started is not None and one.process_started < late:
        what = f"was started at {rfc3339(one.process_started)} and has not begun"
    else:
        return None
    advice = f"kill -9 {one.pid}: the daemon starts another. Please report it, with the daemon's log"
    return fail("state.job", one.name, f"its process {one.pid} hangs: it {what}", advice)

"""Checks the daemon's processes in proc(5): a stopped process does nothing, and nothing else reports it."""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from tocsin.doctor.finding import Finding, fail, ok
from tocsin.health import stands_still
from tocsin.linux import process_state
from tocsin.parent.listener import sockets

_ADVICE = {  # by the state letter of a process
    "T": "continue it: kill -CONT {pid}",
    "t": "detach the debugger (gdb, strace) from process {pid}",
    "Z": "is the daemon stopped? See its log",
}
_LISTENS = "0A"  # the state of a socket in /proc/net/tcp
_TITLE = "tocsin: "  # the titles of the daemon's children begin with it


def daemon_of(holder: str) -> int | None:
    """Return the daemon's pid from its lock file. None if that process is not visible here (in another container, for
    example), or is another program by now.
    """
    written = re.match("process ([0-9]+) ", holder)
    if written is None:
        return None
    with contextlib.suppress(OSError):
        if b"tocsin" in Path(f"/proc/{written[1]}/cmdline").read_bytes():
            return int(written[1])
    return None


def family(daemon: int) -> dict[int, str]:
    """Return the titles of the daemon and its children, by pid."""
    found = {daemon: "daemon"}
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split():
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                found[int(child)] = title.removeprefix(_TITLE)
    return found


def listens_on(daemon: int) -> list[tuple[str, int]] | None:
    """Return the addresses at which the daemon's processes listen, or None if that cannot be seen from here."""
    found = []
    try:
        if os.readlink(f"/proc/{daemon}/ns/net") != os.readlink("/proc/self/ns/net"):  # another network
            return None
        own = set[str]().union(*map(sockets, map(str, family(daemon))))
        for file in Path("/proc/net").glob("tcp*"):
            lines = [line.split() for line in file.read_text().splitlines()]
            found += [_address(line[1]) for line in lines if line[3] == _LISTENS and line[9] in own]
    except OSError:
        return None
    return found


def _address(written: str) -> tuple[str, int]:
    """Read an address of /proc/net/tcp: words in this machine's byte order, and the port."""
    address, _, port = written.partition(":")
    words = [int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)


def stopped(daemon: int) -> Iterator[Finding]:
    """Find the daemon's processes that are stopped."""
    names = family(daemon)
    found = [_stopped(pid, name) for pid, name in names.items()]
    yield from filter(None, found)
    if not any(found):
        yield ok("state.processes", f"process {daemon}", f"none of its {len(names)} processes is stopped")


def _stopped(pid: int, name: str) -> Finding | None:
    state = process_state(pid)
    if (what := stands_still(pid, state)) is None:
        return None
    effect = "nothing is called" if name == "daemon" else "its slots do not run" if name.startswith("job ") else ""
    detail = f"its process {what}" + (f": {effect}" if effect else "")
    return fail("state.processes", name.removeprefix("job "), detail, _ADVICE[state].format(pid=pid))


def unstick(pid: int | None) -> str:
    """Say what to do about a job that cannot be called."""
    if pid is None:
        return "the daemon's log says why"
    advice = _ADVICE.get(process_state(pid))
    hangs = f"kill -9 {pid}: the daemon starts another process. Please report this with the daemon's log"
    return advice.format(pid=pid) if advice else hangs

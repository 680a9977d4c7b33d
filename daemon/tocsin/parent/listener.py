"""The exporter's address. The parent holds it from before the first fork until its end, and never accepts on it.

So an address in use is noticed at the start. Nobody can take it while the exporter is restarted, and clients that
connect meanwhile wait for the next exporter.
"""

import contextlib
import errno
import os
import socket
import time
from pathlib import Path

BACKLOG = 128  # connections that the kernel queues until they are accepted
PATIENCE = 10.0  # seconds to wait for an address in use: the previous daemon may still be draining
_STEP = 0.05  # seconds between tries
_LISTENS = "0A"  # the state of a socket in /proc/net/tcp

Address = tuple[str, int]


class CannotListen(Exception):
    """`held`: another process has the address."""

    def __init__(self, why: str, *, held: bool = False) -> None:
        super().__init__(why)
        self.held = held


class Listener:
    """Raises CannotListen."""

    def __init__(self, address: Address, patience: float = PATIENCE) -> None:
        self.socket = _patiently(address, patience)
        self.address = address

    def move(self, address: Address) -> None:
        """Listen there instead. If that fails, raises CannotListen and keeps the old address."""
        old = self.socket
        try:
            self.socket = _patiently(address, 0)
        except CannotListen as error:
            if not (error.held and address[1] == self.address[1]):
                raise
            old.shutdown(socket.SHUT_RDWR)  # our own socket may block it: 127.0.0.1:9911 blocks 0.0.0.0:9911
            try:
                self.socket = _patiently(address, 0)
            except CannotListen:
                old.listen(BACKLOG)
                raise
        self.address = address
        old.close()

    def close(self) -> None:
        self.socket.close()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # never SO_REUSEPORT, which shares it
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _patiently(address: Address, patience: float) -> socket.socket:
    give_up = time.monotonic() + patience
    while True:
        try:
            return bind(*address)
        except OSError as error:
            held = error.errno == errno.EADDRINUSE
            if not held or time.monotonic() >= give_up:
                raise CannotListen(_why(address, error), held=held) from None
        time.sleep(_STEP)


def _why(address: Address, error: OSError) -> str:
    where = f"cannot listen on {shown(*address)}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: {holder(address[1])} has the address; {advice(error)}"
    return f"{where}: {error.strerror or error}; {advice(error)}"


def shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def advice(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "stop what listens there (ss -ltnp shows it), or set another `listen` in [daemon] or TOCSIN_LISTEN"
        case errno.EACCES:
            return "ports below 1024 are for root: use a higher one"
    return "set `listen` in [daemon] to an address of this machine, or 0.0.0.0:PORT"


# ---- the process that listens (proc(5))


def holder(port: int) -> str:
    """Describe the process that listens on the port, so that a person can find it."""
    inodes = listening(port)
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):  # the parent before its children
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if inodes & sockets(str(pid)):
                words = [
                    Path(word).name for word in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").split()
                ]
                name = "tocsin" if "tocsin" in words else words[0]  # not its arguments: they may hold a secret
                return f"process {pid} ({name}, in {os.readlink(f'/proc/{pid}/cwd')})"
    return "another process"


def listening(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on the port."""
    lines = [line.split() for file in Path("/proc/net").glob("tcp*") for line in file.read_text().splitlines()]
    return {line[9] for line in lines if line[3] == _LISTENS and line[1].endswith(f":{port:04X}")}


def sockets(process: str) -> set[str]:
    """Return the inodes of the process's sockets. Raises OSError if it belongs to another user."""
    folder, found = f"/proc/{process}/fd", set()
    with contextlib.suppress(FileNotFoundError):  # the process has ended
        for descriptor in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # it has been closed
                found.add(os.readlink(f"{folder}/{descriptor}").removeprefix("socket:[").removesuffix("]"))
    return found

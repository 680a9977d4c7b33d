"""The endpoint that the nodes call: it writes down what came, with the moment of its arrival."""

import heapq
import selectors
import socket
import time
from dataclasses import dataclass
from threading import Thread

REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\nConnection: close\r\n\r\n"
    b'{"success":true}'
)
LOOK = 0.05  # seconds between looks at the slow replies that are due


@dataclass(frozen=True, slots=True)
class Call:
    at: float  # Unix time of this machine, which is that of the database too
    job: str
    run_id: str
    attempt: int
    node: str


class Target:
    """A path that ends in -slow is answered after `slow` seconds."""

    def __init__(self, slow: float) -> None:
        self.calls: list[Call] = []
        self._slow = slow
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listener, selectors.EVENT_READ)
        self._heads: dict[socket.socket, bytes] = {}
        self._later: list[tuple[float, int, socket.socket]] = []
        Thread(target=self._serve, name="target", daemon=True).start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._ready.select(LOOK):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)
            while self._later and self._later[0][0] <= time.monotonic():
                self._answer(heapq.heappop(self._later)[2])

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except BlockingIOError:
                return
            one.setblocking(False)
            self._heads[one] = b""
            self._ready.register(one, selectors.EVENT_READ)

    def _read(self, one: socket.socket) -> None:
        now = time.time()
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        self._heads[one] += data
        if data and b"\r\n\r\n" not in self._heads[one]:
            return
        self._ready.unregister(one)
        head = self._heads.pop(one).decode(errors="replace")
        if not data:  # connected ahead, and not called
            one.close()
            return
        line, *lines = head.split("\r\n")
        fields = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        node = fields.get("user-agent", "").rpartition(" ")[2]
        self.calls.append(
            Call(now, fields["x-tocsin-job"], fields["idempotency-key"], int(fields["x-tocsin-attempt"]), node)
        )
        if line.split()[1].endswith("-slow"):
            heapq.heappush(self._later, (time.monotonic() + self._slow, id(one), one))
        else:
            self._answer(one)

    def _answer(self, one: socket.socket) -> None:
        try:
            one.sendall(REPLY)
        except OSError:
            pass  # the caller was killed
        finally:
            one.close()

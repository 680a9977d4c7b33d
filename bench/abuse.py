"""Scrapes while clients dawdle, do not read, say nothing or talk nonsense, beside quiet scrapes of the same run.

A real exporter with 300 jobs and at most 256 descriptors. In each round every client that was shed dials again,
then one scrape is timed; the quiet scrapes come right before, over the same transport. Then pages are loaded again and
again, those of the history from a real ledger. Run: python bench/abuse.py
"""

import random
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

for folder in ("daemon", "tests", "tests/e2e"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))  # from a checkout, installed or not

import trustme  # noqa: E402

from exporter_rig import Exporter, asleep, exporter, job, scrape  # noqa: E402
from pages_rig import FAILED, site  # noqa: E402

JOBS = 300
DESCRIPTORS = 256
ROUNDS = 20
MEBIBYTE = 1024 * 1024
ASK = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
NOISE = random.Random(1).randbytes(MEBIBYTE)


class Crowd:
    """That many clients. `first` is what each says when it dials, `then` what it adds in each round."""

    def __init__(self, size: int, first: bytes = b"", then: bytes = b"", reads: bool = True) -> None:
        self.size = size
        self.first = first
        self.then = then
        self.reads = reads
        self.shed = 0
        self.clients: list[socket.socket] = []

    def round(self, port: int) -> None:
        present = [client for client in self.clients if self._goes_on(client)]
        self.shed += len(self.clients) - len(present)
        self.clients = present + [self._dial(port) for _ in range(self.size - len(present))]

    def _dial(self, port: int) -> socket.socket:
        client = socket.socket()
        if not self.reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        with suppress(OSError):  # hung up on in the middle
            client.connect(("127.0.0.1", port))
            client.sendall(self.first)
        client.setblocking(False)
        return client

    def _goes_on(self, client: socket.socket) -> bool:
        try:
            if self.then:
                client.send(self.then)
            while self.reads and client.recv(65536):
                pass
            gone = self.reads
        except BlockingIOError:
            return True
        except OSError:
            gone = True
        if gone:
            client.close()
        return not gone

    def leave(self) -> None:
        for client in self.clients:
            client.close()


def scrapes(one: Exporter, before: Callable[[], None]) -> list[float]:
    """Milliseconds of each scrape, all of it read, and over TLS with a handshake of its own."""
    took = []
    for _ in range(ROUNDS):
        before()
        began = time.perf_counter()
        scrape(one)
        took.append((time.perf_counter() - began) * 1000)
    return took


CROWDS = {
    "200 drip a byte a round": (False, Crowd(200, b"GET /metrics HTTP/1.1\r\nX-Drip: ", b"x")),
    "50 ask and never read": (False, Crowd(50, ASK, reads=False)),
    "300 are idle": (False, Crowd(300)),
    "request lines of 1 MB": (False, Crowd(1, b"GET /" + b"a" * MEBIBYTE + b" HTTP/1.1\r\n\r\n")),
    "1 MB of random bytes": (False, Crowd(1, NOISE)),
    "300 never shake hands (TLS)": (True, Crowd(300)),
    "plain HTTP to the TLS port": (True, Crowd(50, ASK)),
}


READERS = 5  # of a page, who ask again as soon as they have it
PAGES = ("/", "/jobs/sla-check", "/runs", "/runs?outcome=failed", f"/runs/{FAILED}", "/nope")


def main() -> None:
    print(f"{JOBS} jobs, {DESCRIPTORS} descriptors, {ROUNDS} scrapes each\n")
    print("| clients | scrape, median | × quiet | slowest | memory after | dialled again |")
    print("|---|---:|---:|---:|---:|---:|")
    authority = trustme.CA()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    for name, (over_tls, crowd) in CROWDS.items():
        with tempfile.TemporaryDirectory() as folder:
            issued = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
            issued.write_to_path(f"{folder}/server.pem")
            more, tls = ('listen_cert = "server.pem"', trusting) if over_tls else ("", None)
            jobs = asleep(*(job(f"job-{number}") for number in range(JOBS)))
            with exporter(Path(folder) / "log", *jobs, files=DESCRIPTORS, more=more, tls=tls) as one:
                press(one, name, crowd)
    for path in PAGES:
        with tempfile.TemporaryDirectory() as folder, site(Path(folder), JOBS, files=DESCRIPTORS) as one:
            ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n".encode()
            press(one, f"{READERS} load {path.replace(FAILED, 'RUN_ID')} again and again", Crowd(READERS, ask))


def press(one: Exporter, name: str, crowd: Crowd) -> None:
    until_ready = time.monotonic() + 60
    while one.ask("/readyz")[0] != 200 and time.monotonic() < until_ready:
        time.sleep(0.1)
    quiet = scrapes(one, lambda: None)
    before = one.memory()
    pressed = scrapes(one, lambda: crowd.round(one.port))
    memory = one.memory() - before
    crowd.leave()
    median, slowest = statistics.median(pressed), max(pressed)
    print(
        f"| {name} | {median:.1f} ms | {median / statistics.median(quiet):.1f} | {slowest:.0f} ms "
        f"| {memory / MEBIBYTE:+.0f} MB | {crowd.shed} |",
        flush=True,
    )


if __name__ == "__main__":
    main()

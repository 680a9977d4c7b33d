"""The sink from the runner's side: built, started, and watched through its mapped log."""

import mmap
import subprocess
import tempfile
from pathlib import Path

from punctuality.tree import spent

HERE = Path(__file__).parent
HEAD, RECORD = 64, 24  # bytes: struct head and struct record in sink.c
SECRET = "the-secret-of-the-benchmark"


class Broken(Exception):
    """The benchmark cannot go on: why."""


def build(name: str, cache: Path, *libraries: str) -> Path:
    """c/NAME.c as a program. Raises Broken with what the compiler said."""
    source, program = HERE / "c" / f"{name}.c", cache / name
    words = ["gcc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(program), str(source), *libraries]
    try:
        made = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Broken("gcc is not here (apt-get install gcc libc6-dev libssl-dev)") from None
    if made.returncode:
        raise Broken(f"cannot build {source}:\n{made.stderr[-2000:]}")
    return program


def certificate(cache: Path) -> tuple[Path, Path]:
    """A certificate for localhost and 127.0.0.1 that signs itself (ECDSA P-256), and its key."""
    cert, key = cache / "sink.pem", cache / "sink.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


class Sink:
    """A running sink. Use as a context manager."""

    def __init__(self, cache: Path) -> None:
        self.certificate, key = certificate(cache)
        self.log = Path(tempfile.mkstemp(prefix="sink-", suffix=".log", dir=cache)[1])
        program = build("sink", cache, "-lssl", "-lcrypto")
        self.process = subprocess.Popen(
            [program, self.log, SECRET, self.certificate, key],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        ports = self.process.stdout.readline().split()
        if len(ports) != 2:
            raise Broken("the sink did not start")
        self.plain, self.tls = map(int, ports)
        with self.log.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate()
        self.map.close()
        self.log.unlink()

    def totals(self) -> dict[str, int]:
        """Since the start. Requests: all, without a kernel stamp (unstamped), with a wrong secret (refused)."""
        names = ("requests", "connections", "handshakes", "unstamped", "refused", "broken")
        with memoryview(self.map)[:HEAD] as head, head.cast("Q") as numbers:
            return dict(zip(names, numbers, strict=False))

    def count(self) -> int:
        return self.totals()["requests"]

    def records(self, start: int) -> list[tuple[int, float, float]]:
        """(job, arrived, seen) of every request from number `start` on; epoch seconds."""
        end = self.count()
        with memoryview(self.map)[HEAD + start * RECORD : HEAD + end * RECORD] as rows, rows.cast("q") as numbers:
            values = numbers.tolist()
        return [
            (job, arrived / 1e9, seen / 1e9)
            for arrived, seen, job in zip(values[::3], values[1::3], values[2::3], strict=True)
        ]

    def cpu(self) -> float:
        return spent(self.process.pid)

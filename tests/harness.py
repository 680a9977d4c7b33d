"""What the tests of real processes share: an endpoint that records, a daemon to start, and polling."""

import contextlib
import html
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

from tocsin.ipc.actions import Requested
from tocsin.ipc.channel import AnyChannel
from tocsin.ipc.control import Answer, Request
from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.job import FromJob, ToJob
from tocsin.ipc.ledger import FromLedger, ToLedger
from tocsin.ipc.notifier import ToNotifier

SECRET = "correct-horse-battery-staple"
TOCSIN = Path(sys.executable).parent / "tocsin"
PATIENCE = 30.0  # seconds until a test gives up: a bound against hanging, not an expectation
T = TypeVar("T")
ANYTHING: Callable[[bytes], Any] = msgspec.json.Decoder(
    FromJob | ToJob | FromLedger | ToLedger | ToExporter | ToNotifier | Requested | Request | Answer
).decode
Ends = tuple[AnyChannel, AnyChannel]
STARTED: "set[Daemon]" = set()  # and not waited for: one that dies meanwhile ends every waiting


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """This process can open nothing meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def until(found: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Poll until `found` returns something true, and return it."""
    give_up = time.monotonic() + patience
    while True:
        result = found()
        if result:
            return result
        for daemon in STARTED:
            assert daemon.process is not None
            assert not daemon.process.poll(), f"the daemon died:\n{daemon.log()[-3000:]}"
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {patience:g} s in vain for {what}; last: {result!r}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Call:
    """One request as the endpoint saw it."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoint:
    """A real HTTP server on loopback that records each request; `answer` makes (status, headers, body)."""

    port: int = field(default_factory=free_port)
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[Call], tuple[int, dict[str, str], bytes]] = field(default=lambda _: sla_checked(1))
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, job: str) -> list[Call]:
        return [call for call in self.calls if call.headers["x-tocsin-job"] == job]

    def start(self) -> None:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(time.time(), self.command, self.path, headers, self.rfile.read(length))
                endpoint.calls.append(call)
                status, more, body = endpoint.answer(call)
                self.send_response(status)
                for name, value in {**more, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024  # connections not yet accepted: 200 jobs may call at once

            def handle_error(self, *_: Any) -> None:
                pass  # a caller that was killed

        self.server = Server(("127.0.0.1", self.port), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def sla_checked(unassigned: int) -> tuple[int, dict[str, str], bytes]:
    """The reply of the ticketing app."""
    body = {"success": True, "unassignedCount": unassigned, "timestamp": "2026-01-01T00:00:00Z", "durationMs": 4}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def disguises(secret: str) -> set[str]:
    """How writers of URLs, JSON and HTML put a text down."""
    percent = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    in_json = json.dumps(secret)[1:-1]
    by_number = "".join(char if char.isalnum() else f"\\u{ord(char):04X}" for char in secret)  # System.Text.Json
    in_html = html.escape(secret)
    by_code = "".join(char if char.isalnum() else f"&#x{ord(char):X};" for char in secret)  # Handlebars
    return {
        secret,
        *percent,
        *(quote(one, safe="") for one in percent),
        *(re.sub("%..", lambda escape: escape[0].lower(), one) for one in percent),
        in_json,
        json.dumps(in_json)[1:-1],
        in_json.replace("/", "\\/"),  # PHP
        by_number,
        in_html,
        html.escape(in_html),
        in_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        by_code,
    }


class Held:
    """An endpoint's answer that waits until it is let go."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.came, self.go = Event(), Event()
        endpoint.answer = self

    def __call__(self, _: object) -> tuple[int, dict[str, str], bytes]:
        self.came.set()
        self.go.wait(30)
        return sla_checked(0)


class Daemon:
    """`tocsin run` in a folder of its own, and the commands that talk to it."""

    def __init__(self, folder: Path, endpoint: Endpoint | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.log_file = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.within: list[str] = []  # the words before every command: what enters another mount namespace, perhaps
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "SUPERVISOR_"))},
            "API_BASE_URL": endpoint.url if endpoint else "http://127.0.0.1:1",
            "CRON_SECRET": SECRET,
            "TOCSIN_LISTEN": f"127.0.0.1:{self.port}",
            "TOCSIN_CONFIG": str(folder / "tocsin.toml"),
        }

    def write(self, jobs: str, daemon: str = "") -> None:
        head = f'[daemon]\nlog_level = "debug"\n{daemon}\n[target]\nbase_url = "${{API_BASE_URL}}"\n'
        (self.folder / "tocsin.toml").write_text(head + jobs)

    def start(self, *, stdout: Any = None) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, TOCSIN, "run"], cwd=self.folder, env=self.environment, stdout=stdout or log, stderr=log
            )
        STARTED.add(self)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def said(self, words: str) -> None:
        until(lambda: words in self.log(), f"{words!r} in the log:\n{self.log()[-3000:]}")

    def children(self) -> dict[str, int]:
        """Title -> pid of the living children, as ps shows them ("job sla-check", "ledger")."""
        found = {}
        for entry in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            try:
                title = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
            if title.startswith("tocsin: "):
                found[title.removeprefix("tocsin: ")] = int(entry)
        return found

    def child(self, title: str, *, other_than: int = 0) -> int:
        return until(
            lambda: ((pid := self.children().get(title, 0)) != other_than and pid) or None,
            f"the process {title!r}",
        )

    def kill(self, title: str, number: int = signal.SIGKILL) -> int:
        pid = self.child(title)
        os.kill(pid, number)
        return pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        assert self.process is not None
        STARTED.discard(self)
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM and wait; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()

    def cleanup(self) -> None:
        STARTED.discard(self)
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def run(self, *words: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.within, TOCSIN, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        return json.loads(result.stdout) if result.returncode == 0 else []

    def history(self, *words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json("history", "-n", "100000", *words)
        return rows

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as reply:
            text: str = reply.read().decode()
        return text

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one series, None when it (or the exporter) is not there."""
        try:
            text = self.get("/metrics")
        except OSError:
            return None
        for found in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE):
            held = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or ""))
            if held == labels:
                return float(found[2])
        return None


def fates(rows: list[dict[str, Any]], job: str) -> dict[str, list[str]]:
    """due -> what became of the slot, once for each row (to see that there is exactly one)."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["job"] == job:
            found.setdefault(row["due"], []).append(row["outcome"] or row["reason"] or row["state"])
    return found

"""What the exporter's tests share: made-up jobs and runs, and a real exporter at the end of a real channel."""

import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from harness import free_port, until
from tocsin.config.access import Access
from tocsin.exporter.metrics import Metrics
from tocsin.exporter.pieces import at_once
from tocsin.exporter.render import Memory, render
from tocsin.exporter.replies import ReadBody, Reply, Request, Wanted
from tocsin.exporter.routes import Routes
from tocsin.exporter.state import State
from tocsin.ipc.actions import Action, Answered, FireJob, PauseJob, ReloadConfig, Requested
from tocsin.ipc.channel import Channel, pair
from tocsin.ipc.exporter import ConfigLoaded, JobStatus, LedgerState, ProcessUp, ToExporter, decode_from_exporter
from tocsin.ipc.history import Actions, Answer, NoAnswer, Question
from tocsin.ipc.job import Finished, Sleeping, Stop
from tocsin.ipc.types import Outcome
from tocsin.parent.listener import shown

NOON = 1_795_262_400.0  # Unix seconds: a full hour
MEBIBYTE = 1024 * 1024
OTHER_DESCRIPTORS = 24  # of the exporter beside its clients: loop, listener, channel, log
HOSTILE = "<script>alert(1)</script>\"'&\\\n%s {0} \x00"

OPEN_TO_ALL = Access()

generate_openmetrics: Callable[[CollectorRegistry], bytes] = openmetrics.generate_latest

CHILD = """
import resource, socket, sys
from pathlib import Path
from tocsin import config, log
from tocsin.ipc.channel import Channel, ChannelClosed
from tocsin.exporter.main import main
from tocsin.ipc.exporter import decode_to_exporter
from tocsin.parent.listener import bind
descriptor, settings, files, past = sys.argv[1], config.load(Path(sys.argv[2])), int(sys.argv[3]), sys.argv[4]
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
log.set_up("debug")
try:
    channel = Channel(socket.socket(fileno=int(descriptor)), decode_to_exporter, blocking=False)
    host, access = settings.listen[0], settings.access
    main(channel, bind(*settings.listen), socket.socket(fileno=int(past)), host, access, b"key")
except ChannelClosed:
    print("the parent is gone")
"""

JOB_FILE = """
[daemon]
listen = "{listen}"
{more}
[target]
send_secret = "none"
[jobs.a]
every = "1m"
url = "https://app.example"
"""


def job(name: str = "sla-check", **changes: Any) -> JobStatus:
    """An enabled minute job of which nothing has happened yet, but for `changes`."""
    status = JobStatus(
        name=name,
        schedule="* * * * *",
        timezone="UTC",
        words="every minute",
        method="POST",
        url="https://app.example/api/cron/sla-check",
        host="app.example",
        enabled=True,
        description="",
        timeout=300.0,
        grace=60.0,
        fields=("unassigned",),
        state="starting",
        counts={},
    )
    return replace(status, **changes)


def run(name: str = "sla-check", outcome: Outcome = "success", due: float = NOON, **changes: Any) -> Finished:
    """The end of a run that was sent on time and took an eighth of a second."""
    finished = Finished(
        job=name,
        due=due,
        run_id=f"run-{due:.0f}",
        trigger="schedule",
        attempt=0,
        outcome=outcome,
        started=due + 0.0002,
        finished=due + 0.1252,
        lateness=0.0002,
        duration=0.125,
    )
    return replace(finished, **changes)


def world(*jobs: JobStatus, now: float = NOON) -> Iterator[ToExporter]:
    """What the parent says first: a job file that loaded, jobs whose processes live, a ledger that is up."""
    yield ConfigLoaded("c0ffee", now)
    yield from jobs
    yield LedgerState(up=True, backlog=0)
    for one in jobs:
        if one.enabled:
            yield ProcessUp("job", one.name, os.getpid(), now)


def asleep(*jobs: JobStatus) -> Iterator[ToExporter]:
    """The same as of now, for a process with the real clock: every job sleeps until an hour from now."""
    now = time.time()
    yield from world(*jobs, now=now)
    yield from (Sleeping(one.name, now + 3600) for one in jobs if one.enabled)


def rendered(memories: Iterable[Memory], openmetrics: bool) -> bytes:
    return b"".join(at_once(render(memories, openmetrics)))


class Told:
    """The metrics after a history."""

    def __init__(self, *history: ToExporter) -> None:
        self.metrics = Metrics()
        self.state = State(NOON, 0.0)
        self.tell(*history)

    def tell(self, *history: ToExporter) -> None:
        for message in history:
            self.metrics.hear(message, self.state.hear(message, 0.0), NOON)

    def measure(self) -> None:
        self.state.want_memory(0.0)
        at_once(self.metrics.measure(at_once(self.state.judged(NOON, 0.0))))

    def assert_equal(self) -> None:
        families = self.metrics.families
        assert rendered(families.memories, openmetrics=False) == generate_latest(families.registry)
        assert rendered(families.memories, openmetrics=True) + b"# EOF\n" == generate_openmetrics(families.registry)


class Asked:
    """A site after a history, at a time that the test sets."""

    def __init__(self, *history: ToExporter, host: str = "127.0.0.1", access: Access = OPEN_TO_ALL) -> None:
        self.clock, self.now = 100.0, NOON
        self.asked: list[Question | Actions] = []  # about the past
        self.acted: list[Action] = []  # what the parent was asked for
        self.parent = Answered(1, "done", "it is done")  # what it answers
        self.past: Answer = NoAnswer(1, "nobody is there")  # what is answered
        self.state = State(NOON, self.clock)
        self.metrics = Metrics()
        self.routes = Routes(self.state, self.metrics, host, access, lambda: self.now, lambda: self.clock, b"key")
        self.tell(*history)

    def tell(self, *history: ToExporter) -> None:
        for message in history:
            self.metrics.hear(message, self.state.hear(message, self.clock), NOON)

    def ask(
        self,
        path: str,
        method: str = "GET",
        host: str = "127.0.0.1:9911",
        accept: str = "",
        authorization: str = "",
        has: str = "",
        takes_parts: bool = False,
        body: bytes = b"",
        **more: Any,
    ) -> Reply:
        """`has` is the tag of the page that the browser has."""
        path, _, query = path.partition("?")
        more.setdefault("peer", "127.0.0.1")
        more |= {"if_none_match": has, "takes_parts": takes_parts}
        reply = self.routes.answer(Request(method, path, query, host, accept, authorization, **more))
        while isinstance(reply, Wanted):
            match reply.question:
                case ReadBody():
                    reply = reply.then(body)
                case FireJob() | PauseJob() | ReloadConfig() as action:
                    self.acted.append(action)
                    reply = reply.then(self.parent)
                case question:
                    self.asked.append(question)
                    reply = reply.then(self.past)
        if not isinstance(reply, Reply):
            reply = at_once(reply)
        return dataclasses.replace(reply, body=b"".join((reply.body, *reply.more)), more=())

    def json(self, path: str) -> tuple[int, Any]:
        reply = self.ask(path)
        assert reply.content_type == "application/json; charset=utf-8"
        assert reply.headers["Cache-Control"] == "no-store"
        return reply.status, json.loads(reply.body)


class Client:
    """Who asks the exporter at a port of loopback, over TLS when there is some."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.tls = tls

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, headers=named)
            reply = connection.getresponse()
            return reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def answers(self) -> bool:
        try:
            return self.ask("/healthz")[0] == 200
        except OSError:
            return False

    def metric(self, series: str) -> float | None:
        """The value of a series, written as in the text format."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.ask("/metrics")[2].decode(), re.MULTILINE)
        return float(found[1]) if found else None


class Exporter(Client):
    """A real process; this one is its parent. `files` is its limit of open descriptors, `more` stands in the
    [daemon] of its job file (in the log's folder), and who asks it over TLS does so with `tls`."""

    def __init__(
        self,
        log: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        files: int = 0,
        more: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(port or free_port(), tls)
        job_file = log.with_name(f"{log.name}.toml")
        job_file.write_text(JOB_FILE.format(listen=shown(host, self.port), more=more))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        self.log = log
        self.stopped = False
        ours, theirs = pair()
        asked, self.asked = pair()  # its questions about the past come to the second
        self.channel: Channel[ToExporter, Requested] = Channel(ours, decode_from_exporter, blocking=True)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(theirs.fileno()), str(job_file), str(files), str(asked.fileno())],
                env=environment,
                pass_fds=[theirs.fileno(), asked.fileno()],
                stdout=output,
                stderr=output,
            )
        theirs.close()
        asked.close()

    def send(self, *messages: ToExporter) -> None:
        for message in messages:
            self.channel.send(message)

    def memory(self) -> int:
        """Bytes that the process holds (RSS)."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> None:
        """As the parent does it; once."""
        if not self.stopped:
            assert self.process.poll() is None, self.log.read_text()
            self.send(Stop())
            until(lambda: self.process.poll() is not None, "the exporter to stop")
            assert self.process.returncode == 0, self.log.read_text()
        self.stopped = True

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.channel.close()
        self.asked.close()


@contextmanager
def exporter(
    log: Path, *messages: ToExporter, files: int = 0, more: str = "", tls: ssl.SSLContext | None = None
) -> Iterator[Exporter]:
    """An exporter that answers, told these messages."""
    one = Exporter(log, files=files, more=more, tls=tls)
    try:
        until(one.answers, "the exporter to answer")
        one.send(*messages)
        yield one
        one.stop()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        one.end()


@contextmanager
def crowd(one: Exporter, size: int, first_words: bytes = b"", buffer: int = 0) -> Iterator[list[socket.socket]]:
    """That many connections at once, each with its first words said; `buffer` bounds what it receives unread."""
    with ExitStack() as opened:
        clients = []
        for _ in range(size):
            client = opened.enter_context(socket.socket())
            if buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.settimeout(20)
            with suppress(ConnectionError):  # one that was shed already
                client.connect(("127.0.0.1", one.port))
                client.sendall(first_words)
            clients.append(client)
        yield clients


def scrape(one: Exporter, **headers: str) -> None:
    status, _, body = one.ask("/metrics", "GET", None, **headers)
    assert status == 200
    assert body.count(b"tocsin_job_running{") > 0


def is_gone(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True

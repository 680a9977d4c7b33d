"""The tables of docs/calls.md, run: every server there, called from a child process that is measured."""

import os
import pickle
import re
import select
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest
import trustme

import caller
from caller import Order, Report
from harness import Daemon, disguises, until
from hostile_cases import nobody
from hostile_server import CASES, OK, PATIENCE, SECRET, Case, FullBacklog, HostileServer, Peer, json
from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.jobfile.values import LEAST_MEMORY

PAGE = Path(__file__).parents[2] / "docs" / "calls.md"
HEADER = ["the server", "outcome", "tries", "timeout", "memory", "what the run says"]
# How many addresses of the host take no connection.
DEAD = {"is at a dead address": 1, "is at four dead addresses": 4}
DEAD |= {"has a dead address, and another that refuses": 1, "has a dead address, and another that answers": 1}
SLACK = 10.0  # seconds over its deadline after which a call counts as hanging: no measurement, machines are slow


def rows() -> dict[str, list[str]]:
    """The rows of the page's tables of servers, by server."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells == HEADER)
        if inside and cells != HEADER and not line.startswith("|---"):
            assert len(cells) == len(HEADER), line
            assert cells[0] not in found, line
            found[cells[0]] = cells[1:]
    return found


ROWS = rows()


class Calling:
    """The process that calls, kept for all cases."""

    def __init__(self, errors: IO[bytes]) -> None:
        self.errors = errors
        command = [sys.executable, caller.__file__]
        where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0, env=where
        )

    def order(self, order: Order) -> Report:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(pickle.dumps(order))
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise AssertionError("the call does not end")
        report = pickle.load(self.process.stdout)
        assert isinstance(report, Report)
        return report

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calling]:
    with (tmp_path_factory.mktemp("caller") / "stderr").open("w+b", buffering=0) as errors:
        one = Calling(errors)
        yield one
        one.close()


@pytest.fixture(scope="module")
def warm() -> Iterator[HostileServer]:
    def serve(peer: Peer) -> None:
        peer.hear()
        peer.say(OK)

    with HostileServer(serve) as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(name: str, authority: trustme.CA) -> ssl.SSLContext:
    signer = trustme.CA() if "unknown authority" in name else authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signer.issue_cert("other.example" if "another host" in name else "localhost").configure_cert(context)
    return context


def set_up(
    name: str, one: Case, stack: ExitStack, authority: trustme.CA
) -> tuple[int, tuple[tuple[str, int], ...] | None]:
    """The port to call, and what the host's name resolves to; None: whatever the system says."""
    dead = [stack.enter_context(FullBacklog()).port for _ in range(DEAD.get(name, 0))]
    if name.startswith("is at"):
        return dead[0], tuple(("127.0.0.1", port) for port in dead)
    tls = certificate(name, authority) if one.tls else None
    server = stack.enter_context(HostileServer(one.serve, tls))
    port = server.port
    if one.serve is nobody and "label" not in name:
        server.__exit__()
    if "label too long" in name:
        return port, None
    return port, () if "does not resolve" in name else tuple(("127.0.0.1", port) for port in (*dead, port))


def call(
    name: str,
    timeout: float,
    make_job: Callable[..., Job],
    calling: Calling,
    warm: HostileServer,
    authority: trustme.CA,
    tmp_path: Path,
) -> Report:
    one = CASES[name]
    with ExitStack() as stack:
        port, addresses = set_up(name, one, stack, authority)
        changes = dict(one.job)
        url = changes.pop("url", "/api")
        url = f"{'https' if one.https else 'http'}://localhost:{port}{url}" if url.startswith("/") else url
        job = make_job(
            url=url, secret=Secret(SECRET, "query:token", "CRON_SECRET"), timeout=timeout, retries=2, **changes
        )
        trusted = tmp_path / "authority.pem"
        authority.cert_pem.write_to_path(str(trusted))
        warm_up = make_job(url=f"http://127.0.0.1:{warm.port}/")
        return calling.order(Order(job, warm_up, addresses, str(trusted)))


def test_every_server_has_its_row() -> None:
    assert list(ROWS) == list(CASES)
    assert len(ROWS) >= 40


@pytest.mark.parametrize("name", ROWS)
def test_server(
    name: str,
    make_job: Callable[..., Job],
    calling: Calling,
    warm: HostileServer,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    outcome, tries, timeout, memory, says = ROWS[name]
    seconds = float(timeout.removesuffix(" s"))
    calling.errors.seek(0)
    calling.errors.truncate()

    report = call(name, seconds, make_job, calling, warm, authority, tmp_path)

    calling.errors.seek(0)
    written = calling.errors.read().decode()
    finished = report.finished
    assert finished, f"the process died: {written}"
    kind = f": {finished.connection_errors[-1]}" if finished.outcome == "connection_error" else ""
    assert f"{finished.outcome}{kind}" == outcome, finished
    assert report.tries == int(tries), finished
    assert finished.retries == max(0, report.tries - 1)
    assert matches(finished.detail, "" if says == "–" else says), finished
    assert report.seconds < seconds * report.tries + SLACK
    assert report.grown < float(memory.removesuffix(" MB")) * 1e6
    for form in disguises(SECRET):
        assert form not in repr(finished)
        assert form not in written


def test_memory_limit_ends_the_call_not_the_process(
    make_job: Callable[..., Job], calling: Calling, warm: HostileServer
) -> None:
    def serve(peer: Peer) -> None:
        peer.hear()
        peer.say(json(b"[" + b"[]," * 1_000_000 + b"[]]"))

    with HostileServer(serve) as server:
        job = make_job(url=f"http://127.0.0.1:{server.port}/", max_reply=2**22)
        warm_up = make_job(url=f"http://127.0.0.1:{warm.port}/")
        free, bound = (calling.order(Order(job, warm_up, data_limit=limit)).finished for limit in (0, LEAST_MEMORY))
    assert free
    assert free.outcome == "success"
    assert bound
    assert (bound.outcome, bound.status) == ("invalid_response", 200)
    assert "more memory than is available" in bound.detail


def test_the_process_of_a_job_has_its_memory_limit(running: Callable[[str], Daemon]) -> None:
    daemon = running('[jobs.small]\nschedule = "@yearly"\npath = "/"\nmemory_limit = "64MiB"\n')
    pid = daemon.child("job small")
    limits = until(
        lambda: re.search(r"Max data size +(\d+) +(\d+)", Path(f"/proc/{pid}/limits").read_text()), "a limit"
    )
    assert limits.groups() == (str(64 * 2**20),) * 2


def matches(detail: str, says: str) -> bool:
    """Whether the detail is this text, in which "…" stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, says.split("…"))), detail) is not None

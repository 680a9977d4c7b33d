"""The warmup: calls to a server of the parent's own, which leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import until
from tocsin import config, log
from tocsin.call import connection as connections
from tocsin.call.attempts import Endpoint as Target
from tocsin.call.line import Line
from tocsin.config import Job
from tocsin.job import warmup

# `rehearse` forks, in the daemon from one thread; a worker of pytest-xdist has two, and Python 3.15 sees that.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Noted = Callable[..., list[str]]
HTTPS = '[jobs.b]\nevery = "1h"\nurl = "https://example.invalid/b"\n'


def loaded(tmp_path: Path, text: str = "") -> config.Config:
    file = tmp_path / "tocsin.toml"
    file.write_text(
        '[target]\nbase_url = "http://127.0.0.1:9"\nsecret_env = "CRON_SECRET"\n[jobs.a]\nevery = "1h"\npath = "/a"\n'
        + text
    )
    return config.load(file, {"CRON_SECRET": "a-secret-long-enough-to-be-one"})


def rehearsing(tmp_path: Path, change: str) -> "subprocess.Popen[bytes]":
    """A process that rehearses with this change to the module, and then says which it is."""
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom tocsin import config\nfrom tocsin.job import warmup\n"
        f"{change}"
        "warmup.rehearse(config.load(Path(sys.argv[1]), {'CRON_SECRET': 'a-secret-long-enough-to-be-one'}))\n"
        "os.write(1, b'%d\\n' % os.getpid())\n"
    )
    return subprocess.Popen([sys.executable, "-c", script, tmp_path / "tocsin.toml"], stdout=subprocess.PIPE)


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_all_calls_succeed_and_no_process_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Counted(Target):
        def __init__(self, job: Job) -> None:
            calls.append(job.url)
            assert job.secret is None
            super().__init__(job)

    monkeypatch.setattr(warmup, "Endpoint", Counted)
    before = children()
    warmup.rehearse(loaded(tmp_path, 'headers = { authorization = "Bearer abc" }\nexpect.json = { ok = true }\n'))
    assert len(calls) == 2 * warmup.CALLS  # the plain way and the libraries'
    assert children() == before


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Which of these methods are called, in order."""

    def note(*methods: tuple[Any, str]) -> list[str]:
        called: list[str] = []

        def wrapped(work: Callable[..., Any], name: str) -> Callable[..., Any]:
            def wrapper(*given: Any) -> Any:
                called.append(name)
                return work(*given)

            return wrapper

        for of, name in methods:
            monkeypatch.setattr(of, name, wrapped(getattr(of, name), name))
        return called

    return note


def test_each_scheme_is_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "info", lambda text, **why: pytest.fail(f"{text}: {why}"))
    made: list[str] = []
    call = warmup._call

    def counted(job: Job) -> None:
        made.append(job.url[:6])
        call(job)

    monkeypatch.setattr(warmup, "_call", counted)
    warmup.rehearse(loaded(tmp_path, HTTPS))
    assert sorted(made) == ["http:/"] * 2 * warmup.CALLS + ["https:"] * 2 * warmup.CALLS


def test_both_ways_of_a_call_are_rehearsed(tmp_path: Path, noted: Noted) -> None:
    """A job whose host is a name must not begin cold, nor one whose replies urllib3 reads."""
    ways = noted((Line, "look_up"), (Line, "_addresses"), (connections.Connection, "reply"))
    warmup.rehearse(loaded(tmp_path))
    assert ways == ["look_up", "_addresses", "reply"] * warmup.CALLS


def test_over_tls_too_a_plain_reply_is_read_without_the_libraries(tmp_path: Path, noted: Noted) -> None:
    ways = noted((Line, "_shaken"), (connections.Connection, "reply"))
    warmup.rehearse(loaded(tmp_path, HTTPS))
    assert ways.count("_shaken") == 2 * warmup.CALLS
    assert ways.count("reply") == 2 * warmup.CALLS, "the odd ones, with and without TLS"


def test_without_jobs_there_is_nothing_to_rehearse(tmp_path: Path) -> None:
    warmup.rehearse(loaded(tmp_path, "enabled = false\n"))


def test_where_it_cannot_be_done_that_is_said_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "_REPLY", b"HTTP/1.1 500 Broken\r\n\r\n")
    said: list[str] = []
    monkeypatch.setattr(log, "info", lambda text, **_: said.append(text))
    warmup.rehearse(loaded(tmp_path))
    assert said == ["cannot make a warm-up call: the first calls will be slower"]


def test_a_parent_that_is_killed_meanwhile_leaves_no_server_behind(tmp_path: Path) -> None:
    """The server would hold the lock of the state folder."""
    loaded(tmp_path)
    change = (
        "def wait(job):\n"
        "    children = f'/proc/self/task/{os.getpid()}/children'\n"
        "    print(open(children).read(), flush=True); time.sleep(60)\n"
        "warmup._call = wait\n"
    )
    with rehearsing(tmp_path, change) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert Path(f"/proc/{server}").exists()
        parent.send_signal(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{server}").exists() or "Z" in state(server), "the server's end")


def test_a_server_that_fails_goes_on_as_nobody_else(tmp_path: Path) -> None:
    """Else it would be a second daemon beside the one that forked it, with the same lock."""
    loaded(tmp_path)
    with rehearsing(
        tmp_path, "def fail(*_):\n    raise OSError('the handshake broke off')\nwarmup._serve = fail\n"
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read() == b"%d\n" % parent.pid


def test_a_client_that_gives_up_ends_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = f"""if True:
            import os, socket
            from tocsin.job import warmup
            warmup._serve(socket.socket(fileno={listener.fileno()}), os.getppid())
        """  # in a process of its own: this one has threads, with which nobody should fork
        with subprocess.Popen([sys.executable, "-c", code], pass_fds=[listener.fileno()]) as server:
            try:
                for begun in (b"", warmup.TLS, warmup.TLS + b"\x03\x01\x00\x05hello", b"GET / HT"):
                    with socket.create_connection(listener.getsockname()) as client:
                        client.sendall(begun)
                with socket.create_connection(listener.getsockname()) as client:
                    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
            finally:
                server.kill()


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"

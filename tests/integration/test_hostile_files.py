"""A pipe, a device or a gigabyte where the daemon reads a file: said at once, and the daemon goes on."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Daemon, Endpoint, until

Start = Callable[[str], Daemon]
JOB = '[jobs.a]\nevery = "1s"\npath = "/a"\n'
FILES = {  # what the job file says of it beyond the job
    "tocsin.toml": "",
    ".env": "",
    "secret": 'secret_file = "secret"\n',
    "ca.pem": 'ca_file = "ca.pem"\n',
    "client.pem": 'client_cert = "client.pem"\n',
    "jobs.json": "",
    "bearer": "",
    "server.pem": "",
}
DAEMON = {
    "jobs.json": 'jobs_from = ["jobs.json"]',
    "bearer": 'listen_bearer_file = "bearer"',
    "server.pem": 'listen_cert = "server.pem"',
}


def gigabyte(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(1024**3)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "it is a pipe"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "it is a device"),
    "gigabyte": (gigabyte, "it is larger than"),
}


@pytest.mark.parametrize("name", FILES)
def test_check_and_run_say_what_is_no_file(daemon: Daemon, name: str) -> None:
    daemon.write(FILES[name] + JOB, DAEMON.get(name, ""))
    for make, words in KINDS.values():
        (daemon.folder / name).unlink(missing_ok=True)
        make(daemon.folder / name)
        for command in ("check", "run"):
            said = daemon.run(command)
            assert said.returncode == 2
            assert words in said.stderr
            assert name in said.stderr
    (daemon.folder / name).unlink()


@pytest.mark.parametrize("name", ["tocsin.toml", ".env"])
def test_a_reload_that_meets_a_pipe_is_refused_and_the_daemon_obeys(
    running: Start, endpoint: Endpoint, name: str
) -> None:
    daemon = running(JOB)
    until(lambda: endpoint.calls, "a call")
    (daemon.folder / name).unlink(missing_ok=True)
    os.mkfifo(daemon.folder / name)
    refused = daemon.run("reload")
    assert refused.returncode == 2
    assert f"{daemon.folder / name}: it is a pipe" in refused.stderr
    assert "op run -- tocsin run" in refused.stderr
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.log().count("it is a pipe") == 2, "the same in the log")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "the job to go on")
    assert [one["name"] for one in daemon.json("jobs")] == ["a"]
    assert daemon.stop() == 0


def test_the_systems_certificates_are_no_exception(daemon: Daemon) -> None:
    os.mkfifo(daemon.folder / "bundle")
    daemon.environment["SSL_CERT_FILE"] = str(daemon.folder / "bundle")
    daemon.write(JOB)
    said = daemon.run("check")
    assert said.returncode == 2
    assert "[environment SSL_CERT_FILE]" in said.stderr
    assert "it is a pipe" in said.stderr


def test_a_folder_named_dot_env_is_a_virtual_environment(daemon: Daemon) -> None:
    daemon.write(JOB)
    (daemon.folder / ".env").mkdir()
    assert daemon.run("check").returncode == 0
    shutil.rmtree(daemon.folder / ".env")

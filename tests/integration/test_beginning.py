"""The first moments of `tocsin run`: signals before it can take them, descriptors that are closed, process 1."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Daemon, Endpoint, Held, until

EVERY_SECOND = '[jobs.a]\nevery = "1s"\npath = "/a"\n'
RUN = [sys.executable, "-m", "tocsin", "run"]
Launch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def launch(daemon: Daemon) -> Launch:
    def launch(command: list[str], jobs: str = EVERY_SECOND) -> "subprocess.Popen[bytes]":
        daemon.write(jobs)
        with daemon.log_file.open("ab") as log:
            daemon.process = subprocess.Popen(
                command, cwd=daemon.folder, env=daemon.environment, stdout=log, stderr=subprocess.STDOUT
            )
        return daemon.process

    return launch


def holds_back(pid: int) -> bool:
    """Whether it is past what Python does before the first line of the program (20 ms or so)."""
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) & 1 << signal.SIGHUP - 1)


@pytest.mark.parametrize("jobs", [EVERY_SECOND, EVERY_SECOND + "enabled = false\n"])
def test_no_signal_but_a_stop_ends_a_daemon_that_starts(
    daemon: Daemon, launch: Launch, endpoint: Endpoint, jobs: str
) -> None:
    process = launch(RUN, jobs)
    until(lambda: holds_back(process.pid), "the first line of the program")

    def pelted() -> bool:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
        return bool(endpoint.calls) if jobs == EVERY_SECOND else "Tocsin ignores SIGUSR2" in daemon.log()

    until(pelted, "the daemon to be up in spite of it")
    until(lambda: "reloaded" in daemon.log(), "the reload that was asked for")
    assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_a_starting_daemon_without_a_word(daemon: Daemon, launch: Launch, number: signal.Signals) -> None:
    process = launch(RUN)
    until(lambda: holds_back(process.pid), "the first line of the program")
    process.send_signal(number)
    assert process.wait(30) in (-number, 0), "0: its handlers stood already"
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(daemon: Daemon, launch: Launch, endpoint: Endpoint, closed: str) -> None:
    launch(["sh", "-c", f'exec "$@" {closed}', "sh", *RUN])
    until(lambda: len(endpoint.calls) >= 2, "calls")
    assert f"process {daemon.pid} " in (daemon.folder / "var" / "tocsin.lock").read_text()
    for pid in (daemon.pid, *daemon.children().values()):
        for descriptor in range(3):
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            assert target in ("/dev/null", str(daemon.log_file)), "no file of the daemon is in their place"
    assert daemon.stop() == 0
    assert ("standard output is closed" in daemon.log()) == (">&-" in closed.split() and "2>&-" not in closed)


def test_process_one_reaps_what_it_adopts(daemon: Daemon, launch: Launch, endpoint: Endpoint) -> None:
    """As `tocsin run` in a container without an init; the shell is one that `docker exec` starts."""
    if os.geteuid() != 0 or not shutil.which("nsenter"):
        pytest.skip("needs root, for a process namespace")
    outer = launch(["unshare", "-pf", "--mount-proc", "--kill-child", *RUN])
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    one = int(until(lambda: children.read_text().split(), "process 1")[0])
    until(lambda: endpoint.calls, "a call")
    command = f'(sleep 0.2; touch "{daemon.folder}/ended") & exit 0'
    for _ in range(3):
        subprocess.run(["nsenter", "-t", str(one), "-p", "-m", "sh", "-c", command], check=True)
    until((daemon.folder / "ended").exists, "what was left behind to end")

    def zombies() -> list[str]:
        states = []
        for pid in Path(f"/proc/{one}/task/{one}/children").read_text().split():
            try:
                states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
            except OSError:
                continue
        return [state for state in states if state == "Z"]

    until(lambda: not zombies(), "no zombie")
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "the job to go on")
    daemon_children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
    os.kill(int(daemon_children[0]), signal.SIGKILL)  # one of its own is reaped as before, and started again
    until(lambda: not zombies() and "process exited" in daemon.log(), "its own child to be reaped")
    os.kill(one, signal.SIGTERM)
    assert outer.wait(30) == 0


def test_ctrl_c_twice_hurries_however_quickly(daemon: Daemon, launch: Launch, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    process = launch(RUN)
    until(held.came.is_set, "a call")
    process.send_signal(signal.SIGINT)
    daemon.said("stopping")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    held.go.set()
    assert daemon.history()[0]["outcome"] == "cancelled"

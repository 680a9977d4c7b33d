"""Somebody deletes, replaces or opens up the state folder of a daemon, running or not."""

import fcntl
import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable

import pytest

from harness import TOCSIN, Daemon, Endpoint, Held, fates, free_port, until
from tocsin.ipc import channel

Start = Callable[[str], Daemon]
EVERY_SECOND = '[jobs.a]\nevery = "1s"\npath = "/a"\n'
ONCE = '[jobs.once]\nschedule = "@yearly"\npath = "/once"\n'


def called_twice(endpoint: Endpoint) -> list[str]:
    due = [call.headers["x-tocsin-scheduled-at"] for call in endpoint.of("a")]
    return [one for one in set(due) if due.count(one) > 1]


def beside(daemon: Daemon) -> "subprocess.CompletedProcess[str]":
    """A second daemon, with an address of its own."""
    return subprocess.run(
        [TOCSIN, "run"],
        cwd=daemon.folder,
        env={**daemon.environment, "TOCSIN_LISTEN": f"127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_deleted_lock_lets_no_second_daemon_in(running: Start, endpoint: Endpoint) -> None:
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    lock = daemon.folder / "var" / "tocsin.lock"
    lock.unlink()
    second = beside(daemon)
    assert second.returncode == 3
    assert f"is held by process {daemon.pid}" in second.stderr
    daemon.said("tocsin.lock was deleted or replaced")
    assert f"process {daemon.pid} " in lock.read_text()
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls, "the job to go on")
    assert daemon.stop() == 0
    assert not called_twice(endpoint)


def test_a_deleted_state_folder_is_made_anew_and_no_run_is_lost(running: Start, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    daemon = running(EVERY_SECOND)
    until(held.came.is_set, "a call")
    shutil.rmtree(daemon.folder / "var")
    second = beside(daemon)
    assert second.returncode == 3
    assert f"is held by process {daemon.pid}" in second.stderr
    daemon.said(f"{daemon.folder / 'var'} was deleted or replaced")
    until(lambda: daemon.run("jobs").returncode == 0, "the control socket")
    until((daemon.folder / "var" / "ledger.sqlite").exists, "a new ledger")
    held.go.set()
    until(lambda: len(endpoint.calls) > 2, "the job to go on")
    assert daemon.stop() == 0
    found = fates(daemon.history(), "a")
    assert {fate for one in found.values() for fate in one} <= {"success", "overlap", "missed"}, found
    assert all(len(one) == 1 for one in found.values())
    assert endpoint.calls[0].headers["x-tocsin-scheduled-at"] in found, "the call that was under way has its row"
    assert not called_twice(endpoint)
    assert ": lost" not in daemon.log()


def test_a_folder_that_another_daemon_has_meanwhile_ends_this_one(running: Start, endpoint: Endpoint) -> None:
    """As on a volume that two containers share, where only the locks of files are common."""
    daemon = running(EVERY_SECOND)
    until(lambda: endpoint.calls, "a call")
    fresh = daemon.folder / "fresh"
    fresh.mkdir(mode=0o700)
    (fresh / "tocsin.lock").write_text("process 1 (another)\n")
    with (fresh / "tocsin.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (daemon.folder / "var").rename(daemon.folder / "old")
        fresh.rename(daemon.folder / "var")
        assert daemon.wait() == 1
    assert "the state folder is lost" in daemon.log()
    assert "is held by process 1 (another)" in daemon.log()
    assert os.listdir(daemon.folder / "var") == ["tocsin.lock"], "nothing is written into what another has"
    assert not called_twice(endpoint)


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused_by_all_who_would_use_it(daemon: Daemon, mode: int) -> None:
    daemon.write(ONCE)
    var = daemon.folder / "var"
    var.mkdir()
    var.chmod(mode)
    victim = daemon.folder / "victim"
    victim.write_text("precious")
    (var / "tocsin.lock").symlink_to(victim)
    (var / "ledger.sqlite").symlink_to(victim)
    refused = daemon.run("run")
    assert refused.returncode == 1
    assert f"chmod 700 {var}" in refused.stderr
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as impostor:
        descriptor = os.open(var, os.O_PATH)
        impostor.bind(f"/proc/self/fd/{descriptor}/control.sock")  # an address has room for 107 bytes
        os.close(descriptor)
        impostor.listen()
        asked = daemon.run("jobs")
    assert asked.returncode == 1
    assert "cannot trust the process that answers" in asked.stderr
    found = {one["check"]: one for one in json.loads(daemon.run("doctor", "--json").stdout)}
    assert found["state.folder"]["status"] == "FAIL"
    assert "every user of this machine may write to it" in found["state.folder"]["detail"]
    assert found["state.folder"]["advice"] == f"run: chmod 700 {var}, or name another `state_dir`"
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["tocsin.lock", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"])
def test_no_link_in_the_folder_is_followed(daemon: Daemon, name: str) -> None:
    """Planted while the folder was open to others, say."""
    daemon.write(ONCE)
    victim = daemon.folder / "victim"
    victim.write_text("precious")
    victim.chmod(0o644)
    (daemon.folder / "var").mkdir(mode=0o700)
    (daemon.folder / "var" / name).symlink_to(victim)
    refused = daemon.run("run")
    assert refused.returncode == 1
    assert f"{name}: it is a link, which Tocsin does not use there; remove it" in refused.stderr + refused.stdout
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("precious", 0o644)


def test_all_that_the_daemon_makes_is_for_its_user_alone(daemon: Daemon) -> None:
    daemon.write(ONCE)
    before = os.umask(0)
    try:
        daemon.start()
    finally:
        os.umask(before)
    until(lambda: daemon.run("jobs").returncode == 0, "the daemon")
    until((daemon.folder / "var" / "ledger.sqlite-wal").exists, "the ledger")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (daemon.folder / "var").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE((daemon.folder / "var").stat().st_mode) == 0o700
    assert daemon.stop() == 0


def test_a_stranger_at_the_control_socket_is_not_asked(daemon: Daemon) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user for a moment")
    daemon.write(ONCE)
    (daemon.folder / "var").mkdir(mode=0o700)
    with channel.listen(daemon.folder / "var", "control.sock") as stranger:
        os.seteuid(65534)
        try:
            stranger.listen()  # whose socket it is the kernel notes here
        finally:
            os.seteuid(0)
        asked = daemon.run("jobs")
    assert asked.returncode == 1
    assert "a process of user 65534 answers" in asked.stderr

"""The state folder's three locks, each alone: no deletion lets in a second daemon."""

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import no_descriptors_left
from tocsin import linux
from tocsin.parent import state_folder
from tocsin.parent.loop import Loop
from tocsin.parent.state_folder import LOCK, HeldByAnother, StateFolder, held_by

Take = Callable[[], StateFolder]


@pytest.fixture
def take(tmp_path: Path) -> Iterator[Take]:
    taken = []

    def take() -> StateFolder:
        taken.append(StateFolder(tmp_path / "var", patience=0.0))
        return taken[-1]

    yield take
    for one in taken:
        one.close()


def nameless(folder: StateFolder) -> None:
    """As for a daemon in another network or mount namespace."""
    for one in folder.names:
        one.close()
    folder.names.clear()


def test_one_at_a_time_and_who(take: Take, tmp_path: Path) -> None:
    first = take()
    assert held_by(tmp_path / "var") == (tmp_path / "var" / LOCK).read_text().strip()
    assert f"process {os.getpid()} (tocsin run, since " in str(held_by(tmp_path / "var"))
    with pytest.raises(HeldByAnother, match=f"is held by process {os.getpid()} "):
        take()
    first.close()
    assert held_by(tmp_path / "var") is None
    take()


@pytest.mark.parametrize("lost", ["lock", "names", "lock and names", "folder", "folder moved"])
def test_each_lock_is_enough(take: Take, tmp_path: Path, lost: str) -> None:
    first, var = take(), tmp_path / "var"
    if "lock" in lost:
        (var / LOCK).unlink()
    if "names" in lost:
        nameless(first)
    if lost == "folder":
        shutil.rmtree(var)
    if lost == "folder moved":
        var.rename(tmp_path / "elsewhere")
    with pytest.raises(HeldByAnother, match="is held by"):
        take()


def test_a_lock_that_is_gone_or_another_file_is_made_anew(take: Take, tmp_path: Path) -> None:
    first, lock = take(), tmp_path / "var" / LOCK
    assert first.look() == ""
    lock.unlink()
    assert "tocsin.lock was deleted or replaced" in first.look()
    assert held_by(tmp_path / "var")
    lock.unlink()
    lock.write_text("another")
    assert first.look()
    assert f"process {os.getpid()}" in lock.read_text()
    assert first.look() == ""


@pytest.mark.parametrize("moved", [False, True])
def test_a_folder_that_is_gone_is_made_anew(take: Take, tmp_path: Path, moved: bool) -> None:
    first, var = take(), tmp_path / "var"
    if moved:
        var.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(var)
    assert f"{var} was deleted or replaced" in first.look()
    assert stat.S_IMODE(var.stat().st_mode) == 0o700
    assert held_by(var)
    assert first.look() == ""
    nameless(first)
    with pytest.raises(HeldByAnother):
        take()


def test_a_folder_that_another_daemon_has_meanwhile_is_not_taken(take: Take, tmp_path: Path) -> None:
    """One that the names do not keep out: it runs in another container, on the same volume."""
    first, var = take(), tmp_path / "var"
    nameless(first)
    shutil.rmtree(var)
    take()
    with pytest.raises(HeldByAnother):
        first.look()
    assert held_by(var)


def test_the_name_is_that_of_the_folder_behind_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "var").symlink_to("real")
    first = StateFolder(tmp_path / "var", patience=0.0)
    shutil.rmtree(tmp_path / "real")
    (tmp_path / "real").mkdir()
    for path in (tmp_path / "var", tmp_path / "real"):
        with pytest.raises(HeldByAnother):
            StateFolder(path, patience=0.0)
    (tmp_path / "var").unlink()
    with pytest.raises(HeldByAnother):
        StateFolder(tmp_path / "var", patience=0.0)
    first.close()


PLANTS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "link": (lambda lock, victim: lock.symlink_to(victim), "it is a link"),
    "hard link": (lambda lock, victim: lock.hardlink_to(victim), "it is a hard link"),
    "pipe": (lambda lock, _: os.mkfifo(lock), "it is not a regular file"),
    "folder": (lambda lock, _: lock.mkdir(), "Is a directory"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_no_link_is_followed(take: Take, tmp_path: Path, plant: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o644)
    (tmp_path / "var").mkdir(mode=0o700)
    make, why = PLANTS[plant]
    make(tmp_path / "var" / LOCK, victim)
    with pytest.raises(OSError, match=why):
        take()
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("precious", 0o644)
    assert held_by(tmp_path / "var") is None


def test_a_folder_that_others_may_write_is_not_taken(take: Take, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var").chmod(0o1777)
    with pytest.raises(OSError, match="chmod 700"):
        take()
    assert not (tmp_path / "var" / LOCK).exists()


def test_a_child_holds_all_of_them(take: Take, tmp_path: Path) -> None:
    first = take()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=first.descriptors)
    first.close()
    with pytest.raises(HeldByAnother):
        take()
    shutil.rmtree(tmp_path / "var")
    with pytest.raises(HeldByAnother):
        take()
    child.communicate(b"\n")
    take()


@pytest.mark.parametrize("how", ["does not listen", "lets nobody in", "answers"])
def test_a_stranger_who_has_the_name_keeps_nobody_out(take: Take, tmp_path: Path, how: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user for a moment")
    (name,) = state_folder._names(tmp_path / "var")
    with contextlib.ExitStack() as stack:
        os.seteuid(65534)
        try:
            stranger = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            stranger.bind(name)
            if how != "does not listen":
                stranger.listen(0 if how == "lets nobody in" else 8)
        finally:
            os.seteuid(0)
        if how == "lets nobody in":
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)).connect(name)
        folder = take()
        assert folder.names == []
        with pytest.raises(HeldByAnother, match=f"process {os.getpid()}"):
            take()


def test_who_made_a_socket_is_known() -> None:
    name = b"\0tocsin-test-%d" % os.getpid()
    assert linux.owner_of_unix_socket(name) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bound:
        bound.bind(name)
        assert linux.owner_of_unix_socket(name) == os.geteuid()


def run_a_moment(loop: Loop) -> int:
    """How often it turned in the moment."""
    turns, until = 0, time.monotonic() + 0.1

    def work() -> bool:
        nonlocal turns
        turns, loop.done = turns + 1, time.monotonic() >= until
        return False

    loop.done = False
    loop.at(until, lambda: None)
    loop.run(work)
    return turns


def test_who_asks_for_the_name_waits_where_there_is_no_descriptor_to_hang_up_with(take: Take, tmp_path: Path) -> None:
    first, loop = take(), Loop()
    first.answer(loop)
    (name,) = state_folder._names(tmp_path / "var")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as curious:
        curious.connect(name)
        with no_descriptors_left():
            assert run_a_moment(loop) < 20, "it does not try again and again"
        loop.done = False
        loop.at(loop.now() + state_folder.REST + 0.1, lambda: setattr(loop, "done", True))
        loop.run(lambda: False)
        curious.settimeout(5)
        assert curious.recv(1) == b""


def test_who_asks_for_the_name_is_hung_up_on(take: Take) -> None:
    first, loop = take(), Loop()
    first.answer(loop)
    for _ in range(20):  # more than the kernel keeps waiting
        with pytest.raises(HeldByAnother):
            take()
        run_a_moment(loop)

"""The calls to Linux, on real descriptors, timers and forks."""

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tocsin import linux

PATIENCE = 30.0  # seconds until a test gives up on another process


def in_child(work: Callable[[], int]) -> int:
    """Exit code of `work` in a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_timer_wakes_at_its_instant_and_not_before() -> None:
    timer = linux.timerfd()
    times = None
    while times is None:
        until = time.time() + 0.05
        linux.arm_timerfd(timer, until)
        assert select.select([timer], [], [], PATIENCE)[0] == [timer]
        woken = time.time()
        try:
            times = int.from_bytes(os.read(timer, 8), "little")
        except OSError as error:
            if error.errno != errno.ECANCELED:  # as it is when another test has set this machine's clock
                raise
    assert woken >= until
    assert times == 1
    os.close(timer)


def test_an_instant_that_has_passed_wakes_at_once() -> None:
    timer = linux.timerfd()
    for until in (0.0, 1.0, time.time() - 0.5, float(int(time.time()))):
        linux.arm_timerfd(timer, until)
        assert select.select([timer], [], [], PATIENCE)[0] == [timer]
    os.close(timer)


def test_arming_anew_replaces_the_old_instant() -> None:
    timer = linux.timerfd()
    linux.arm_timerfd(timer, time.time() - 1)
    linux.arm_timerfd(timer, time.time() + 3600)
    assert select.select([timer], [], [], 0)[0] == []
    with pytest.raises(BlockingIOError):
        os.read(timer, 8)
    linux.arm_timerfd(timer, 1e13)  # the year 318857
    assert select.select([timer], [], [], 0)[0] == []
    os.close(timer)


def test_a_timer_is_not_inherited_by_programs() -> None:
    timer = linux.timerfd()
    assert not os.get_inheritable(timer)
    os.close(timer)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        linux.arm_timerfd(timer, 1.0)


def test_sharp_timers_are_to_be_had() -> None:
    def work() -> int:
        linux.sharpest_timers()
        with open("/proc/self/timerslack_ns") as file:
            return int(file.read())

    assert in_child(work) == 1


@pytest.mark.parametrize("kept", [(0,), (0, 1, 2), (1, 5), (2, 6, 6), (), (4, 5), (9,)])
def test_every_descriptor_but_those_kept_is_closed(kept: tuple[int, ...]) -> None:
    def work() -> int:
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in range(10):
            os.dup2(null, descriptor)
        linux.close_all_but(kept)
        still = set()
        for descriptor in range(1024):
            try:
                os.fstat(descriptor)
            except OSError:
                continue
            still.add(descriptor)
        return 0 if still == set(kept) else 1

    assert in_child(work) == 0


def test_high_descriptors_are_closed_too() -> None:
    def work() -> int:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 900)
        linux.close_all_but((0, 1, 2, null))
        try:
            os.fstat(900)
        except OSError:
            return 0
        return 1

    assert in_child(work) == 0


def test_a_child_dies_with_its_parent() -> None:
    """The grandchild holds one end of a socket pair: its death is our end-of-file."""
    ours, theirs = socket.socketpair()
    parent = os.fork()
    if parent == 0:
        try:
            ours.close()
            me = os.getpid()
            if os.fork() == 0:
                linux.die_with_parent(me)
                theirs.send(b"protected")
                while True:
                    signal.pause()
            theirs.close()
            while True:
                signal.pause()
        finally:
            os._exit(1)
    theirs.close()
    ours.settimeout(PATIENCE)
    assert ours.recv(100) == b"protected"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert ours.recv(100) == b"", "the grandchild is gone"
    ours.close()


def test_a_child_whose_parent_died_before_it_asked_exits() -> None:
    """Told of a parent that is not (or no longer) its own, it leaves."""
    stranger = os.getpid()  # the grandparent of who asks

    def work() -> int:
        def grandchild() -> int:
            linux.die_with_parent(stranger)
            return 42

        return 0 if in_child(grandchild) == 1 else 2

    assert in_child(work) == 0


def test_a_child_of_a_living_parent_goes_on() -> None:
    parent = os.getpid()

    def work() -> int:
        linux.die_with_parent(parent)
        return 42

    assert in_child(work) == 42


def test_memory_of_a_process() -> None:
    found = linux.resident_memory(os.getpid())
    assert found is not None
    assert found > 1024**2
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert linux.resident_memory(pid) is None


def test_the_kernel_says_whether_something_keeps_the_clock_right() -> None:
    timex = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None).adjtimex(timex) < 0:
        assert linux.clock_is_synchronised() is None
        return
    (status, seconds) = struct.unpack_from("=40xi28xq", timex.raw)  # adjtimex(2), where a long has 8 bytes
    assert abs(seconds - time.time()) < 60  # so the places are right
    assert linux.clock_is_synchronised() == (not status & 0x40)


HOLES = """
import ctypes
from tocsin import linux
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
taken = [libc.malloc(size) for size in (24, 100, 700, 3000, 20_000) for _ in range(200)]
for one in taken[::2]:
    libc.free(one)
linux.fill_heap()
end = libc.malloc(100)
print(end > max(taken))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc (2.33 or newer)")
def test_nothing_is_free_but_the_end_of_the_heap() -> None:
    """In a process of its own, which keeps what it takes."""
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"

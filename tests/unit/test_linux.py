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

import pytest

from harness import until
from tocsin import linux

PATIENCE = 30.0  # seconds until a test gives up on another process


def alone(code: str) -> int:
    """Exit code of a process that runs this. It may fork, which a test's worker must not: that has several threads."""
    return subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL).returncode


def test_a_timer_wakes_at_its_instant_and_not_before() -> None:
    timer = linux.timerfd()
    times = None
    while times is None:
        instant = time.time() + 0.05
        linux.arm_timerfd(timer, instant)
        assert select.select([timer], [], [], PATIENCE)[0] == [timer]
        woken = time.time()
        try:
            times = int.from_bytes(os.read(timer, 8), "little")
        except OSError as error:
            if error.errno != errno.ECANCELED:  # as it is when another test has set this machine's clock
                raise
    assert woken >= instant
    assert times == 1
    os.close(timer)


def test_an_instant_that_has_passed_wakes_at_once() -> None:
    timer = linux.timerfd()
    for instant in (0.0, 1.0, time.time() - 0.5, float(int(time.time()))):
        linux.arm_timerfd(timer, instant)
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


SHARP = """
from tocsin import linux
linux.sharpest_timers()
with open("/proc/self/timerslack_ns") as file:
    raise SystemExit(int(file.read()))
"""


def test_sharp_timers_are_to_be_had() -> None:
    assert alone(SHARP) == 1


CLOSING = """
import os
from tocsin import linux
null = os.open("/dev/null", os.O_RDWR)
for descriptor in range(10):
    os.dup2(null, descriptor)
linux.close_all_but({kept})
still = set()
for descriptor in range(1024):
    try:
        os.fstat(descriptor)
    except OSError:
        continue
    still.add(descriptor)
os._exit(0 if still == set({kept}) else 1)
"""


@pytest.mark.parametrize("kept", [(0,), (0, 1, 2), (1, 5), (2, 6, 6), (), (4, 5), (9,)])
def test_every_descriptor_but_those_kept_is_closed(kept: tuple[int, ...]) -> None:
    assert alone(CLOSING.format(kept=kept)) == 0


HIGH = """
import os
from tocsin import linux
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 900)
linux.close_all_but((0, 1, 2, null))
try:
    os.fstat(900)
except OSError:
    os._exit(0)
os._exit(1)
"""


def test_high_descriptors_are_closed_too() -> None:
    assert alone(HIGH) == 0


PROTECTED = """
import os, signal, socket
from tocsin import linux
ours = socket.socket(fileno={descriptor})
me = os.getpid()
if os.fork() == 0:
    linux.die_with_parent(me)
    ours.send(b"protected")
else:
    ours.close()
while True:
    signal.pause()
"""


def test_a_child_dies_with_its_parent() -> None:
    """The grandchild holds one end of a socket pair: its death is our end-of-file."""
    ours, theirs = socket.socketpair()
    code = PROTECTED.format(descriptor=theirs.fileno())
    with ours, subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()]) as parent:
        theirs.close()
        ours.settimeout(PATIENCE)
        try:
            assert ours.recv(100) == b"protected"
        finally:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
        assert ours.recv(100) == b"", "the grandchild is gone"


FORKED = """
import os
from tocsin import linux
stranger, parent = os.getppid(), os.getpid()
pid = os.fork()
if pid == 0:
    try:
        linux.die_with_parent({told})
        os._exit(42)
    finally:
        os._exit(99)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_child_whose_parent_died_before_it_asked_exits() -> None:
    """Told of a parent that is not (or no longer) its own, it leaves."""
    assert alone(FORKED.format(told="stranger")) == 1


def test_a_child_of_a_living_parent_goes_on() -> None:
    assert alone(FORKED.format(told="parent")) == 42


def test_memory_of_a_process() -> None:
    found = linux.resident_memory(os.getpid())
    assert found is not None
    assert found > 1024**2
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert linux.resident_memory(process.pid) is None


def test_memory_that_a_process_has_for_itself() -> None:
    """What a child shares with its parent is not its own."""
    ours, theirs = os.pipe()
    block = bytearray(os.urandom(1024) * 32 * 1024)  # 32 MB that a fork shares
    if not (child := os.fork()):
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    try:
        resident, private = linux.resident_memory(child), linux.private_memory(child)
        assert resident
        assert private
        assert resident > len(block) > 4 * private
    finally:
        os.close(theirs)
        os.close(ours)
        os.waitpid(child, 0)
    assert linux.private_memory(child) is None


def test_the_state_of_a_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            until(lambda: linux.process_state(process.pid) == "S", "it to sleep")
            process.send_signal(signal.SIGSTOP)
            until(lambda: linux.process_state(process.pid) == "T", "it to stop")
        finally:
            process.kill()
    assert linux.process_state(process.pid) == ""


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

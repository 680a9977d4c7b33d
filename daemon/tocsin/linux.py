"""A few calls to Linux that Python's library does not have, or not before 3.13."""

import ctypes
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_the_gil = ctypes.PyDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
# Plain numbers: each use of an enum in a C function makes Python look up half of the enum.
_SIGKILL, _SIG_SETMASK = int(signal.SIGKILL), int(signal.SIG_SETMASK)
_PR_SET_TIMERSLACK = 29
_STA_UNSYNC = 0x0040
_CLOCK_REALTIME = 0
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
FARTHEST = 9e9  # Unix time (the year 2255): Python 3.13 counts timers in 64 bits of nanoseconds
_TIMER_FLAGS = 1 | 2  # TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET
_CAP_SYS_NICE = 23
_PRIORITY = os.sched_param(0)
_SIGSET_SIZE = 128  # bytes of sigset_t (glibc and musl)
_ALL_SIGNALS = b"\xff" * _SIGSET_SIZE
NO_SIGNALS = bytes(_SIGSET_SIZE)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HOLES = (16384, 8192, 4096, 2048, *range(1032, 0, -16))  # bytes to allocate: each size for which glibc keeps a list


Ranges = tuple[tuple[int, int], ...]  # of descriptors: the first one, and the one after the last

_pack_itimerspec = struct.Struct("@llll").pack  # interval and value, each in seconds and nanoseconds


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def die_with_parent(parent: int) -> None:
    """Make the kernel send SIGKILL to this process when its parent, process `parent`, dies (prctl(2)).

    If the parent died before this call, this process already has another parent, and exits here.
    """
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def bare_fork() -> int:
    """fork(2) without Python's own hooks. Raises OSError.

    The hooks of logging, threading and random touch 0.6 MB of pages in each child (measured). Only processes with
    several threads and children that use `random` need them. The parent must have one thread, and block all signals.
    """
    if sys.gettrace() or sys.getprofile():  # a debugger or coverage must notice the child
        return os.fork()
    return _checked(_libc_holding_the_gil.fork())


def block_signals() -> bytes:
    """Block all signals. Returns the argument for `restore_signals`. (Python's wrapper would make enums of them.)"""
    before = ctypes.create_string_buffer(_SIGSET_SIZE)
    _checked(_libc.pthread_sigmask(_SIG_SETMASK, _ALL_SIGNALS, before))
    return before.raw


def restore_signals(before: bytes) -> None:
    _checked(_libc.pthread_sigmask(_SIG_SETMASK, before, None))


def may_yield() -> bool:
    """Whether this process may undo `give_way` (sched_setscheduler(2)): as root, with CAP_SYS_NICE, or with RLIMIT_NICE
    of 20 (LimitNICE=0 in systemd, `nice: 20` in Docker's ulimits)."""
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20:
        return True
    with open("/proc/self/status") as status:
        capabilities = next((line for line in status if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(capabilities.split()[1], 16) >> _CAP_SYS_NICE & 1)


def give_way(on: bool) -> None:
    """Let every other process run first (SCHED_IDLE), or undo that. Raises OSError."""
    if on:
        os.sched_setscheduler(0, os.SCHED_IDLE, _PRIORITY)
        os.sched_yield()  # else the current time slice continues for milliseconds
    else:
        os.sched_setscheduler(0, os.SCHED_OTHER, _PRIORITY)


def sharpest_timers() -> None:
    """Turn off timer slack: by default the kernel may wake a process 50 µs late (prctl(2))."""
    _checked(_libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0))


def timerfd() -> int:
    """Return a descriptor that becomes readable at an instant of the wall clock (timerfd_create(2)). Raises OSError."""
    if sys.version_info >= (3, 13):
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
    return _checked(_libc.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK | _TFD_CLOEXEC))


def arm_timerfd(descriptor: int, until: float) -> None:
    """Wake at Unix time `until`, or at once if somebody sets the clock (then a read fails with ECANCELED)."""
    until = min(until, FARTHEST)
    if sys.version_info >= (3, 13):
        flags = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET
        os.timerfd_settime(descriptor, flags=flags, initial=max(until, 1e-9))
        return
    seconds = int(until)
    spec = _pack_itimerspec(0, 0, seconds, max(1, int((until - seconds) * 1e9)))
    if _libc.timerfd_settime(descriptor, _TIMER_FLAGS, spec, None):
        _checked(-1)


def all_but(kept: Iterable[int]) -> Ranges:
    """Return the ranges of all possible descriptors except these."""
    low, ranges = 0, []
    for descriptor in sorted(set(kept)):
        if descriptor > low:  # os.closerange(0, 0) closes everything (seen with CPython 3.11)
            ranges.append((low, descriptor))
        low = descriptor + 1
    return (*ranges, (low, 2**31 - 1))


def close_ranges(ranges: Ranges) -> None:
    """Close this process's descriptors in these ranges (uses close_range(2))."""
    for low, high in ranges:
        os.closerange(low, high)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor of this process except these."""
    close_ranges(all_but(kept))


def process_state(pid: int) -> str:
    """Return the state letter of proc(5): T is stopped, Z has ended. "" if the process is gone or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split(maxsplit=1)[0].decode()
    except (OSError, IndexError):
        return ""


def private_memory(pid: int) -> int | None:
    """Return the private memory of process `pid` in bytes, which its end would free (smaps_rollup of proc(5)). None if
    there is no such process, or if it belongs to another user."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(b"Private_"))
    except (OSError, IndexError, ValueError):
        return None


def resident_memory(pid: int) -> int | None:
    """Return the memory of process `pid` in bytes (RSS of proc(5)), or None if there is no such process."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return None


_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _REQUEST = 4, 20, 1
_ANY_STATE = _ANY_COOKIE = 0xFFFFFFFF
_SHOW_UID, _UID = 0x40, 7  # UDIAG_SHOW_UID and UNIX_DIAG_UID, since Linux 5.3
_HEADER, _ASKED, _TOLD, _ATTRIBUTE = (struct.Struct(form) for form in ("=LHHLL", "=BBHLLLLL", "=BBBBLLL", "=HH"))


def owner_of_unix_socket(name: bytes) -> int | None:
    """Return the user who bound a socket to this abstract name (sock_diag(7)), whether it listens or not. None if there
    is none, or if the kernel does not say."""
    try:
        with open("/proc/net/unix", "rb") as table:
            named = [line.split() for line in table if line.split()[-1:] == [name.replace(b"\0", b"@", 1)]]
        inodes = [one[6] for one in named if one[6] != b"0"]  # 0: a connection that has not been accepted yet
        if not inodes:
            return None
        asked = _ASKED.pack(socket.AF_UNIX, 0, 0, _ANY_STATE, int(inodes[0]), _SHOW_UID, _ANY_COOKIE, _ANY_COOKIE)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
            kernel.send(_HEADER.pack(_HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + asked)
            said = kernel.recv(4096, socket.MSG_DONTWAIT)
    except OSError:
        return None
    if _HEADER.unpack_from(said)[1] != _SOCK_DIAG_BY_FAMILY:  # an error
        return None
    at = _HEADER.size + _TOLD.size
    while at + _ATTRIBUTE.size <= len(said):
        length, kind = _ATTRIBUTE.unpack_from(said, at)
        if kind == _UID:
            return int.from_bytes(said[at + _ATTRIBUTE.size : at + length], sys.byteorder)
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return None


class _Mallinfo(ctypes.Structure):
    """struct mallinfo2 of mallinfo2(3). Only `keepcost` is used: the free bytes at the end of the heap."""

    _fields_ = (("before", ctypes.c_size_t * 9), ("keepcost", ctypes.c_size_t))


def fill_heap() -> None:
    """Allocate the free gaps between allocations of malloc(3) and keep them, so that children allocate only at the end
    of the heap. In the gaps, each child would copy a few hundred pages. A TLS handshake takes 0.6 MB less this way
    (measured). Does nothing without glibc 2.33 or newer."""
    if not hasattr(_libc, "mallinfo2"):
        return
    _libc.mallinfo2.restype = _Mallinfo
    for size in _HOLES:
        end = _libc.mallinfo2().keepcost
        while _libc.mallinfo2().keepcost == end and _libc.malloc(size):
            pass  # it came from a gap


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2). Only `status` is used."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),  # more than the kernel writes
    )


def clock_is_synchronised() -> bool | None:
    """Whether the kernel's clock is synchronised (adjtimex(2), STA_UNSYNC). None if this process may not ask."""
    timex = _Timex()
    if _libc.adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _STA_UNSYNC

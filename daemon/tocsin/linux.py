"""The few calls to Linux that Python's library lacks, or lacks before 3.13."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29
_CLOCK_REALTIME = 0
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
FARTHEST = 9e9  # Unix time (the year 2255) that Python 3.13 takes for a timer: it counts in 64 bits of nanoseconds
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when its parent, process `parent`, dies (prctl(2)).

    The parent may have died before the call; then this process has a new one already and exits here.
    """
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def sharpest_timers() -> None:
    """Ask the kernel for no timer slack: by default it may wake a process 50 µs late (prctl(2))."""
    _checked(_libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0))


def timerfd() -> int:
    """A descriptor that becomes readable at an instant of the wall clock (timerfd_create(2)). Raises OSError."""
    if sys.version_info >= (3, 13):
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
    return _checked(_libc.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK | _TFD_CLOEXEC))


def arm_timerfd(descriptor: int, until: float) -> None:
    """Wake at Unix time `until`, or at once when someone sets the clock (read then fails with ECANCELED)."""
    until = min(until, FARTHEST)
    if sys.version_info >= (3, 13):
        flags = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET
        os.timerfd_settime(descriptor, flags=flags, initial=max(until, 1e-9))
        return
    seconds = int(until)
    spec = _Itimerspec(_Timespec(0, 0), _Timespec(seconds, max(1, int((until - seconds) * 1e9))))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    _checked(_libc.timerfd_settime(descriptor, flags, ctypes.byref(spec), None))


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor of this process but those (close_range(2) underneath)."""
    low = 0
    for descriptor in sorted(set(kept)):
        if descriptor > low:  # os.closerange(0, 0) closes everything (seen with CPython 3.11)
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 2**31 - 1)


def resident_memory(pid: int) -> int | None:
    """Bytes of memory that process `pid` holds (RSS), or None when there is no such process (proc(5))."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return None

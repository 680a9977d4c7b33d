"""One deadline for a whole call, whatever the server does. The parent can also cancel a call.

urllib3's own timeouts cover only the gaps between reads. The alarm raises an exception that `except Exception` does not
catch. It repeats, in case it was raised where Python ignores exceptions (in a `__del__`). The parent uses SIGKILL if a
call cannot be interrupted from inside (getaddrinfo).
"""

import signal
from types import FrameType

from tocsin.ipc.job import CANCEL

REPEAT = 0.25  # seconds between alarms after the deadline

_running = False  # not an attribute of the class: setting one clears Python's caches of that class
_listening = False


class DeadlinePassed(BaseException):
    """The call took longer than the job's `timeout`."""


class Cancelled(BaseException):
    """The daemon is stopping and its drain time is over."""


class deadline:
    """Raises DeadlinePassed in the block after some seconds, and Cancelled when the parent sends CANCEL. Outside such a
    block both signals do nothing. Main thread only. Blocks do not nest."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        global _running
        if not _listening:
            listen()
        try:
            _running = True
            signal.setitimer(signal.ITIMER_REAL, max(self.seconds, 1e-6), REPEAT)
        except BaseException:  # the alarm itself, if there was no time left
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        global _running
        try:
            _running = False
        finally:  # even if the alarm comes here
            _running = False
            signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(_number: int, frame: FrameType | None) -> None:
    if _running and not _is_leaving(frame):
        raise DeadlinePassed


def _on_cancel(_number: int, frame: FrameType | None) -> None:
    if _running and not _is_leaving(frame):
        raise Cancelled


def _is_leaving(frame: FrameType | None) -> bool:
    """Whether the block is being left. An exception raised at the start of `__exit__`, or in a debugger's hook there,
    would escape the block and leave the deadline running. A starved process may get there later than REPEAT seconds
    after the first alarm."""
    while frame is not None and frame.f_code is not deadline.__exit__.__code__:
        frame = frame.f_back
    return frame is not None


def listen() -> None:
    """Install the handlers, once, in the parent, so that the children need not."""
    global _listening
    if not _listening:
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.signal(CANCEL, _on_cancel)
        _listening = True

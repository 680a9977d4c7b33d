"""One deadline for a whole call, whatever the server does; and the parent can end a call as cancelled.

urllib3's own timeouts cover only the gaps between reads. The alarm raises an exception that no
`except Exception` swallows; it repeats, in case one was raised where Python must ignore it (a `__del__`).
What cannot be interrupted from inside (getaddrinfo) the parent ends with SIGKILL.
"""

import signal
from types import FrameType

from tocsin.ipc.job import CANCEL

REPEAT = 0.25  # seconds between alarms once the deadline has passed

_running = False  # of the module: an attribute of the class would make Python look up all of the class anew
_listening = False


class DeadlinePassed(BaseException):
    """The call took longer than the job's `timeout`."""


class Cancelled(BaseException):
    """The daemon stops and the time to drain is over."""


class deadline:
    """Raises DeadlinePassed in the block after so many seconds, Cancelled at the parent's CANCEL. Outside of such
    a block both signals do nothing. Main thread only; blocks do not nest."""

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
        except BaseException:  # the alarm itself, where there was no time at all
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        global _running
        try:
            _running = False
        finally:  # also when the alarm comes here
            _running = False
            signal.setitimer(signal.ITIMER_REAL, 0)


def _on_alarm(_number: int, frame: FrameType | None) -> None:
    if _running and not _is_leaving(frame):
        raise DeadlinePassed


def _on_cancel(_number: int, frame: FrameType | None) -> None:
    if _running and not _is_leaving(frame):
        raise Cancelled


def _is_leaving(frame: FrameType | None) -> bool:
    """Whether the block is being left: raised at the door of `__exit__`, or in what a debugger runs there, the
    deadline would go on without a block. A starved process comes there later than REPEAT after its first alarm."""
    while frame is not None and frame.f_code is not deadline.__exit__.__code__:
        frame = frame.f_back
    return frame is not None


def listen() -> None:
    """Install the handlers, once: in the parent, so that a thousand children need not."""
    global _listening
    if not _listening:
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.signal(CANCEL, _on_cancel)
        _listening = True

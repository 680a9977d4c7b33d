"""One deadline for a whole call, whatever the server does; and the parent can end a call as cancelled.

urllib3's own timeouts cover only the gaps between reads. The alarm raises an exception that no
`except Exception` swallows; it repeats, in case one was raised where Python must ignore it (a `__del__`).
What cannot be interrupted from inside (getaddrinfo) the parent ends with SIGKILL.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tocsin.messages import CANCEL

REPEAT = 0.25  # seconds between alarms once the deadline has passed


class DeadlinePassed(BaseException):
    """The call took longer than the job's `timeout`."""


class Cancelled(BaseException):
    """The daemon stops and the time to drain is over."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raises DeadlinePassed in the block after `seconds`, Cancelled at the parent's CANCEL. Main thread only."""
    armed = True

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        if armed:
            raise DeadlinePassed

    def on_cancel(_number: int, _frame: FrameType | None) -> None:
        if armed:
            raise Cancelled

    before = signal.signal(signal.SIGALRM, on_alarm), signal.signal(CANCEL, on_cancel)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6), REPEAT)
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(CANCEL, before[1])

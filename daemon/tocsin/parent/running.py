"""Tells the exporter that a run is still running, so that pages and metrics show it."""

from tocsin.ipc.exporter import Started
from tocsin.parent.lifecycle import Slot
from tocsin.parent.loop import Loop
from tocsin.parent.process import Process
from tocsin.parent.status_feed import StatusFeed

SHOWN_AFTER = 0.5  # seconds before pages and metrics show a run as running: most are over by then


class Running:
    def __init__(self, feed: StatusFeed, loop: Loop) -> None:
        self._feed = feed
        self._loop = loop

    def granted(self, process: Process, due: float, wait: float) -> None:
        """The process holds a slot, whose instant comes in `wait` seconds."""
        begins, slot = max(due, self._loop.wall()), process.child.slot
        self._loop.at(self._loop.now() + wait + SHOWN_AFTER, lambda: self._still_running(process, slot, begins))

    def _still_running(self, process: Process, slot: Slot | None, begins: float) -> None:
        if process.child.slot is slot:
            self._feed.tell(Started(process.child.job, begins))

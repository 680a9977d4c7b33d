"""Reads the state and memory of the jobs' processes from /proc(5), slowly enough for a thousand of them."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from tocsin.exporter.pieces import Work, pieces
from tocsin.linux import private_memory, process_state

LOOKED = 1.0  # seconds before the state of a process is read again, however often somebody asks
LOOKS_AT_ONCE = 2000  # processes read for one answer (about 20 ms, in pieces); the others follow with the next one
MEASURED = 60.0  # seconds before its memory is read again, which takes a third of a millisecond
MEASURED_AT_ONCE = 10  # processes measured at a time (about 3 ms): a request must not wait longer
MEASURE_EVERY = 0.2  # seconds between measurements: a thousand processes are measured within 20 s
ASKED = 300.0  # seconds after the last request for them, when measurements end
REST = 5.0  # seconds between checks for such a request, meanwhile


@dataclass(slots=True)
class Seen:
    """What is known of a job's process. Times are monotonic. A new process gets a new `Seen`."""

    pid: int
    state: str = ""  # one letter, as proc(5) writes it
    memory: int | None = None  # bytes of private memory; None: not read yet, or not readable
    looked: float = float("-inf")
    measured: float = float("-inf")


class Processes:
    """Measurements begin with the first request for the memory."""

    def __init__(self) -> None:
        self._asked = float("-inf")

    def look(self, seen: Iterable[Seen], clock: float) -> Work[None]:
        """Read the states that are out of date, the oldest first."""
        old = _oldest([one for one in seen if clock - one.looked >= LOOKED], "looked", LOOKS_AT_ONCE)
        for some in pieces(old):
            for one in some:
                one.looked, one.state = clock, process_state(one.pid)
            yield

    def want_memory(self, seen: Iterable[Seen], clock: float) -> None:
        """Somebody asks for the memory: measure a few processes now, and leave the rest to `measure`."""
        self._asked = clock
        self.measure(seen, clock)

    def measure(self, seen: Iterable[Seen], clock: float) -> float:
        """Measure a few processes whose memory is out of date, oldest first. Returns seconds until the next call."""
        if clock - self._asked > ASKED:
            return REST
        for one in _oldest([one for one in seen if clock - one.measured >= MEASURED], "measured", MEASURED_AT_ONCE):
            one.measured, one.memory = clock, private_memory(one.pid)
        return MEASURE_EVERY


def _oldest(seen: list[Seen], when: str, most: int) -> list[Seen]:
    return seen if len(seen) <= most else heapq.nsmallest(most, seen, key=attrgetter(when))

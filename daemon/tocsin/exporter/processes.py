"""How the jobs' processes are, read from /proc(5) at a pace that a thousand of them do not make felt."""

from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.linux import private_memory, process_state

LOOKED = 1.0  # seconds for which the state of a process counts as known: who asks often costs no more
LOOKS_AT_ONCE = 2000  # processes looked at for one answer (some 20 ms): the others have their turn at the next
MEASURED = 60.0  # seconds for which its memory counts as known: to read it takes a third of a millisecond
MEASURED_AT_ONCE = 10  # processes measured in one go (some 3 ms): a request must not wait for more
MEASURE_EVERY = 0.2  # seconds from one go to the next: a thousand processes are measured within 20 s
ASKED = 300.0  # seconds since somebody wanted to know, after which nothing is measured any more
REST = 5.0  # seconds to the next look whether somebody does


@dataclass(slots=True)
class Seen:
    """What is known of a job's process; times are monotonic. A new process is another `Seen`."""

    pid: int
    state: str = ""  # one letter, as proc(5) writes it
    memory: int | None = None  # bytes that it has for itself; None: not read yet, or not to be read
    looked: float = float("-inf")
    measured: float = float("-inf")


class Processes:
    """`asked`, and so the measuring, begins with the first who asks for the memory."""

    def __init__(self) -> None:
        self._asked = float("-inf")

    def look(self, seen: Iterable[Seen], clock: float) -> None:
        """Read the states that are not known, those from longest ago first."""
        for one in _oldest([one for one in seen if clock - one.looked >= LOOKED], "looked", LOOKS_AT_ONCE):
            one.looked, one.state = clock, process_state(one.pid)

    def want_memory(self, seen: Iterable[Seen], clock: float) -> None:
        """Somebody asks: a few are measured at once, the rest by `measure`."""
        self._asked = clock
        self.measure(seen, clock)

    def measure(self, seen: Iterable[Seen], clock: float) -> float:
        """Measure a few whose memory is not known, those from longest ago first. Seconds to the next turn."""
        if clock - self._asked > ASKED:
            return REST
        for one in _oldest([one for one in seen if clock - one.measured >= MEASURED], "measured", MEASURED_AT_ONCE):
            one.measured, one.memory = clock, private_memory(one.pid)
        return MEASURE_EVERY


def _oldest(seen: list[Seen], when: str, most: int) -> list[Seen]:
    return seen if len(seen) <= most else sorted(seen, key=lambda one: float(getattr(one, when)))[:most]

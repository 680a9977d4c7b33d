"""What may happen to a child, for the tests of its life."""

import signal
from collections.abc import Callable

from tocsin.ipc.job import Ask, Deny, Finished, Grant, Skipped
from tocsin.parent import lifecycle
from tocsin.parent.lifecycle import Action, Child, ExitStatus, Step

NOW = 1000.0
WALL = 1_800_000_000.0
DUE = 1_800_000_000.0
LONGEST = 300.0
ASK = Ask("a", DUE, "run", owner="session/1")
MANUAL = Ask("a", DUE + 0.5, "manual-run", "manual", owner="session/1")
AGAIN = Ask("a", DUE, "run", owner="session/1", retry=True)
GRANT = Grant("a", DUE)
RUN = Finished("a", DUE, "run", "schedule", 0, "success")
MISSED = Skipped("a", DUE, DUE, 1, "missed", "why")
OK, CRASH, KILLED = ExitStatus(code=0), ExitStatus(code=70), ExitStatus(signal=signal.SIGKILL)

Happening = Callable[[Child], Step]


def told(child: Child, *happenings: Happening) -> tuple[Child, list[Action]]:
    """The child after all of it, and what the last of it asked for."""
    actions: list[Action] = []
    for happening in happenings:
        child, actions = happening(child)
    return child, actions


def start(child: Child) -> Step:
    return lifecycle.start(child, NOW)


def asked(child: Child) -> Step:
    return lifecycle.asked(child, ASK)


def granted(child: Child) -> Step:
    return lifecycle.answered(child, GRANT, NOW + 1, 0.0, LONGEST)


def denied(child: Child) -> Step:
    return lifecycle.answered(child, Deny("a", DUE, 0, "taken"), NOW + 1, 0.0, LONGEST)


def finished(child: Child) -> Step:
    return lifecycle.finished(child, RUN)


def skipped(child: Child) -> Step:
    return lifecycle.skipped(child, MISSED)


def exited(status: ExitStatus, after: float = 10.0) -> Happening:
    return lambda child: lifecycle.exited(child, status, NOW + after, WALL)


def stop(drain: float | None) -> Happening:
    return lambda child: lifecycle.stop(child, NOW + 5, drain)


def timer(child: Child) -> Step:
    return lifecycle.timer(child, NOW + 500)


def hurry(child: Child) -> Step:
    return lifecycle.hurry(child, NOW + 6)


JOB = Child("job", "a")

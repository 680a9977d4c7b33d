"""The tables of a child's life, for docs/architecture.md: each cell is what `lifecycle.py` itself answers."""

import signal
from collections.abc import Callable
from typing import assert_never

from msgspec.structs import replace

from tocsin.ipc.job import CANCEL, Ask, Deny, Finished, Grant, Release, Skipped
from tocsin.parent import lifecycle
from tocsin.parent.lifecycle import Action, Child, ExitStatus, Fork, Gone, Kill, Record, Send, Slot, Step, Tell

NOW, DUE = 1000.0, 1_800_000_000.0  # monotonic seconds; Unix seconds
ASK = Ask("a", DUE, "run", owner="session/1")
RUN = Finished("a", DUE, "run", "schedule", 0, "success")
UP = Child("job", "a", "up", started=NOW - 10)
CALLING = replace(UP, slot=Slot(ASK, True, NOW - 1), over=NOW + 300, wake=NOW + 300)

Event = Callable[[Child], Step]


def exits(child: Child) -> Step:
    return lifecycle.exited(child, ExitStatus(code=70), NOW, DUE + 1)


PROCESS: dict[str, Child] = {
    "waiting": Child("job", "a"),
    "up": UP,
    "up, its call past the deadline": replace(CALLING, over=NOW, wake=NOW),
    "up, killed for that": replace(CALLING, overdue=True, wake=None),
    "backing_off": Child("job", "a", "backing_off", failures=1, wake=NOW),
    "stopping": replace(UP, state="stopping", wake=NOW),
    "stopping, cancelled": replace(UP, state="stopping", wake=NOW, signalled=CANCEL),
    "stopped": Child("job", "a", "stopped"),
}
TO_PROCESS: dict[str, Event] = {
    "its turn to be forked": lambda child: lifecycle.start(child, NOW),
    "told to stop, with time to drain": lambda child: lifecycle.stop(child, NOW, 30.0),
    "its moment `wake` has come": lambda child: lifecycle.timer(child, NOW),
    "hurried": lambda child: lifecycle.hurry(child, NOW),
    "it exits with an error": exits,
}
SLOT: dict[str, Child] = {
    "none": UP,
    "asked for": replace(UP, slot=Slot(ASK)),
    "granted, before its instant": replace(UP, slot=Slot(ASK, True, NOW + 1), over=NOW + 300, wake=NOW + 300),
    "granted, in the call": CALLING,
}
TO_SLOT: dict[str, Event] = {
    "the job asks": lambda child: lifecycle.asked(child, ASK),
    "the ledger grants": lambda child: lifecycle.answered(child, Grant("a", DUE), NOW, 1.0, 300.0),
    "the ledger denies": lambda child: lifecycle.answered(child, Deny("a", DUE, 0, "taken"), NOW, 1.0, 300.0),
    "the job reports the end": lambda child: lifecycle.finished(child, RUN),
    "the job skips it": lambda child: lifecycle.skipped(child, Skipped("a", DUE, DUE, 1, "missed")),
    "the job hands it back": lambda child: lifecycle.released(child, Release("a", DUE, 0, "")),
    "the process dies": lambda child: lifecycle.exited(
        child, ExitStatus(signal=signal.SIGKILL), NOW, DUE + (1 if child is CALLING else -1)
    ),
}


Table = tuple[list[str], list[list[str]]]  # head and rows


def processes() -> Table:
    return _made("the process is", PROCESS, TO_PROCESS, lambda child: child.state)


def slots() -> Table:
    return _made("its slot is", SLOT, TO_SLOT, _slot)


def _made(what: str, states: dict[str, Child], events: dict[str, Event], show: Callable[[Child], str]) -> Table:
    rows = [[name, *(_cell(child, event, show) for event in events.values())] for name, child in states.items()]
    return [what, *events], rows


def _cell(before: Child, event: Event, what: Callable[[Child], str]) -> str:
    if event is exits and before.state not in ("up", "stopping"):
        return "there is none"
    after, actions = event(before)
    became = [f"→ {what(after)}"] if what(after) != what(before) else []
    return "; ".join([*became, *map(_in_words, actions)]) or "–"


def _slot(child: Child) -> str:
    return "none" if child.slot is None else "granted" if child.slot.granted else "asked for"


def _in_words(action: Action) -> str:
    match action:
        case Fork():
            return "fork"
        case Send(message):
            return f"send {type(message).__name__}"
        case Kill(number):
            return "CANCEL" if number == CANCEL else signal.Signals(number).name
        case Record(Finished(outcome=outcome)):
            return f"record Finished ({outcome})"
        case Record(body):
            return f"record {type(body).__name__}"
        case Tell(event):
            return f"tell {type(event).__name__}"
        case Gone():
            return "gone for good"
        case _:
            assert_never(action)

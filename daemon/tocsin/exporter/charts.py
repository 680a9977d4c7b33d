"""The geometry of the two pictures of a job's last slots: the strip of fates and the plot of durations.

Pure numbers; the templates draw them. A fate has a shape of its own beside its colour: what went well is a
low bar and what went wrong a tall one, so that trouble stands out of the line without any colour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tocsin.exporter.state import SLOTS_KEPT, Slot
from tocsin.ipc.fates import FATES, Fate, Pattern

PITCH = 6  # units from one slot to the next, one of them a gap
HEIGHT = 18
WIDTH = SLOTS_KEPT * PITCH - 1

TALL, LOW, FLAT = HEIGHT, 9, 4
_DASHES: dict[Pattern, str] = {"whole": "5 1", "halves": "2 1 2 1", "thirds": "1 1 1 1 1 1"}  # along the line


def shape(fate: Fate) -> tuple[int, str]:
    """The height of its bar, and its dashes."""
    look = FATES[fate]
    return FLAT if not look.ran else TALL if look.is_failure else LOW, _DASHES[look.pattern]


@dataclass(frozen=True, slots=True)
class Bars:
    """Neighbouring slots with one fate: a dashed line from `x` to `end`, `height` thick, centred on `y`."""

    x: int
    end: int
    y: float
    height: int
    dashes: str
    fate: Fate
    slots: Sequence[Slot]


def bars(slots: Sequence[Slot], apart: bool = False) -> list[Bars]:
    """The strip, the latest slot at its right end. `apart`: every slot by itself."""
    found = []
    position = SLOTS_KEPT - len(slots)
    numbered = enumerate(slots)
    for (fate, _), group in groupby(numbered, lambda one: (one[1].fate, one[0] if apart else 0)):
        same = [slot for _, slot in group]
        height, dashes = shape(fate)
        x = position * PITCH
        end = x + len(same) * PITCH - 1
        found.append(Bars(x, end, HEIGHT - height / 2, height, dashes, fate, same))
        position += len(same)
    return found


PLOT_WIDTH, PLOT_HEIGHT = 480, 120
ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # what a scale may end with, times a power of ten


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    slot: Slot


@dataclass(frozen=True, slots=True)
class Plot:
    """`top` is the duration in seconds at the upper edge; the lower edge is 0."""

    top: float
    dots: Sequence[Dot]


def durations(slots: Iterable[Slot]) -> Plot | None:
    """The durations of the runs among the slots; None when there are none."""
    runs = [(slot, slot.duration) for slot in slots if slot.duration is not None]
    if not runs:
        return None
    top = round_up(max(duration for _, duration in runs))
    step = PLOT_WIDTH / SLOTS_KEPT
    first = SLOTS_KEPT - len(runs)
    return Plot(
        top,
        [
            Dot(
                round((first + position + 0.5) * step, 1),
                round(PLOT_HEIGHT * (1 - duration / top), 1),
                slot,
            )
            for position, (slot, duration) in enumerate(runs)
        ],
    )


def round_up(value: float) -> float:
    """The next round number: the end of a scale that holds `value`."""
    power = 1e-3
    while value > 10 * power:
        power *= 10
    return next((number * power for number in ROUND if value <= number * power), 10 * power)

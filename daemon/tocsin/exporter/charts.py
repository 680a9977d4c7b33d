"""The geometry of the two charts of a job's last slots: the strip of fates and the plot of durations.

These are pure numbers, and the templates draw them. Each fate has a shape as well as a colour: low bars for success and
tall ones for failures, so that people who cannot tell the colours apart see the failures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from tocsin.exporter.state import SLOTS_KEPT, Slot
from tocsin.ipc.fates import FATES, Fate, Pattern

PITCH = 6  # units from one slot to the next, including a gap of one
HEIGHT = 18
WIDTH = SLOTS_KEPT * PITCH - 1

TALL, LOW, FLAT = HEIGHT, 9, 4
_DASHES: dict[Pattern, str] = {"whole": "5 1", "halves": "2 1 2 1", "thirds": "1 1 1 1 1 1"}  # along the line


def shape(fate: Fate) -> tuple[int, str]:
    """Return the height and the dashes of the fate's bar."""
    look = FATES[fate]
    return FLAT if not look.ran else TALL if look.is_failure else LOW, _DASHES[look.pattern]


@dataclass(frozen=True, slots=True)
class Bars:
    """Neighbouring slots with the same fate: a dashed line from `x` to `end`, `height` thick, centred on `y`."""

    x: int
    end: int
    y: float
    height: int
    dashes: str
    fate: Fate
    slots: Sequence[Slot]


def bars(slots: Sequence[Slot], apart: bool = False) -> list[Bars]:
    """Return the bars of the strip, with the latest slot at the right end. `apart`: a bar for each slot."""
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
ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # possible ends of a scale, times a power of ten


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    slot: Slot


@dataclass(frozen=True, slots=True)
class Plot:
    """`top` is the duration in seconds at the upper edge. The lower edge is 0."""

    top: float
    dots: Sequence[Dot]


def durations(slots: Iterable[Slot]) -> Plot | None:
    """Plot the durations of the runs among the slots. None if there are none."""
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
    """Return the next round number: the end of a scale that includes `value`."""
    power = 1e-3
    while value > 10 * power:
        power *= 10
    return next((number * power for number in ROUND if value <= number * power), 10 * power)

"""What can become of a slot: the one table that the page, its charts, the commands, the log and the dashboards read."""

import logging
from dataclasses import dataclass
from typing import Literal

from tocsin.ipc.types import NotRunReason, Outcome

Fate = Outcome | NotRunReason
Colour = Literal["green", "yellow", "red"]
Pattern = Literal["whole", "halves", "thirds"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a fate is shown. `is_failure`: it counts among the consecutive failures of a job."""

    letter: str  # below its bar on a job's page; "" for what needs no word
    pattern: Pattern  # of its bar, which tells it apart without any colour
    colour: Colour  # on a terminal; the page has its own, in page.css
    level: int  # of its log line
    words: str
    is_failure: bool = True
    ran: bool = True


def _not_run(letter: str, pattern: Pattern, colour: Colour, level: int, words: str) -> Look:
    return Look(letter, pattern, colour, level, words, is_failure=False, ran=False)


FATES: dict[Fate, Look] = {
    "success": Look("", "whole", "green", logging.INFO, "success", is_failure=False),
    "unauthorized": Look("U", "whole", "red", logging.ERROR, "unauthorized"),
    "http_error": Look("H", "whole", "red", logging.ERROR, "http error"),
    "connection_error": Look("C", "halves", "red", logging.ERROR, "connection error"),
    "timeout": Look("T", "halves", "red", logging.ERROR, "timeout"),
    "invalid_response": Look("I", "whole", "red", logging.ERROR, "invalid response"),
    "lost": Look("L", "thirds", "red", logging.ERROR, "lost"),
    "cancelled": Look("X", "thirds", "yellow", logging.WARNING, "cancelled", is_failure=False),
    "overlap": _not_run("o", "whole", "yellow", logging.WARNING, "skipped (overlap)"),
    "paused": _not_run("p", "halves", "yellow", logging.DEBUG, "skipped (paused)"),
    "missed": _not_run("m", "thirds", "red", logging.WARNING, "missed"),
}

# Of an HTTP error, the statuses by which a proxy says that it does not reach the app behind it.
GATEWAY_STATUSES = frozenset({502, 503, 504})


def is_unreachable(outcome: Outcome, status: int | None) -> bool:
    """Whether a run that ended like this got no answer from the app: nobody answered, or only a proxy before it."""
    return outcome in ("connection_error", "timeout") or (outcome == "http_error" and status in GATEWAY_STATUSES)


FAILURES = frozenset(fate for fate, look in FATES.items() if look.is_failure)

"""The fates of a slot, in one table for the pages, the charts, the commands, the log and the dashboards.

A fate is the outcome of a run, or the reason why a slot did not run.
"""

import logging
from dataclasses import dataclass
from typing import Literal

from tocsin.ipc.types import NotRunReason, Outcome

Fate = Outcome | NotRunReason
Colour = Literal["green", "yellow", "red"]
Pattern = Literal["whole", "halves", "thirds"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a fate is shown. `is_failure`: it adds to the job's consecutive failures."""

    letter: str  # below its bar on a job's page; "" for none
    pattern: Pattern  # of its bar, for people who cannot tell the colours apart
    colour: Colour  # on a terminal; the pages take theirs from page.css
    level: int  # the level of its log line
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

# The HTTP statuses by which a proxy says that it cannot reach the app behind it.
GATEWAY_STATUSES = frozenset({502, 503, 504})


def is_unreachable(outcome: Outcome, status: int | None) -> bool:
    """Whether the run got no answer from the app: nothing answered, or only a proxy in front of it."""
    return outcome in ("connection_error", "timeout") or (outcome == "http_error" and status in GATEWAY_STATUSES)


FAILURES = frozenset(fate for fate, look in FATES.items() if look.is_failure)

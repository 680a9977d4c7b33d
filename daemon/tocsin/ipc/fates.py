"""What can become of a slot: the one table that the page, its charts, the commands, the log and the dashboards read."""

import logging
from dataclasses import dataclass
from typing import Literal

from tocsin.ipc.types import NotRunReason, Outcome

Fate = Outcome | NotRunReason
Colour = Literal["green", "yellow", "red"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a fate is shown. `is_failure`: it counts among the consecutive failures of a job."""

    letter: str  # below its bar on a job's page; "" for what needs no word
    colour: Colour  # on a terminal; the page has its own, in page.css
    level: int  # of its log line
    words: str
    is_failure: bool = True
    ran: bool = True


def _not_run(letter: str, colour: Colour, level: int, words: str) -> Look:
    return Look(letter, colour, level, words, is_failure=False, ran=False)


FATES: dict[Fate, Look] = {
    "success": Look("", "green", logging.INFO, "success", is_failure=False),
    "unauthorized": Look("U", "red", logging.ERROR, "unauthorized"),
    "http_error": Look("H", "red", logging.ERROR, "http error"),
    "connection_error": Look("C", "red", logging.ERROR, "connection error"),
    "timeout": Look("T", "red", logging.ERROR, "timeout"),
    "invalid_response": Look("I", "red", logging.ERROR, "invalid response"),
    "lost": Look("L", "red", logging.ERROR, "lost"),
    "cancelled": Look("X", "yellow", logging.WARNING, "cancelled", is_failure=False),
    "overlap": _not_run("o", "yellow", logging.WARNING, "skipped (overlap)"),
    "paused": _not_run("p", "yellow", logging.DEBUG, "skipped (paused)"),
    "missed": _not_run("m", "red", logging.WARNING, "missed"),
}

FAILURES = frozenset(fate for fate, look in FATES.items() if look.is_failure)

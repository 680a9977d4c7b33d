"""Decides by the URL which jobs the overview shows, and in which order. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, urlencode

from tocsin.exporter.state import KnownJob
from tocsin.health import HEALTHS, LOOKS, Health, Judged
from tocsin.ipc.fates import FATES

LONGEST = 200  # characters of a value in the URL: names and details are not longer
NAMES_KEPT = 10_000  # whose place among the others is cached
KEYS = 20  # parameters of a URL that are read
Sort = Literal["trouble", "name", "next", "last"]
SORTS: dict[Sort, str] = {
    "trouble": "trouble first",
    "name": "by name",
    "next": "by next fire",
    "last": "by last run",
}

Row = tuple[str, KnownJob]


@dataclass(frozen=True, slots=True)
class View:
    q: str = ""
    health: Health | Literal[""] = ""
    label: str = ""  # "name:value"
    sort: Sort = "trouble"

    @property
    def is_whole(self) -> bool:
        """Whether it shows every job."""
        return not (self.q or self.health or self.label)

    def link(self, **changes: Any) -> str:
        """Return the URL of this view with changes."""
        other = replace(self, **changes)
        query = urlencode({key: value for key, value in asdict(other).items() if value != getattr(PLAIN, key)})
        return f"/?{query}" if query else "/"

    def fits(self, job: KnownJob) -> bool:
        """Whether the view shows the job, apart from its health."""
        name, _, value = self.label.partition(":")
        return (not self.label or (name, value) in job.status.labels) and (not self.q or self.q.lower() in _words(job))

    def ordered(self, rows: Sequence[Row], judged: Mapping[str, Judged]) -> list[Row]:
        keys: dict[Sort, Callable[[Row], tuple[Any, ...]]] = {
            "name": lambda row: _natural(row[0]),
            "trouble": lambda row: (
                *_rank(judged[row[0]].health, row[1].status.consecutive_failures),
                *_natural(row[0]),
            ),
            "next": lambda row: (row[1].status.next_fire or float("inf"), *_natural(row[0])),
            "last": lambda row: (-(row[1].status.last_run or 0.0), *_natural(row[0])),
        }
        return sorted(rows, key=keys[self.sort])


PLAIN = View()


def did(query: str) -> str:
    """Return the action after which the page was opened, or "". The page shows a message about it."""
    try:
        return parse_qs(query, max_num_fields=KEYS).get("did", [""])[0][:LONGEST]
    except ValueError:
        return ""


def read(query: str) -> View:
    """Read the view in a URL. Invalid values are ignored."""
    try:
        said = {key: values[0][:LONGEST] for key, values in parse_qs(query, max_num_fields=KEYS).items()}
    except ValueError:
        said = {}
    health: Any = said.get("health") if said.get("health") in HEALTHS else ""
    sort: Any = said.get("sort") if said.get("sort") in get_args(Sort) else "trouble"
    return View(said.get("q", "").strip(), health, said.get("label", ""), sort)


def _words(job: KnownJob) -> str:
    """Return the text that a search looks through: names, addresses and errors, but no times."""
    status = job.status
    outcome = FATES[status.last_outcome].words if status.last_outcome else ""
    texts = (status.name, status.description, status.schedule, status.words, status.host, outcome, status.last_detail)
    labels = (f"{name}: {value}" for name, value in status.labels)
    return "\n".join((*texts, *labels)).lower()


def _rank(health: Health, failures: int) -> tuple[int, int]:
    """Order jobs by trouble, worst first. The others are equal, so that a job does not jump about when it runs."""
    return (HEALTHS.index(health), -failures) if LOOKS[health].is_trouble else (len(HEALTHS), 0)


@lru_cache(NAMES_KEPT)
def _natural(name: str) -> tuple[Any, ...]:
    """Order job-9 before job-10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split("([0-9]+)", name) if part)

"""Follows a ledger: what became of each slot, as it becomes known.

A place in the history is kept for each job, because the slots of one job are recorded in order and those of different
jobs are not. It survives a restart of the daemon, which may record slots of a long time ago.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import click

from tocsin import display
from tocsin.ledger.store import Absent, Reader, Unreadable

LOOK_EVERY = 1.0  # seconds between looks at the ledger
AT_ONCE = 1000  # rows of one look

Row = dict[str, Any]


class Follower:
    """Knows how far it has come: to begin with, all that is there now is old."""

    def __init__(self, reader: Reader, job: str | None) -> None:
        self._reader, self._job = reader, job
        self._since = time.time()  # for jobs that nothing is known of
        self._places = {name: due for name, due in reader.places().items() if job in (None, name)}
        self._shown: dict[tuple[str, float, int], tuple[Any, ...]] = {}  # the rows from each place on
        while self.news():
            pass

    def news(self) -> list[Row]:
        """Return the rows that are new or changed since the last time, oldest first. A run comes when it has ended."""
        rows = self._reader.after(self._places, self._since, AT_ONCE)
        if self._job is not None:
            rows = [row for row in rows if row["job"] == self._job]
        fresh = [row for row in rows if row["state"] != "started" and self._shown.get(_key(row)) != _content(row)]
        self._shown |= {_key(row): _content(row) for row in fresh}
        self._go_on(rows, skip=len(rows) == AT_ONCE and not fresh)
        return fresh

    def _go_on(self, rows: list[Row], *, skip: bool) -> None:
        """Move each job's place to its latest row before one that has not ended. A run on request does not count: it
        may be recorded before slots that were due earlier. `skip`: but then it must, or there would be no end."""
        held = set()
        for row in rows:
            held |= {row["job"]} if row["state"] == "started" else set()
            if row["job"] not in held and (skip or row["trigger"] != "manual"):
                self._places[row["job"]] = max(row["due"], self._places.get(row["job"], 0.0))
        self._shown = {key: seen for key, seen in self._shown.items() if key[1] >= self._places.get(key[0], 0.0)}

    def saw(self, rows: Iterable[Row]) -> None:
        """These rows were shown already."""
        self._shown |= {_key(row): _content(row) for row in rows}


def followed(follower: Follower) -> Iterator[list[Row]]:
    """Return what is new, for ever. Says once that the ledger cannot be read, for example while it is moved."""
    said = ""
    while True:
        try:
            if news := follower.news():
                yield news
            if said:
                click.echo("the ledger can be read again", err=True)
            said = ""
        except (OSError, Unreadable, Absent) as error:
            why = f"there is no ledger ({error})" if isinstance(error, Absent) else f"cannot read the ledger: {error}"
            if why != said:
                said = why
                click.echo(f"{display.bad('tocsin:')} {why}; trying again", err=True)
        time.sleep(LOOK_EVERY)


def _key(row: Row) -> tuple[str, float, int]:
    return row["job"], row["due"], row["attempt"]


def _content(row: Row) -> tuple[Any, ...]:
    return row["last"], row["count"], row["state"]

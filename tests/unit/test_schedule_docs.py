"""The tables of docs/rules-of-time.md, run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tocsin.schedule import Schedule, ScheduleError

PAGE = Path(__file__).parents[2] / "docs" / "rules-of-time.md"


def rows(*header: str) -> list[list[str]]:
    """The rows of all tables with this header, without the backticks."""
    found = []
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        if cells == list(header):
            inside = True
        elif inside and not line.startswith("|---"):
            assert len(cells) == len(header), line
            found.append(cells)
    return found


DUE = rows("schedule", "zone", "after", "due")
WORDS = rows("schedule", "zone", "in words")
REFUSED = rows("schedule", "because")


def test_all_tables_are_found() -> None:
    assert (len(DUE), len(WORDS), len(REFUSED)) == (24, 12, 16)


@pytest.mark.parametrize(("expression", "zone", "after", "due"), DUE)
def test_due(expression: str, zone: str, after: str, due: str) -> None:
    schedule = Schedule(expression, zone)
    instant = datetime.fromisoformat(after)
    for written in due.split(", "):
        expected = datetime.fromisoformat(written)
        assert expected.utcoffset() == expected.astimezone(ZoneInfo(zone)).utcoffset(), "a slip in the page"
        instant = schedule.next(instant)
        assert instant == expected
        assert instant.tzinfo is UTC


@pytest.mark.parametrize(("expression", "zone", "words"), WORDS)
def test_words(expression: str, zone: str, words: str) -> None:
    assert Schedule(expression, zone).words == words


@pytest.mark.parametrize(("expression", "because"), REFUSED)
def test_refused(expression: str, because: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        Schedule(expression)
    assert str(refusal.value) == f"cannot read schedule '{expression}': {because}"

"""What the pages ask the ledger: every slot once, newest first, page by page, whatever the filter."""

import itertools
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from ledger_rig import Ledger, T, ask, skipped
from tocsin.ipc.history import AT_MOST, OneRun, Place, Row, Slots
from tocsin.ipc.job import Ask, Finished
from tocsin.ipc.types import Outcome, Trigger
from tocsin.ledger import sqlite_find
from tocsin.ledger.answers import ROOM, fitting
from tocsin.ledger.sqlite import FILE
from tocsin.ledger.store import Found


def pages(ledger: Ledger, limit: int = 3, **wanted: Any) -> list[Row]:
    """All that a question finds, page by page."""
    reader = ledger.reader()
    rows: list[Row] = []
    before = None
    for _ in range(1000):
        found = reader.find(Slots(**wanted, before=before, limit=limit))
        rows += found.rows
        before = found.more
        if before is None:
            return rows
    raise AssertionError("pages without end")


def keys(rows: list[Row]) -> list[tuple[float, str, int]]:
    return [(row.due - T, row.job, row.attempt) for row in rows]


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """Four jobs, ten instants, some of everything."""
    for minute, job in itertools.product(range(10), "abcd"):
        due = T + minute * 60
        outcome: Outcome = "timeout" if (minute, job) in ((3, "b"), (7, "c")) else "success"
        trigger: Trigger = "manual" if (minute, job) == (5, "d") else "schedule"
        ledger.put(ask(due, job=job, trigger=trigger))
        ledger.put(Finished(job, due, f"run-{job}-{minute}", trigger, 0, outcome, "why" * (outcome != "success")))
    ledger.put(skipped(T + 600, T + 720, 3), ask(T + 780, job="b"))
    return ledger


def test_pages_hold_every_row_once_newest_first(full: Ledger) -> None:
    everything = keys(pages(full))
    assert everything == sorted(everything, reverse=True)
    assert len(everything) == len(set(everything)) == 42
    assert keys(pages(full, limit=100)) == everything
    assert keys(pages(full, job="b")) == [one for one in everything if one[1] == "b"]
    assert keys(pages(full, since=T + 300)) == [one for one in everything if one[0] >= 300]
    assert keys(pages(full, job="b", since=T + 300)) == [one for one in everything if one[1] == "b" and one[0] >= 300]


@pytest.mark.parametrize("at_once", [1, 3, 2000])
def test_filters(full: Ledger, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(sqlite_find, "AT_ONCE", at_once)
    assert keys(pages(full, outcome="timeout")) == [(420, "c", 0), (180, "b", 0)]
    assert keys(pages(full, outcome="timeout", job="b")) == [(180, "b", 0)]
    assert keys(pages(full, outcome="failed")) == [(600, "a", 0), (420, "c", 0), (180, "b", 0)]
    assert [(row.count, row.last - T) for row in pages(full, outcome="missed")] == [(3, 720)]
    assert keys(pages(full, trigger="manual")) == [(300, "d", 0)]
    assert keys(pages(full, outcome="running")) == [(780, "b", 0)]
    assert len(pages(full, outcome="success", job="a")) == 10
    assert len(pages(full, node="here")) == 42
    assert pages(full, node="elsewhere") == []
    assert {row.node for row in pages(full)} == {"here"}


def test_a_search_that_takes_long_says_where_to_go_on(full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_find, "AT_ONCE", 5)
    clock = itertools.count(0.0, 1.0)
    with closing(sqlite3.connect(full.folder / FILE)) as db:
        found = sqlite_find.find(db, Slots(trigger="manual"), "", lambda: next(clock))
    assert not found.rows
    assert found.more
    assert keys(pages(full, trigger="manual")) == [(300, "d", 0)]


def test_a_run_is_found_by_its_id_with_each_delivery(ledger: Ledger) -> None:
    for attempt in (0, 1):
        ledger.put(Ask("a", T, "the-run", "schedule", attempt, "s1/1"))
        ledger.put(Finished("a", T, "the-run", "schedule", attempt, "lost" if not attempt else "success"))
    rows = ledger.reader().find(OneRun("the-run")).rows
    assert [(row.attempt, row.fate) for row in rows] == [(1, "success"), (0, "lost")]
    assert not ledger.reader().find(OneRun("another")).rows


@pytest.mark.parametrize(
    "question",
    [
        Slots(),
        Slots(job="a"),
        Slots(before=Place(T + 300, "b", 0)),
        Slots(job="a", before=Place(T + 300, "a", 0)),
        Slots(outcome="failed"),
        Slots(outcome="timeout", job="a", before=Place(T + 300, "a", 0)),
        OneRun("run-a-1"),
    ],
)
def test_an_index_serves_the_question_with_its_order(full: Ledger, question: Slots | OneRun) -> None:
    """No scan of the table, and no sorting: both take seconds in a ledger of years."""
    said: list[str] = []
    with closing(sqlite3.connect(full.folder / FILE)) as db:
        db.set_trace_callback(said.append)
        sqlite_find.find(db, question, "")
        db.set_trace_callback(None)
        for statement in said:
            plan = [str(step[3]) for step in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not [step for step in plan if "TEMP B-TREE" in step], (statement, plan)
            assert not [step for step in plan if step == "SCAN slots"], (statement, plan)


def test_an_answer_fits_into_one_message(full: Ledger) -> None:
    row = pages(full)[0]
    many = [Row(**{name: getattr(row, name) for name in Row.__struct_fields__} | {"detail": "\x01" * 500})] * AT_MOST
    answer = fitting(1, Found(many))
    assert 10 < len(answer.rows) < AT_MOST
    assert answer.more == many[0].place
    assert ROOM < 65536
    assert fitting(1, Found(many[:3], many[0].place)).more == many[0].place

"""The parent's side of the ledger: what it tells of one that says nothing."""

from typing import Any, cast

import pytest

from harness import Ends
from test_news import taken_by
from tocsin.messages import Committed, LedgerState, Message, Pause
from tocsin.parent import books as module
from tocsin.parent.books import Books
from tocsin.parent.news import News


def test_a_ledger_that_hangs_is_not_up(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    heard: list[Message] = []
    books = Books(lambda: None, cast(Any, None), News(taken_by(heard)))

    def told(seconds: float) -> LedgerState:
        nonlocal now
        now += seconds
        books.tell()
        state = heard[-1]
        assert isinstance(state, LedgerState)
        return state

    books.ready(0)
    assert told(3600.0) == LedgerState(True, 0), "there was nothing to commit"
    books.put(Pause("a", True))
    books.put(Pause("b", True))
    books._outbox.pump(ends[0])
    assert told(module.SILENT) == LedgerState(True, 2)
    assert told(1.0) == LedgerState(False, 2, "it has not committed for 16 s")
    books.committed(Committed(1, 0.1))
    assert told(0.0).up
    books.committed(Committed(2, 0.1))
    assert told(3600.0).up
    books.put(Pause("a", False))
    assert not told(module.SILENT + 1).up
    books.died()
    assert told(0.0).detail == "its process died"
    books.ready(2)
    assert told(1.0).up, "it has time to commit what waited"

"""The account of bench/cluster.py finds each promise that is broken, and nothing in a history that is well."""

from collections.abc import Callable
from typing import Any

import pytest

from clustered.account import STILL, Fault, Verdict, judge
from clustered.observer import Seen
from clustered.target import Call

END = 1010.0


class History:
    """One job of every second from 1000 to 1009, all by session s1 of node n1."""

    def __init__(self) -> None:
        self.calls = [Call(at + 0.01, "a", f"r{at}", 0, "n1") for at in range(1000, 1010)]
        self.rows: list[dict[str, Any]] = [
            {"job": "a", "due": float(at), "last": float(at), "count": 1, "attempt": 0, "outcome": "success",
             "reason": None, "run_id": f"r{at}"}
            for at in range(1000, 1010)
        ]  # fmt: skip
        self.grants = [(at - 1.0, "a", f"r{at}", "s1") for at in range(1000, 1010)]
        self.nodes = [(900.0, "s1", "n1", "live", 1)]
        self.faults: list[Fault] = []
        self.open: list[tuple[str, str]] = []
        self.end = END

    def judged(self) -> Verdict:
        owners: list[tuple[float, str, str | None]] = [(900.0, "a", "s1")]
        seen = Seen(owners, self.grants, self.nodes, self.rows, self.open)
        return judge(self.calls, seen, self.faults, {"a"}, self.end)


def test_all_is_well() -> None:
    verdict = History().judged()
    assert verdict.is_good, verdict.wrong


def a_death(history: History, at: float = 1005.5) -> None:
    history.nodes.append((at, "s1", "n1", "dead", 2))
    history.faults.append(Fault("stop", "n1", 1004.0, 1006.0))


BROKEN: list[tuple[str, Callable[[History], object]]] = [
    ("called twice", lambda history: history.calls.append(history.calls[3])),
    ("called after being given up", a_death),
    ("granted after being given up", lambda history: a_death(history, 1002.5)),
    ("called without a grant", lambda history: history.grants.pop(4)),
    ("calls without a row", lambda history: history.rows.pop(4)),
    ("called, and the row says that it was not", lambda history: history.rows[3].update(outcome=None, reason="missed")),
    ("successes without a call", lambda history: history.calls.pop(4)),
    ("runs that never end", lambda history: history.open.append(("a", "r9"))),
    ("given up though well", lambda history: history.nodes.append((1009.5, "s1", "n1", "dead", 2))),
    ("slots without a row", lambda history: history.rows.pop(4)),
    ("slots without a row", lambda history: history.rows[9].update(last=1012.0)),
    ("slots with two rows", lambda history: history.rows[3].update(last=1004.0, count=2)),
    ("jobs that stand still", lambda history: setattr(history, "end", END + STILL)),
]


@pytest.mark.parametrize(("rule", "broken"), BROKEN)
def test_each_broken_promise_is_found(rule: str, broken: Callable[[History], object]) -> None:
    history = History()
    broken(history)
    verdict = history.judged()
    assert verdict.wrong[rule], verdict.wrong


def test_a_node_that_was_hit_may_be_given_up_and_a_restart_of_the_server_is_no_reason() -> None:
    for kind, node, good in (("kill", "n1", True), ("outage", "", False), ("restart", "", False)):
        history = History()
        history.nodes.append((1009.9, "s1", "n1", "dead", 2))
        history.faults.append(Fault(kind, node, 1009.5, 1009.8))
        assert (history.judged().wrong["given up though well"] == []) is good

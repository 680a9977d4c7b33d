"""`tocsin history --follow`: each slot once, when its end is known, in whatever order jobs report."""

import pytest
from msgspec.structs import replace

from ledger_rig import Ledger, T, ask, finished, skipped
from tocsin.commands import following
from tocsin.commands.following import Follower
from tocsin.ipc.job import Finished


def told(follower: Follower) -> list[tuple[str, float, str, int]]:
    return [(row["job"], row["due"] - T, row["outcome"] or row["reason"], row["count"]) for row in follower.news()]


def manual(due: float, job: str = "a") -> Finished:
    return replace(finished(due, job=job), trigger="manual")


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    for name in ("a", "b", "c"):
        ledger.past(name)
    ledger.put(ask(), finished(), ask(T + 60), ask(T, job="b"))
    return ledger


def test_what_is_there_is_old_and_what_ends_is_new_once(busy: Ledger) -> None:
    follower = Follower(busy.reader(), None)
    assert told(follower) == []
    busy.put(finished(T, "timeout", job="b"), ask(T + 60, job="b"))
    assert told(follower) == [("b", 0, "timeout", 1)]
    busy.put(finished(T + 60), ask(T + 120))
    assert told(follower) == [("a", 60, "success", 1)]
    assert told(follower) == []
    busy.put(finished(T + 60, "lost", job="b"), ask(T + 60, 1, job="b"), finished(T + 60, "success", 1, job="b"))
    assert told(follower) == [("b", 60, "lost", 1), ("b", 60, "success", 1)]


def test_slots_of_a_long_time_ago_that_are_recorded_now_are_new(busy: Ledger) -> None:
    """As after a restart of the daemon."""
    follower = Follower(busy.reader(), None)
    busy.put(finished(T + 60), ask(T + 86400), finished(T + 86400))
    assert told(follower) == [("a", 60, "success", 1), ("a", 86400, "success", 1)]
    busy.put(finished(T, "lost", job="b"), replace(skipped(T + 60, T + 3600, 60), job="b"))
    assert told(follower) == [("b", 0, "lost", 1), ("b", 60, "missed", 60)]
    busy.put(replace(skipped(T + 3660, T + 3660, 1), job="b"))
    assert told(follower) == [("b", 60, "missed", 61)]


def test_a_run_on_request_hides_no_slot_that_was_due_before(busy: Ledger) -> None:
    follower = Follower(busy.reader(), None)
    busy.put(finished(T + 60), manual(T + 90.5), skipped(T + 75, T + 80, 2))
    assert told(follower) == [("a", 60, "success", 1), ("a", 75, "missed", 2), ("a", 90.5, "success", 1)]
    busy.put(skipped(T + 85, T + 86, 2, "paused"))
    assert told(follower) == [("a", 85, "paused", 2)]


def test_many_runs_on_request_do_not_stop_it(busy: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AT_ONCE", 4)
    busy.put(finished(T + 60), *(manual(T + 61 + number) for number in range(9)))
    follower = Follower(busy.reader(), None)
    assert told(follower) == []
    busy.put(*(manual(T + 80 + number) for number in range(9)))
    seen: list[float] = []
    for _ in range(12):
        seen += [due for _, due, _, _ in told(follower)]
    assert seen == [80 + number for number in range(9)]


def test_one_job_is_followed_alone_and_new_jobs_are_found(busy: Ledger) -> None:
    follower, of_all = Follower(busy.reader(), "b"), Follower(busy.reader(), None)
    now = follower._since
    busy.past("new")
    busy.put(finished(T + 60), finished(T, job="b"), finished(now + 5, job="new"), finished(now - 900, job="new"))
    assert [job for job, *_ in told(follower)] == ["b"]
    assert sorted(told(of_all)) == [
        ("a", 60, "success", 1),
        ("b", 0, "success", 1),
        ("new", now + 5 - T, "success", 1),
    ]


def test_a_row_that_was_shown_is_not_shown_again(busy: Ledger) -> None:
    follower = Follower(busy.reader(), None)
    busy.put(finished(T + 60))
    follower.saw(busy.reader().history(limit=50))
    assert told(follower) == []

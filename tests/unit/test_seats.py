"""What the parent remembers of a job between its processes."""

import pytest

from ledger_rig import T, ask, finished, skipped
from tocsin.messages import Finished, Release, Skipped
from tocsin.parent.jobs import Seat


def test_a_lost_run_is_kept_until_its_delivery_has_a_fate() -> None:
    """Whoever dies, or is told to stop, before the call leaves it to the next process."""
    seat = Seat(accounted=T + 30, again=ask(T, attempt=1))
    for body in (ask(T + 60), finished(T + 60), ask(T, attempt=1), Release("a", T, 1, "s1/1"), finished(T)):
        seat.record(body)
        assert seat.again == ask(T, attempt=1)


@pytest.mark.parametrize("fate", [finished(T, attempt=1), skipped(T, T, 1)])
def test_it_is_delivered_once(fate: Finished | Skipped) -> None:
    seat = Seat(accounted=T, again=ask(T, attempt=1))
    seat.record(fate)
    assert seat.again is None


def test_a_release_frees_its_slot_but_not_one_that_has_its_fate() -> None:
    seat = Seat(accounted=T + 30)
    seat.record(Release("a", T, 1, "s1/1"))
    assert seat.accounted == T + 30
    seat.record(Release("a", T + 30, 0, "s1/1"))
    assert seat.accounted == T + 29

"""What the parent remembers of a job between its processes."""

from ledger_rig import T, ask
from tocsin.messages import Release
from tocsin.parent.jobs import Seat


def test_a_lost_run_is_kept_until_a_process_asks_for_it() -> None:
    seat = Seat(accounted=T, again=ask(T, attempt=1))
    seat.record(ask(T + 60))
    seat.record(ask(T, attempt=0))
    assert seat.again == ask(T, attempt=1)
    seat.record(ask(T, attempt=1))
    assert seat.again is None


def test_a_lost_run_that_is_released_is_kept_again_and_its_slot_keeps_its_fate() -> None:
    seat = Seat(accounted=T + 30, again=ask(T, attempt=1))
    seat.record(ask(T, attempt=1))
    seat.record(Release("a", T, 1, "s1/1"))
    assert seat.again == ask(T, attempt=1)
    assert seat.accounted == T + 30
    seat.record(Release("a", T + 30, 0, "s1/1"))
    assert seat.accounted == T + 29

"""What the parent remembers of a job between its processes."""

from ledger_rig import T, ask
from tocsin.parent.jobs import Seat


def test_a_lost_run_is_kept_until_a_process_asks_for_it() -> None:
    seat = Seat(accounted=T, again=ask(T, attempt=1))
    seat.record(ask(T + 60))
    seat.record(ask(T, attempt=0))
    assert seat.again == ask(T, attempt=1)
    seat.record(ask(T, attempt=1))
    assert seat.again is None

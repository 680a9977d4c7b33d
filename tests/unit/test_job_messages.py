"""Histories of a job's process that its parent interferes with: pause, fire, deny, silence, stop."""

import heapq

from job_world import LEAD, Make, T, fates, send
from tocsin.ipc.job import Ask, Fire, Grant, Pause, Release, scheduled_run_id

# ---- pause, fire, deny, silence


def test_pause_and_resume(world: Make) -> None:
    one = world((30, send(Pause("sla-check", True, 60.0))), (130, send(Pause("sla-check", False, 60.0)))).run(T + 185)
    assert one.skips == [(60, 60, 1, "paused"), (120, 120, 1, "paused")]
    assert one.runs == [180]


def test_paused_from_the_start(world: Make) -> None:
    one = world(paused=True, last=T - 120).run(T + 65)
    assert one.runs == []
    fates(one)


def test_a_pause_a_moment_before_the_slot_counts(world: Make) -> None:
    one = world((54.74, send(Pause("sla-check", True, 60.0))), (54.99, send(Pause("sla-check", False, 60.0)))).run(
        T + 65
    )
    assert one.runs == [60]
    fates(one)


def test_a_pause_with_an_end_is_over_at_that_instant(world: Make) -> None:
    """A slot at the end runs, on time, though it is asked for before: whether a message of the end has come or not."""
    one = world((30, send(Pause("sla-check", True, T + 35.0, T + 180.0)))).run(T + 245)
    assert one.skips == [(60, 60, 1, "paused"), (120, 120, 1, "paused")]
    assert one.runs == [180, 240]
    assert all(called_at - ask.due < 0.01 for ask, called_at in one.called)
    fates(one)


def test_a_pause_is_made_longer_and_shorter(world: Make) -> None:
    longer = send(Pause("sla-check", True, T + 95.0, T + 240.0))
    shorter = send(Pause("sla-check", True, T + 155.0, T + 170.0))
    one = world((30, send(Pause("sla-check", True, T + 35.0, T + 100.0))), (90, longer), (150, shorter)).run(T + 185)
    assert one.skips == [(60, 60, 1, "paused"), (120, 120, 1, "paused")]
    assert one.runs == [180]


def test_slots_of_a_pause_are_paused_also_where_nobody_ran(world: Make) -> None:
    """The daemon was down from T-900; the pause went from T-600 to T-240."""
    one = world(last=T - 900, pause=(T - 600.0, T - 240.0), grace=30.0).run(T + 65)
    assert one.skips == [
        (-840, -660, 4, "missed"),  # before it
        (-600, -300, 6, "paused"),
        (-240, -60, 4, "missed"),
    ]
    assert one.runs == [0, 60]
    fates(one)


def test_a_pause_that_goes_on_after_a_restart(world: Make) -> None:
    one = world(last=T - 300, pause=(T - 600.0, T + 90.0), grace=600.0).run(T + 125)
    assert one.skips == [(-240, 0, 5, "paused"), (60, 60, 1, "paused")]
    assert one.runs == [120]


def test_a_resume_after_the_machine_was_suspended_in_a_pause(world: Make) -> None:
    woken = (30.0, ("suspend", 300.0))
    one = world((20, send(Pause("sla-check", True, T + 20.0, T + 150.0))), woken).run(T + 485)
    assert one.skips[:1] == [(60, 120, 2, "paused")]
    fates(one)


def test_a_manual_run_also_while_paused(world: Make) -> None:
    one = world((20, send(Fire(T + 25.123, "r"))), paused=True).run(T + 65)
    assert one.runs == [25.123]
    assert one.skips == [(60, 60, 1, "paused")]


def test_a_manual_run_leaves_the_schedule_alone(world: Make) -> None:
    one = world((20, send(Fire(T + 25.123, "r")))).run(T + 125)
    assert one.runs == [25.123, 60, 120]


def test_a_manual_run_that_was_not_called_leaves_the_slots_before_it(world: Make) -> None:
    """Slots still to be caught up with must not pass for accounted for."""
    one = world((0, ("call_takes", 3.0)), last=T - 600, catch_up="all", grace=300.0)
    heapq.heappush(one.events, (2.0, -3, send(Fire(T + 7.123, "r"))))
    heapq.heappush(one.events, (2.5, -2, ("ledger", "silent")))
    heapq.heappush(one.events, (20.0, -1, ("ledger", "grant")))
    one.run(T + 100)
    assert (7.123, 7.123, 1, "missed") in [(round(first, 3), round(last, 3), *rest) for first, last, *rest in one.skips]
    fates(one)


def test_a_denied_slot_is_not_called_and_not_reported(world: Make) -> None:
    one = world((0, ("ledger", "deny")), (70, ("ledger", "grant"))).run(T + 125)
    assert [ask.due - T for ask in one.asks] == [60, 120]
    assert one.runs == [120]
    assert one.skips == []


def test_a_silent_ledger_makes_slots_missed_until_it_speaks(world: Make) -> None:
    one = world((0, ("ledger", "silent")), (130, ("ledger", "grant"))).run(T + 245)
    fates(one)
    assert one.skips[:1] == [(60, 60, 1, "missed")]
    assert one.why[0] == "the ledger did not answer in time"
    assert one.runs[-1] == 240


def test_a_late_answer_to_an_old_question_is_none_to_a_new_one(world: Make) -> None:
    one = world((0, ("ledger", "silent")), (116, send(Grant("sla-check", T + 60.0)))).run(T + 150)
    assert one.runs == []
    assert one.called == []


def test_a_short_grace_still_gives_the_ledger_a_moment(world: Make) -> None:
    one = world((0, ("answer_after", 0.3)), grace=0.5).run(T + 65)
    assert one.runs == [60]


def test_a_grant_that_was_not_asked_for_is_passed_over(world: Make) -> None:
    one = world((11, send(Grant("sla-check", T + 60.0)))).run(T + 65)
    assert one.runs == [60]


# ---- stop


def test_stop_while_asleep(world: Make) -> None:
    one = world().run(T + 30)
    assert one.runs == []
    assert one.skips == []
    assert one.asks == []


def test_stop_between_ask_and_grant(world: Make) -> None:
    one = world((0, ("ledger", "silent"))).run(T + 60 - LEAD / 2)
    assert one.said[-1] == Release("sla-check", T + 60, 0, "")
    assert (one.skips, one.called, one.armed) == ([], [], None)


def test_stop_between_grant_and_due(world: Make) -> None:
    one = world().run(T + 60 - LEAD / 2)
    assert one.granted
    assert one.said[-1] == Release("sla-check", T + 60, 0, "")
    assert (one.skips, one.called, one.armed) == ([], [], None)


def test_stop_while_the_call_runs(world: Make) -> None:
    """It finishes the call, reports it, and starts nothing more."""
    one = world((0, ("call_takes", 30.0))).run(T + 65)
    assert one.runs == [60]
    assert len(one.asks) == 1


def test_stop_in_a_rest_between_attempts(world: Make) -> None:
    one = world()
    one.rests = [1.0, 2.0, 60.0]
    one.run(T + 70)
    assert one.rested == [True, True, False]
    assert one.runs == [60]


def test_a_rest_is_as_long_as_it_should_be(world: Make) -> None:
    one = world((56, send(Pause("sla-check", False, 60.0))))
    one.rests = [10.0]
    one.run(T + 75)
    assert one.rested == [True]
    assert one.wall >= T + 70


# ---- once more


def test_a_lost_run_is_delivered_again_before_anything_else(world: Make) -> None:
    again = Ask("sla-check", T + 0.0, scheduled_run_id("sla-check", T), "schedule", 1)
    one = world(redelivery=again).run(T + 65)
    first = one.asks[0]
    assert (first.due - T, first.attempt, first.run_id) == (0, 1, again.run_id)
    assert one.runs == [0, 60]

"""Histories of a job's process: what the world does to it, and the fate of every slot."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_world import LATENCY, LEAD, Make, MakeJob, T, World, fates, send
from tocsin import linux
from tocsin.ipc.job import Ask, Beginning, Deny, Finished, Fire, Pause, Sleeping, scheduled_run_id
from tocsin.job import main
from tocsin.job.lead import ARMED_BY, LEADS, lead

# ---- on time


def test_every_slot_runs_on_time(world: Make) -> None:
    one = world().run(T + 185)
    assert one.runs == [60, 120, 180]
    assert one.skips == []
    for ask, at in one.called:
        assert 0 <= at - ask.due <= 2 * LATENCY
        assert ask.run_id == scheduled_run_id("sla-check", ask.due)
        assert (ask.trigger, ask.attempt) == ("schedule", 0)


def test_it_says_when_it_is_due_next_once(world: Make) -> None:
    one = world((10, send(Pause("sla-check", False, 60.0)))).run(T + 125)
    assert [m.due - T for m in one.said if isinstance(m, Sleeping)] == [60]
    assert [m.next_due - T for m in one.said if isinstance(m, Finished) and m.next_due] == [120, 180]


def test_it_asks_ahead_of_the_instant_and_calls_at_it(world: Make) -> None:
    one = world((0, ("answer_after", LEAD / 2))).run(T + 65)
    order = [type(message).__name__ for message in one.said]
    assert order == ["Sleeping", "Ask", "Finished"]
    assert one.runs == [60]


@pytest.mark.parametrize(("crowded", "before"), [(False, 0.05 + ARMED_BY), (True, LEAD)])
def test_it_connects_late_but_in_a_crowd(world: Make, crowded: bool, before: float) -> None:
    """A server with one worker can do nothing else from then on."""
    one = world(crowded=crowded).run(T + 65)
    assert one.runs == [60]
    assert one.armed_at - T == pytest.approx(60 - before, abs=0.01)


@pytest.mark.parametrize("lead", [0.0, 0.4, 5.0])
@pytest.mark.parametrize("answers_after", [0.0, LEAD - 0.2, LEAD - 0.01, LEAD + 3])
def test_however_long_arming_takes_and_the_ledger_the_slot_runs(
    world: Make, monkeypatch: pytest.MonkeyPatch, lead: float, answers_after: float
) -> None:
    monkeypatch.setattr(World, "lead", lead)
    one = world((0, ("answer_after", answers_after))).run(T + 100)
    assert one.runs == [60]
    assert one.armed_at - T == pytest.approx(60 - min(lead + ARMED_BY, LEAD) if lead else 60 - LEAD, abs=0.01)


@pytest.mark.parametrize("at", [60 - LEAD / 2, 60 - 0.03])
def test_what_is_denied_before_it_connects_or_after_leaves_nothing_open(world: Make, at: float) -> None:
    one = world((0, ("ledger", "silent")), (at - 5, send(Deny("sla-check", T + 60, 0, "taken")))).run(T + 65)
    assert (one.runs, one.armed) == ([], None)
    assert (one.armed_at > 0) == (at > 60 - 0.05 - ARMED_BY)


def test_a_slow_ledger_makes_the_call_late_not_lost(world: Make) -> None:
    one = world((0, ("answer_after", 7.0))).run(T + 100)
    assert one.runs == [60]
    assert one.called[0][1] - T == pytest.approx(60 + 7 - LEAD, abs=0.01)


@given(st.text(min_size=1))
def test_every_job_has_its_lead_and_always_the_same(name: str) -> None:
    assert lead(name) in LEADS
    assert lead(name) == lead(name)


def test_a_thousand_jobs_do_not_ask_all_at_once() -> None:
    leads = [lead(f"job-{number}") for number in range(1000)]
    assert all(200 < leads.count(one) < 300 for one in LEADS)
    assert all(one % 1 for one in LEADS), "on a whole second other jobs fire"


@pytest.mark.parametrize("sends", [True, False])
def test_only_who_has_sent_gives_way_to_who_has_not(world: Make, monkeypatch: pytest.MonkeyPatch, sends: bool) -> None:
    ways: list[bool] = []
    monkeypatch.setattr(linux, "give_way", ways.append)
    one = world()
    one.process.gives_way, one.sends = True, sends
    while not one.called:
        one.process.step()
    assert ways == ([False, True] if sends else [False])
    one.process.step()
    assert ways == ([False, True, False, True] if sends else [False, False])  # no longer, before it sleeps again


# ---- late


def test_after_downtime_the_latest_within_grace_runs(world: Make) -> None:
    one = world(last=T - 600).run(T + 65)
    assert one.skips == [(-540, -60, 9, "missed")]
    assert one.why == ["it was away"]
    assert one.runs == [0, 60]
    assert [ask.trigger for ask in one.asks] == ["catch-up", "schedule"]


def test_after_downtime_none(world: Make) -> None:
    one = world(last=T - 600, catch_up="none").run(T + 65)
    assert one.skips == [(-540, 0, 10, "missed")]
    assert one.runs == [60]


def test_none_means_downtime_alone(world: Make) -> None:
    """A slot that a suspension of the machine has made late may still run within grace."""
    one = world((50, ("suspend", 30)), catch_up="none").run(T + 125)
    assert one.runs == [60, 120]


def test_after_downtime_all_within_grace_in_turn(world: Make) -> None:
    one = world(last=T - 600, catch_up="all", grace=300.0).run(T + 65)
    assert one.skips == [(-540, -300, 5, "missed")]
    assert one.runs == [-240, -180, -120, -60, 0, 60]
    assert [ask.trigger for ask in one.asks] == [*["catch-up"] * 5, "schedule"]


def test_all_that_are_caught_up_with_slowly_leave_nothing_out(world: Make) -> None:
    one = world((0, ("call_takes", 45.0)), last=T - 600, catch_up="all", grace=300.0).run(T + 600)
    fates(one)
    assert one.runs[:3] == [-240, -180, -120]


def test_beyond_grace_after_downtime(world: Make) -> None:
    one = world(start=T + 95, grace=30.0).run(T + 125)
    assert one.skips == [(60, 60, 1, "missed")]
    assert one.runs == [120]


def test_a_suspension_within_grace(world: Make) -> None:
    one = world((50, ("suspend", 40))).run(T + 125)
    assert one.runs == [60, 120]
    assert one.called[0][1] == pytest.approx(T + 95, abs=0.01)


def test_a_suspension_beyond_grace(world: Make) -> None:
    one = world((50, ("suspend", 3600))).run(T + 3740)
    fates(one)
    assert one.runs == [3600, 3660, 3720]
    assert sum(count for *_, count, reason in one.skips if reason == "missed") == 59


def test_a_suspension_between_ask_and_grant_does_not_call_late(world: Make) -> None:
    for last, start in ((T, T + 5.0), (T - 600, T + 5.0)):  # a slot on time, and one caught up with
        one = world(last=last, start=start)
        one.answer_after = 0.1
        moment = (60 - LEAD - 5 if last == T else 0) + 0.05
        heapq.heappush(one.events, (moment, -1, ("suspend", 3600)))
        one.run(T + 3900)
        fates(one)
        assert all(at - ask.due <= one.job.grace + LEAD for ask, at in one.called)


# ---- the clock is set


@pytest.mark.parametrize("seconds", [3600, 86400, 366 * 86400])
def test_forward(world: Make, seconds: int) -> None:
    one = world((30, ("step", seconds))).run(T + seconds + 130)
    assert one.runs == [seconds, seconds + 60, seconds + 120]
    assert one.skips == [(60, seconds - 60, seconds // 60 - 1, "missed")]
    assert one.why == ["the clock was set forward"]


def test_forward_within_grace(world: Make) -> None:
    one = world((50, ("step", 20))).run(T + 125)
    assert one.runs == [60, 120]
    assert one.called[0][1] == pytest.approx(T + 75, abs=0.01)


@pytest.mark.parametrize("seconds", [1, 90, 3600, 10_000])
def test_backward_never_fires_an_instant_twice(world: Make, seconds: int) -> None:
    one = world((130, ("step", -seconds))).run(T + 250)
    fates(one)
    assert one.runs == [60, 120, 180, 240]


def test_so_far_back_that_it_must_have_been_wrong(world: Make) -> None:
    """Then it goes on from now; what ran before is denied by the ledger."""
    one = world((0, ("step", 86400)), (100, ("step", -86400))).run(T + 250)
    assert len(one.runs) == len(set(one.runs))
    assert [due for due in one.runs if due < 1000] == [120, 180, 240]
    assert [due for due in one.runs if due > 1000] == [86400, 86460]


def test_backward_while_paused_so_far_that_it_must_have_been_wrong(world: Make) -> None:
    one = world((0, ("step", 86400)), (100, ("step", -86400)), paused=True).run(T + 250)
    assert one.runs == []
    assert (120, 120, 1, "paused") in one.skips
    assert (240, 240, 1, "paused") in one.skips


def test_between_ask_and_due(world: Make) -> None:
    """Set back by a minute with the grant in hand: the slot is missed, since its deadline runs by another clock."""
    one = world((54.9, ("step", -60))).run(T + 125)
    fates(one)
    assert one.runs == [120]
    assert one.skips == [(60, 60, 1, "missed")]


# ---- overlap


def test_slots_that_come_due_while_the_call_runs_are_skipped(world: Make) -> None:
    one = world((0, ("call_takes", 150.0)), (70, ("call_takes", 0.0))).run(T + 305)
    assert one.runs[:1] == [60]
    assert one.skips[:1] == [(120, 180, 2, "overlap")]
    assert one.runs[1] == 240
    fates(one)


def test_a_call_that_ends_in_time_skips_nothing(world: Make) -> None:
    one = world((0, ("call_takes", 59.0))).run(T + 190)
    assert one.skips == []
    assert one.runs == [60, 120, 180]


def test_a_manual_run_overlaps_too(world: Make) -> None:
    fire = Fire(T + 50.123, "manual-run")
    one = world((45, send(fire)), (45, ("call_takes", 30.0)), (56, ("call_takes", 0.0))).run(T + 125)
    assert one.runs == [50.123, 120]
    assert one.skips == [(60, 60, 1, "overlap")]
    assert (one.asks[0].trigger, one.asks[0].run_id) == ("manual", "manual-run")
    fates(one)


# ---- grants that end, as on PostgreSQL


@pytest.fixture
def leased(monkeypatch: pytest.MonkeyPatch, world: Make) -> Make:
    """A world whose grants end 2.5 seconds after they are given."""

    def make(*events: object, **options: object) -> World:
        one = world(*events, **options)
        one.lease = 2.5
        monkeypatch.setattr(main, "boottime", lambda: one.real)
        return one

    return make


def test_a_grant_that_has_not_ended_is_enough(leased: Make) -> None:
    one = leased().run(T + 65)
    assert (one.runs, len(one.asks)) == ([60], 1)


def test_who_wakes_after_the_end_of_its_grant_asks_again_before_it_calls(leased: Make) -> None:
    one = leased((55 - LEAD / 2, ("suspend", 10.0))).run(T + 100)
    assert one.runs == [60]
    assert [ask.retry for ask in one.asks] == [False, False]
    assert one.called[0][1] - T == pytest.approx(70 - LEAD / 2, abs=0.01)


def test_who_wakes_after_the_end_of_its_grant_and_is_denied_does_not_call(leased: Make) -> None:
    one = leased((55 - LEAD / 2, ("suspend", 10.0)), (55 - LEAD / 2, ("ledger", "deny"))).run(T + 100)
    assert (one.called, one.runs, one.skips) == ([], [], [])


def test_without_the_comparison_it_would_call(leased: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the one above."""
    one = leased((55 - LEAD / 2, ("suspend", 10.0)), (55 - LEAD / 2, ("ledger", "deny")))
    monkeypatch.setattr(main, "boottime", lambda: 0.0)
    assert one.run(T + 100).runs == [60]


@pytest.mark.parametrize("grants", [True, False])
def test_a_connection_that_takes_longer_than_the_grant_is_asked_for_again(leased: Make, grants: bool) -> None:
    one = leased(
        (0, ("sends", False)), (0, ("connect_takes", 5.0)), (55 - LEAD / 2, ("ledger", "grant" if grants else "deny"))
    )
    one.run(T + 100)
    assert [ask.retry for ask in one.asks] == [False, True]
    assert one.runs == [60] * grants
    assert one.skips == [] if grants else [(60, 60, 1, "missed")]
    fates(one)


def test_a_guest_runs_once_and_says_nothing_of_the_schedule(make_job: MakeJob) -> None:
    fire = Fire(T + 5.25, "the-run")
    one = World(make_job(), Beginning(T + 5, (0.0, 0.0), "", guest=fire), T + 5.25, [])
    one.call_takes = 200.0
    one.process.run()
    one._hear()
    assert [type(message) for message in one.said] == [Ask, Finished]
    assert one.runs == [5.25]
    one.parent.close()
    one.child.close()


def test_a_denial_may_say_what_to_report(world: Make) -> None:
    one = world((0, ("ledger", "deny")), (0, ("reason", "paused"))).run(T + 65)
    assert one.skips == [(60, 60, 1, "paused")]

"""The ledger on real files: what is committed is there, once."""

from collections.abc import Callable
from typing import Any

import pytest

from ledger_rig import Ledger, T, ask, finished, skipped
from tocsin.ipc.actions import Acted, Actor
from tocsin.ipc.history import Actions
from tocsin.ipc.job import Deny, Finished, Grant, Pause, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, Enrolled
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Outcome

BEGAN = 1_700_000_000.0


@pytest.fixture(autouse=True)
def clock(set_began: Callable[[float], None]) -> None:
    """Nobody sets it."""
    set_began(BEGAN)


# ---- the slots


def test_a_slot_is_granted_once(ledger: Ledger) -> None:
    assert ledger.put(ask()) == [Grant("a", T)]
    assert ledger.put(ask(owner="s1/2")) == [Deny("a", T, 0, "the slot is already started")]
    assert ledger.put(finished()) == []
    assert ledger.put(ask()) == [Deny("a", T, 0, "the slot is already finished")]
    assert ledger.put(ask(job="b"), ask(T + 60), ask(T, attempt=1)) == [
        Grant("b", T),
        Grant("a", T + 60),
        Grant("a", T, 1),
    ]


def test_a_run_is_kept_with_all_that_is_known(ledger: Ledger) -> None:
    run = Finished(
        job="a",
        due=T,
        run_id="run",
        trigger="catch-up",
        attempt=0,
        outcome="http_error",
        detail="503: ü \x00 'quoted'; DROP TABLE slots",
        status=503,
        started=T + 0.002,
        finished=T + 0.5,
        lateness=0.002,
        duration=0.498,
        reported={"unassigned": 3.0},
    )
    ledger.put(ask(), run)
    (row,) = ledger.rows()
    for name in (
        "job",
        "due",
        "outcome",
        "detail",
        "status",
        "started",
        "finished",
        "lateness",
        "duration",
        "reported",
    ):
        assert row[name] == (ledger.storable(run.detail) if name == "detail" else getattr(run, name))
    assert (row["state"], row["count"], row["last"]) == ("finished", 1, T)


def test_a_run_ends_once(ledger: Ledger) -> None:
    ledger.put(ask(), finished(outcome="timeout"))
    ledger.put(finished(outcome="success"))
    assert ledger.brief() == [(0, "finished", "timeout", 1)]


def test_a_run_without_a_row_is_kept_all_the_same(ledger: Ledger) -> None:
    """Its Ask was dropped when the outbox was full."""
    ledger.put(finished())
    assert ledger.brief() == [(0, "finished", "success", 1)]


def test_a_released_slot_is_free_again(ledger: Ledger) -> None:
    ledger.past(now=T - 60)
    ledger.put(ask())
    assert ledger.past().accounted == T
    ledger.put(Release("a", T, 0, "s1/1"))
    assert ledger.rows() == []
    assert ledger.past().accounted == T - 1
    assert ledger.put(ask(owner="s1/2")) == [Grant("a", T)]


@pytest.mark.parametrize("before", [[], [finished()]])
def test_only_the_owner_releases_and_only_what_is_open(ledger: Ledger, before: list[Body]) -> None:
    ledger.put(ask(), *before)
    kept = ledger.rows()
    ledger.put(Release("a", T, 0, "s1/1" if before else "s1/9"))
    assert ledger.rows() == kept


def test_a_released_delivery_leaves_the_slot_its_fate(ledger: Ledger) -> None:
    ledger.past(now=T - 60)
    ledger.put(ask(), finished(outcome="lost"), ask(attempt=1), Release("a", T, 1, "s1/1"))
    assert ledger.past().accounted == T
    assert ledger.brief() == [(0, "finished", "lost", 1)]
    assert ledger.put(ask(attempt=1)) == [Grant("a", T, 1)]


def test_a_withdrawn_ask_is_a_missed_slot(ledger: Ledger) -> None:
    ledger.put(ask(), skipped(T, T, 1, "missed", "too late"))
    assert ledger.brief() == [(0, "missed", "missed", 1)]
    assert ledger.rows()[0]["detail"] == "too late"
    assert ledger.put(ask()) == [Deny("a", T, 0, "the slot is already missed")]


def test_a_withdrawn_manual_run(ledger: Ledger) -> None:
    ledger.past(now=T - 60)
    ledger.put(ask(T + 0.5, trigger="manual"))
    assert ledger.past().accounted == T - 60, "a manual run says nothing about the schedule"
    ledger.put(skipped(T + 0.5, T + 0.5, 1, trigger="manual"))
    assert ledger.past().accounted == T - 60
    assert ledger.brief() == [(0.5, "missed", "missed", 1)]


def test_slots_that_did_not_run_for_one_reason_are_one_row(ledger: Ledger) -> None:
    ledger.put(skipped(T, T, 1, "paused"), skipped(T + 60, T + 120, 2, "paused"))
    ledger.put(skipped(T + 180, T + 180, 1, "paused"))
    assert ledger.brief() == [(0, "skipped", "paused", 4)]
    assert ledger.rows()[0]["last"] == T + 180
    ledger.put(skipped(T + 240, T + 300, 2, "missed", "why"))
    ledger.put(skipped(T + 360, T + 360, 1, "missed", "another why"))
    ledger.put(skipped(T + 420, T + 420, 1, "overlap"))
    assert ledger.brief()[1:] == [
        (240, "missed", "missed", 2),
        (360, "missed", "missed", 1),
        (420, "skipped", "overlap", 1),
    ]


def test_a_run_between_parts_the_rows(ledger: Ledger) -> None:
    ledger.put(skipped(T, T, 1, "overlap"), ask(T + 60), finished(T + 60), skipped(T + 120, T + 120, 1, "overlap"))
    assert [row[0] for row in ledger.brief()] == [0, 60, 120]


def test_the_rows_of_other_jobs_are_others(ledger: Ledger) -> None:
    ledger.put(
        skipped(T, T, 1, "paused"), Skipped("b", T + 30, T + 30, 1, "paused"), skipped(T + 60, T + 60, 1, "paused")
    )
    assert [(row["job"], row["count"]) for row in ledger.rows()] == [("a", 2), ("b", 1)]


# ---- the jobs


def test_a_new_job_begins_now(ledger: Ledger) -> None:
    assert ledger.past(now=T + 0.7) == JobRecord(T, since=T)


def test_a_known_job_goes_on_where_it_was(ledger: Ledger) -> None:
    ledger.past(now=T)
    ledger.put(ask(T + 60), finished(T + 60), skipped(T + 120, T + 240, 3))
    assert ledger.past(generation=2, now=T + 900).accounted == T + 240


def test_a_clock_that_stood_ahead_is_followed_back(ledger: Ledger) -> None:
    ledger.past(now=T + 86400)
    ledger.put(ask(T + 86400 - 3 * 3600))
    assert ledger.past(generation=2).accounted == T + 86400, "as after a change for daylight saving time"
    ledger.put(ask(T), ask(T - 86400, attempt=1))
    assert ledger.past(generation=3).accounted == T


def test_another_schedule_begins_anew(ledger: Ledger) -> None:
    ledger.past(now=T)
    ledger.put(finished(T, "timeout"))
    past = ledger.past(schedule="@hourly UTC", generation=2, now=T + 900.5)
    assert (past.accounted, past.last_outcome, past.consecutive_failures) == (T + 900, "timeout", 1)


@pytest.mark.parametrize(("before", "now"), [
    ("*/1 * * * * UTC", "* * * * * UTC"),
    ("0 9 * * 1-5 Europe/Berlin", "0 9 * * MON-FRI Europe/Berlin"),
    ("@every 60s UTC", "@every 1m Europe/Berlin"),
])  # fmt: skip
def test_the_same_schedule_in_another_spelling_keeps_what_is_known(ledger: Ledger, before: str, now: str) -> None:
    """The ledgers that older versions wrote hold the spelling of the job file."""
    ledger.past(schedule=before, now=T)
    past = ledger.past(schedule=now, generation=2, now=T + 900.5)
    assert (past.accounted, past.since) == (T, T)
    assert ledger.past(schedule="*/2 * * * * UTC", generation=3, now=T + 960.5).accounted == T + 960


def test_from_when_on_a_success_is_expected(ledger: Ledger) -> None:
    assert ledger.past(now=T).since == T
    ledger.put(finished(T, "timeout"), Pause("a", False, T + 600.0))
    assert ledger.past(now=T + 60).since == T
    assert ledger.past(now=T + 120, schedule="@hourly UTC").since == T + 120
    ledger.put(Pause("a", True, T + 600.0))
    assert ledger.past(now=T + 180, schedule="@hourly UTC").since == T + 120
    ledger.put(Pause("a", False, T + 230.5))
    assert ledger.past(now=T + 240, schedule="@hourly UTC").since == T + 230.5
    assert ledger.past(now=T - 900, schedule="@hourly UTC").since == T - 900, "the clock stood ahead"


def test_a_pause_is_kept(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.past()
    ledger.put(Pause("a", True, T + 600.0))
    ledger = again("s2")
    assert ledger.past().paused
    ledger.put(Pause("a", False, T + 600.0))
    assert not ledger.past().paused


def test_what_people_did_is_kept_newest_first(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.past()
    by = Actor("ann", "page", "2001:db8::1")
    done = [
        Acted(T + 1.5, "pause", "a", by, "deploy — \0 \n", T + 7200.0),
        Acted(T + 2.0, "resume", "a", Actor("Tocsin", "daemon"), "its end"),
        Acted(T + 3.0, "fire", "b", Actor("", "command"), run_id="r-1"),
        Acted(T + 4.0, "reload", "", Actor("SIGHUP", "signal")),
    ]
    ledger.put(*done[:2], done[2])
    ledger.put(done[3])
    ledger = again("s2")
    reader = ledger.reader()

    def asked(**wanted: Any) -> list[tuple[str, str]]:
        return [(one.what, one.job) for one in reader.actions(Actions(**wanted))]

    assert asked() == [("reload", ""), ("fire", "b"), ("resume", "a"), ("pause", "a")]
    assert asked(job="a") == [("resume", "a"), ("pause", "a")]
    assert asked(since=T + 2.0, before=T + 4.0) == [("fire", "b"), ("resume", "a")]
    assert len(asked(limit=2)) == 3, "one more says that there are more"
    first = reader.actions(Actions())[-1]
    assert (first.by, first.until, first.why[:6]) == (by, T + 7200.0, "deploy")


def test_actions_are_deleted_with_the_slots(ledger: Ledger) -> None:
    ledger.past()
    ledger.put(Acted(T, "pause", "a", Actor()), Acted(T + 7200, "resume", "a", Actor()))
    before, ledger.ledger._retention = ledger.ledger._retention, 3600.0
    ledger.ledger.idle(T + 7200.0)
    ledger.ledger._retention = before
    assert [one.what for one in ledger.reader().actions(Actions())] == ["resume"]


def test_a_pause_is_kept_with_its_end_and_reason(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.past()
    ledger.put(Pause("a", True, T + 600.0, T + 7200.0, "deploy — \0 \n", "ann"))
    ledger = again("s2")
    past = ledger.past()
    assert (past.paused_since, past.paused_until, past.paused_by) == (T + 600.0, T + 7200.0, "ann")
    assert past.paused_why.startswith("deploy")
    ledger.put(Pause("a", False, T + 7200.0))
    ledger = again("s3")
    assert ledger.past().pause == (T + 600.0, T + 7200.0), "slots of it may have no fate yet"


def test_what_is_no_longer_in_the_roster_is_forgotten_but_for_its_slots(ledger: Ledger) -> None:
    ledger.past("a", now=T)
    ledger.past("b", now=T)
    ledger.put(Enrolled(1), ask(), Pause("b", True, T + 600.0))
    ledger.put(Enroll("a", "* * * * * UTC", 2, T + 900), Enrolled(2))
    assert ledger.past("a", generation=3, now=T + 1000).accounted == T
    assert ledger.past("b", generation=3, now=T + 1000) == JobRecord(T + 1000, since=T + 1000)
    assert len(ledger.rows()) == 1


def test_the_past_of_a_job(ledger: Ledger) -> None:
    ledger.past()
    outcomes: list[Outcome] = ["success", "timeout", "lost", "cancelled"]
    for number, outcome in enumerate(outcomes):
        ledger.put(finished(T + 60 * number, outcome, at=T + 60 * number + 5))
    past = ledger.past(generation=2)
    assert (past.last_outcome, past.last_detail) == ("cancelled", "it was cancelled")
    assert (past.last_run, past.last_success) == (T + 185, T + 5)
    assert past.consecutive_failures == 2, "a cancelled run is neither"
    ledger.put(finished(T + 300))
    assert ledger.past(generation=3).consecutive_failures == 0


# ---- after the daemon's death


def test_runs_that_an_earlier_daemon_left_open_are_lost(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.past(now=T - 60)
    ledger.past("b", now=T - 60)
    ledger.put(ask(), finished(outcome="timeout"), ask(T + 60), ask(T + 90.5, trigger="manual", job="b"))
    ledger = again("s2")
    lost = ledger.ledger.recover(T + 500.0)
    assert [(one.due - T, one.outcome, one.trigger, one.run_id) for one in lost] == [
        (60, "lost", "schedule", f"run-{T + 60}-0"),
        (90.5, "lost", "manual", f"run-{T + 90.5}-0"),
    ]
    assert [row[2] for row in ledger.brief()] == ["timeout", "lost", "lost"]
    assert ledger.past().consecutive_failures == 2
    assert ledger.ledger.recover(T + 501.0) == []


def test_a_slot_whose_instant_is_still_to_come_was_not_called(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.past(now=T - 60)
    ledger.put(ask(job="b"), ask(T + 60), ask(T + 60, attempt=1, job="c"), ask(T + 90.5, trigger="manual", job="d"))
    ledger = again("s2")
    assert [(one.due - T, one.attempt) for one in ledger.ledger.recover(T + 59.0)] == [(0, 0), (60, 1), (90.5, 0)]
    assert ledger.past(generation=2, now=T + 59.0).accounted == T + 59
    assert isinstance(ledger.put(ask(T + 60, owner="s2/1"))[0], Grant)


def test_after_a_step_of_the_clock_nobody_knows(
    ledger: Ledger, again: Callable[[str], Ledger], set_began: Callable[[float], None]
) -> None:
    ledger.put(ask(T + 60))
    set_began(BEGAN - 5.0)
    assert len(again("s2").ledger.recover(T + 59.0)) == 1


def test_after_a_step_while_a_run_was_open_nobody_knows(
    ledger: Ledger, again: Callable[[str], Ledger], set_began: Callable[[float], None]
) -> None:
    """The call went out, the clock was set back, something else was committed, and the daemon died."""
    ledger.put(ask(T))
    set_began(BEGAN - 1.5)
    ledger.put(finished(T - 60))
    ledger = again("s2")
    assert len(ledger.ledger.recover(T - 1.0)) == 1
    ledger.put(ask(T + 60, owner="s2/1"), finished(T + 60))
    ledger.put(ask(T + 120, owner="s2/1"))
    assert again("s3").ledger.recover(T + 119.0) == [], "with nothing open the new clock counts"


def test_runs_of_this_daemon_are_not_lost_when_the_ledger_alone_died(
    ledger: Ledger, again: Callable[[str], Ledger]
) -> None:
    ledger.put(ask(owner="s1/7"))
    ledger = again("s1")
    assert ledger.ledger.recover(T + 500.0) == []
    assert ledger.brief() == [(0, "started", None, 1)]


def test_a_session_whose_name_begins_alike_is_another(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.put(ask(owner="s1/7"))
    assert len(again("s").ledger.recover(T + 1.0)) == 1


def test_the_room_that_a_ledger_takes_is_measured(ledger: Ledger) -> None:
    before = ledger.ledger.room()
    assert before.store == ("sqlite" if type(ledger.ledger).__name__ == "SqliteLedger" else "postgresql")
    ledger.past(now=T - 60)
    for first in range(0, 2000, 500):
        ledger.put(*(one for n in range(first, first + 500) for one in (ask(T + 60 * n), finished(T + 60 * n))))
    after = ledger.ledger.room()
    assert after.size > before.size > 0
    assert (after.free is None) == (before.store == "postgresql"), "what a server has left, it does not tell"
    assert after.free is None or after.free > 0

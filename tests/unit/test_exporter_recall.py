"""What the exporter shows of the time before it began, from the ledger's rows, together with what it heard itself."""

from exporter_rig import NOON, Asked, job, run, world
from tocsin.exporter.state import SLOTS_KEPT
from tocsin.ipc.exporter import JobRemoved
from tocsin.ipc.history import Row
from tocsin.ipc.job import Skipped


def row(due: float, fate: str = "success", **more: object) -> Row:
    return Row("sla-check", due, **{"last": due, "count": 1, "fate": fate, **more})  # type: ignore[arg-type]


def fates(site: Asked) -> list[tuple[float, str, int]]:
    return [(slot.due - NOON, slot.fate, slot.count) for slot in site.state.jobs["sla-check"].slots]


def test_the_past_stands_before_what_was_heard() -> None:
    site = Asked(*world(job()), run(due=NOON))
    site.state.recall("sla-check", [row(NOON - 60), row(NOON - 120, "timeout")])
    assert fates(site) == [(-120, "timeout", 1), (-60, "success", 1), (0, "success", 1)]


def test_what_was_heard_and_stands_in_the_ledger_is_shown_once() -> None:
    site = Asked(*world(job()), Skipped("sla-check", NOON, NOON, 1, "missed"), run(due=NOON + 60))
    site.state.recall("sla-check", [row(NOON + 60), row(NOON - 60, "missed", last=NOON, count=2)])
    assert fates(site) == [(-60, "missed", 2), (60, "success", 1)]


def test_a_run_that_goes_on_is_shown_when_it_has_ended() -> None:
    site = Asked(*world(job()))
    site.state.recall("sla-check", [row(NOON, "running"), row(NOON - 60)])
    site.tell(run(due=NOON, outcome="timeout"))
    assert fates(site) == [(-60, "success", 1), (0, "timeout", 1)]


def test_slots_that_one_reason_kept_from_running_are_one_as_in_the_ledger() -> None:
    site = Asked(*world(job()))
    for minute in range(3):
        site.tell(Skipped("sla-check", NOON + 60 * minute, NOON + 60 * minute, 1, "paused"))
    site.tell(Skipped("sla-check", NOON + 180, NOON + 240, 2, "missed", "the daemon was stopped"))
    assert fates(site) == [(0, "paused", 3), (180, "missed", 2)]


def test_no_more_is_kept_than_the_strip_shows() -> None:
    site = Asked(*world(job()))
    site.state.recall("sla-check", [row(NOON - 60 * one) for one in range(SLOTS_KEPT + 5)])
    assert len(fates(site)) == SLOTS_KEPT
    assert fates(site)[-1][0] == 0


def test_each_new_job_is_read_once() -> None:
    site = Asked(*world(job(), job("b")))
    assert list(site.state.unread) == ["sla-check", "b"]
    site.tell(JobRemoved("b"), job())
    assert list(site.state.unread) == ["sla-check"]
    site.state.recall("nobody", [row(NOON)])


def test_a_run_that_the_ledger_told_first_is_there_once() -> None:
    """The ledger may answer, at a start, with what the parent tells of a moment later."""
    asked = Asked(*world(job()))
    rows = [Row("sla-check", NOON - 60 * back, NOON - 60 * back, 1, "success", run_id=f"run-{back}") for back in (0, 1)]
    missed = Row("sla-check", NOON - 600, NOON - 120, 9, "missed", detail="away")
    asked.state.recall("sla-check", [*rows, missed])
    told = Skipped("sla-check", NOON - 600, NOON - 120, 9, "missed", "away")
    asked.tell(told, run(due=NOON - 60, run_id="run-1"), run(due=NOON, run_id="run-0"), run(due=NOON + 60))
    slots = asked.state.jobs["sla-check"].slots
    assert [(slot.due - NOON, slot.count) for slot in slots] == [(-600, 9), (-60, 1), (0, 1), (60, 1)]

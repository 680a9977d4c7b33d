"""How a job is, and how the daemon is: the table of cases."""

from typing import Any

import pytest

from exporter_rig import NOON, job
from tocsin.health import (
    HEALTHS,
    LOOKS,
    SLOW_FROM,
    TOLERANCE,
    Health,
    Judged,
    Known,
    answered,
    headline,
    held,
    judge,
    troubles,
)
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, JobStatus, LedgerState, NotifierState
from tocsin.schedule import Schedule
from tocsin.schedule.expected import Expected, success_deadline

NO_LEDGER = "the ledger does not commit: disk full"
CONFIG, LEDGER = ConfigLoaded("hash", NOON), LedgerState(True, 0)


def up(**changes: Any) -> JobStatus:
    """A minute job whose last run was a success, asleep until the next minute."""
    usual = {"pid": 12, "process_started": NOON - 600, "state": "sleeping", "next_fire": NOON + 60}
    told = {"last_outcome": "success", "last_run": NOON, "last_success": NOON, "since": NOON - 600}
    return job(**{**usual, **told, **changes})


def failed(**changes: Any) -> JobStatus:
    return up(last_outcome="timeout", last_detail="no complete reply", consecutive_failures=3, **changes)


def running(**changes: Any) -> JobStatus:
    return up(state="running", running_since=NOON, next_fire=NOON, **changes)


LATE = NOON + 60 + TOLERANCE

# status, seconds after NOON, state of its process, why no job is called -> health, words of why
CASES: dict[str, tuple[JobStatus, float, str, str | None, Health, str]] = {
    "well": (up(), 1, "S", None, "well", ""),
    "new": (up(last_outcome=None, last_run=None, last_success=None, since=NOON), 1, "S", None, "new", ""),
    "running": (running(), 1, "S", None, "running", ""),
    "its first run": (running(last_outcome=None, last_success=None, since=NOON), 1, "S", None, "running", ""),
    "paused": (up(paused=True), 1, "S", None, "paused", ""),
    "disabled": (up(enabled=False, state="disabled", pid=None), 1e6, "", NO_LEDGER, "disabled", ""),
    "elsewhere": (up(state="elsewhere", pid=None, next_fire=None), 1e6, "", NO_LEDGER, "elsewhere", ""),
    # stalled
    "no process yet": (up(state="starting", pid=None), 1, "", None, "stalled", "is being started"),
    "its process died": (up(state="backing off", pid=None), 1, "", None, "stalled", "is started again"),
    "told to end": (up(state="stopped", pid=None), 1, "", None, "stalled", "has ended, as it was told to"),
    "stopped": (up(), 1, "T", None, "stalled", "its process 12 is stopped (SIGSTOP)"),
    "held by a debugger": (up(), 1, "t", None, "stalled", "a debugger"),
    "a zombie": (up(), 1, "Z", None, "stalled", "has exited"),
    "stopped within a run": (running(), 1, "T", None, "stalled", "SIGSTOP"),
    "stopped and failing": (failed(), 1, "T", None, "stalled", "SIGSTOP"),
    "stopped and paused": (up(paused=True), 1, "T", None, "stalled", "SIGSTOP"),
    "nobody can see its process": (up(), 1, "", None, "well", ""),
    "due now": (up(), 61, "S", None, "well", ""),
    "due for as long as may be": (up(), LATE - NOON, "S", None, "well", ""),
    "overdue": (up(), LATE - NOON + 0.1, "S", None, "stalled", "it was due at 2026-11-21T12:01:00Z"),
    "overdue and paused": (up(paused=True), LATE - NOON + 0.1, "S", None, "stalled", "it was due"),
    "its instant passed while it ran": (running(), 200, "S", None, "running", ""),
    "begins": (up(state="starting", process_started=NOON), TOLERANCE, "S", None, "well", ""),
    "does not begin": (up(state="starting", process_started=NOON), TOLERANCE + 1, "S", None, "stalled", "not reported"),
    "no ledger": (up(), 1, "S", NO_LEDGER, "stalled", NO_LEDGER),
    "no ledger, and failing": (failed(), 1, "S", NO_LEDGER, "stalled", NO_LEDGER),
    "no ledger, and paused": (up(paused=True), 1, "S", NO_LEDGER, "paused", ""),
    # past its success deadline: the second minute, 300 s of timeout and 60 s of grace after the last success
    "before its deadline": (running(), 120 + 360, "S", None, "running", ""),
    "past its deadline, in a run": (running(), 120 + 361, "S", None, "overdue", "since 2026-11-21T12:00:00Z"),
    "past its deadline": (failed(next_fire=NOON + 600), 120 + 361, "S", None, "overdue", "3 runs in a row failed"),
    "it never succeeded": (failed(next_fire=NOON + 600, last_success=None), 1, "S", None, "overdue", "never succeeded"),
    "paused beyond it": (up(paused=True, next_fire=NOON + 600), 120 + 361, "S", None, "paused", ""),
    "resumed since": (up(since=NOON + 400, next_fire=NOON + 600), 120 + 361, "S", None, "well", ""),
    # failing
    "failing": (failed(), 1, "S", None, "failing", "3 runs in a row failed, the last: timeout: no complete reply"),
    "failed once": (up(last_outcome="lost", consecutive_failures=1), 1, "S", None, "failing", "failed: lost"),
    "failing, and the next try runs": (
        running(last_outcome="timeout", consecutive_failures=1),
        1, "S", None, "failing", "its last run failed: timeout",
    ),
    "failing, then cut off": (up(last_outcome="cancelled", consecutive_failures=2), 1, "S", None, "failing", "2 runs"),
    "failing, and paused": (failed(paused=True), 1, "S", None, "failing", "3 runs"),
    "failing, and missing slots": (failed(missing=2), 1, "S", None, "failing", "3 runs"),
    # slow
    "as long as usual": (running(usual_duration=4.0), 20, "S", None, "running", ""),
    "much longer than usual": (running(usual_duration=4.0), 20.1, "S", None, "slow", "usually one takes 4 s"),
    "longer, but short": (running(usual_duration=0.01), SLOW_FROM, "S", None, "running", ""),
    "hangs": (running(usual_duration=0.01), SLOW_FROM + 0.1, "S", None, "slow", "since 2026-11-21T12:00:00Z"),
    "slow, and failing": (
        running(usual_duration=0.01, last_outcome="timeout", consecutive_failures=1),
        60, "S", None, "failing", "timeout",
    ),
    "nobody knows what is usual": (running(), 200, "S", None, "running", ""),
    # missing slots
    "missed one": (up(missing=1), 1, "S", None, "missing", "1 slot did not run since its last run"),
    "missed some, and runs": (running(missing=7), 1, "S", None, "missing", "7 slots did not run"),
    "missed some, and paused": (up(missing=7, paused=True), 1, "S", None, "missing", "7 slots"),
    "cut off by a stop": (up(last_outcome="cancelled"), 1, "S", None, "missing", "cut off when the daemon stopped"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_table(case: str) -> None:
    status, after, process, why_none, health, words = CASES[case]
    found = judge(status, NOON + after, Expected().deadline(status), process, why_none)
    assert found.health == health
    assert words in found.why
    assert bool(found.why) == (LOOKS[health].is_trouble or health in ("paused", "elsewhere"))


def test_the_table_has_each_word() -> None:
    assert {case[4] for case in CASES.values()} == set(HEALTHS) == set(LOOKS)


def test_the_worst_comes_first() -> None:
    """Of two that are true, the worse is said: take the trouble away from a job one by one."""
    status = running(
        missing=1, paused=True, usual_duration=0.1, last_outcome="timeout", consecutive_failures=1, last_success=None
    )
    found = [judge(status, NOON + 60, 0.0, "T").health]
    for less in ({}, {"consecutive_failures": 0}, {"usual_duration": None}, {"missing": 0}, {"paused": False}):
        status = _less(status, **less)
        found.append(judge(status, NOON + 60, None if status.paused else 1e12, "S").health)
    assert found == ["stalled", "failing", "slow", "missing", "paused", "running"]


def _less(status: JobStatus, **changes: Any) -> JobStatus:
    return running(
        **{
            key: getattr(status, key)
            for key in ("missing", "paused", "usual_duration", "last_outcome", "consecutive_failures", "last_success")
        }
        | changes
    )


# ---- the success deadline


def test_the_success_deadline_is_the_second_fire_with_timeout_and_grace() -> None:
    assert success_deadline(Schedule("0 * * * *"), NOON + 1, 300, 60) == NOON + 2 * 3600 + 360
    expected = Expected()
    status = up()
    assert expected.deadline(status) == NOON + 120 + 360
    assert expected.deadline(up(schedule="0 * * * *")) == NOON + 2 * 3600 + 360
    assert expected.deadline(up(timeout=10.0)) == NOON + 120 + 70
    assert expected.deadline(up(last_success=None, since=None)) is None
    assert expected.deadline(up(last_success=None, since=None), NOON) == NOON + 120 + 360
    assert expected.deadline(up(timezone="Mars/Olympus")) is None
    assert expected.next_due(up(timezone="Mars/Olympus"), NOON) is None
    assert expected.next_due(status, NOON + 1) == NOON + 60


# ---- the whole


@pytest.mark.parametrize(
    ("known", "what", "why_none"),
    [
        (Known(CONFIG, LEDGER), [], None),
        (Known(), ["job file", "ledger"], "the job file is not loaded"),
        (Known(CONFIG, LedgerState(False, 1, "disk full")), ["ledger"], NO_LEDGER),
        (Known(CONFIG, LedgerState(False, 1)), ["ledger"], "the ledger does not commit"),
        (Known(ConfigLoaded("hash", NOON, "line 3: what?"), LEDGER), ["job file"], None),
        (Known(CONFIG, LEDGER, silence=15.0, behind=15.0), [], None),
        (Known(CONFIG, LEDGER, silence=15.1, behind=15.1), ["silent"], "the daemon is silent: nothing heard"),
        (Known(CONFIG, LEDGER, behind=15.1), ["exporter"], None),
        (Known(CONFIG, LEDGER, notifier=NotifierState(sent=1)), [], None),
        (Known(CONFIG, LEDGER, notifier=NotifierState(detail="address 1 (json): refused")), ["notifier"], None),
        (Known(CONFIG, LEDGER, DaemonStops(NOON)), ["stopping"], "the daemon is stopping: since 2026-11-21T12:00:00Z"),
        (
            Known(ConfigLoaded("hash", NOON, "x"), LedgerState(False, 1, "disk full"), DaemonStops(NOON), 0.0, 20.0),
            ["stopping", "ledger", "job file", "exporter"],
            "the daemon is stopping",
        ),
    ],
)  # fmt: skip
def test_the_whole(known: Known, what: list[str], why_none: str | None) -> None:
    found = troubles(known)
    assert [one.what for one in found] == what
    assert held(found) == why_none or (why_none and str(held(found)).startswith(why_none))


@pytest.mark.parametrize(
    ("known", "counts", "words", "number"),
    [
        (Known(CONFIG, LEDGER), {}, "No jobs yet", 0),
        (Known(CONFIG, LEDGER), {"well": 2, "running": 1, "paused": 1}, "All is well", 0),
        (Known(CONFIG, LEDGER), {"well": 2, "failing": 1}, "1 of 3 jobs is failing", 1),
        (Known(CONFIG, LEDGER), {"missing": 2}, "2 of 2 jobs are missing slots", 2),
        (Known(CONFIG, LEDGER), {"failing": 1, "stalled": 1}, "2 of 2 jobs are in trouble", 2),
        (Known(CONFIG, LedgerState(False, 1)), {"stalled": 2}, "The ledger does not commit", 1),
        (Known(ConfigLoaded("hash", NOON, "x"), LEDGER), {"well": 2}, "The job file was refused", 1),
        (Known(ConfigLoaded("hash", NOON, "x"), LEDGER), {"failing": 1}, "1 of 1 job is failing", 2),
    ],
)
def test_the_headline(known: Known, counts: dict[Health, int], words: str, number: int) -> None:
    assert headline(troubles(known), counts) == (words, number)


def test_what_the_daemon_answers_is_judged() -> None:
    off = up(name="off", enabled=False, state="disabled")
    found = answered([CONFIG, LedgerState(False, 3, "disk full"), up(pid=None, name="a"), off], NOON)
    assert [str(one) for one in found.troubles] == [NO_LEDGER]
    assert found.judged == {"a": Judged("stalled", NO_LEDGER), "off": Judged("disabled")}

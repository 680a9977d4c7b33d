"""What the notifier makes of the parent's messages: the news, and the words in which they are told."""

import dataclasses

import pytest
from msgspec.structs import replace

from exporter_rig import NOON, job, run
from tocsin.config.notify import Notify
from tocsin.ipc import status
from tocsin.ipc.cluster import Member, Members
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, Heartbeat, JobStatus, LedgerState, ProcessUp
from tocsin.ipc.job import Sleeping
from tocsin.ipc.notifier import ToNotifier
from tocsin.notifier.desk import Desk
from tocsin.notifier.kept import Kept
from tocsin.notifier.pace import Message
from tocsin.notifier.words import Place

SETTINGS = Notify(urls=("json://x",), gather=30.0, max_per_hour=20)


class Told:
    """A desk in a time of its own; jobs' processes are as `processes` says."""

    def __init__(self, *jobs: JobStatus, settings: Notify = SETTINGS, kept: Kept | None = None) -> None:
        self.now, self.clock = NOON, 1000.0
        self.process = "S"
        self.messages: list[Message] = []
        self.jobs = {one.name: one for one in jobs}
        place = Place("web-1", settings.page_url)
        self.desk = Desk(kept or Kept(), settings, place, ["key"] if settings.urls else [], self.now, self.clock)
        self.says(LedgerState(up=True, backlog=0), *jobs, ConfigLoaded("c0ffee", NOON))

    def says(self, *messages: ToNotifier) -> None:
        for message in messages:
            self.desk.hear(message, self.now, self.clock)

    def happens(self, name: str, *events: object) -> None:
        """To a job, in the parent, which tells its new status."""
        for event in events:
            self.jobs[name] = status.after(self.jobs[name], event)  # type: ignore[arg-type]
        self.says(self.jobs[name])

    def runs(self, name: str, outcome: str = "success", **more: object) -> None:
        ended = run(name, outcome, due=self.now, next_due=self.now + 60, **more)  # type: ignore[arg-type]
        self.happens(name, ended)

    def later(self, seconds: float, *, heartbeats: bool = True) -> None:
        end = self.now + seconds
        while self.now < end:
            step = min(5.0, end - self.now)
            self.now, self.clock = self.now + step, self.clock + step
            if heartbeats:
                self.says(Heartbeat(self.now))
            self.desk.look(self.now, self.clock, lambda _: self.process)
            self.messages += self.desk.tick(self.now, self.clock)

    @property
    def titles(self) -> list[str]:
        assert all(one.title.startswith("Tocsin on web-1: ") for one in self.messages)
        return [one.title.removeprefix("Tocsin on web-1: ") for one in self.messages]


def asleep(name: str, **changes: object) -> JobStatus:
    """A job with a process, that sleeps to a fire in an hour."""
    up = status.after(job(name), ProcessUp("job", name, 12, NOON))
    return replace(status.after(up, Sleeping(name, NOON + 3600)), last_success=NOON, **changes)


@pytest.fixture
def told() -> Told:
    return Told(asleep("sla-check"), asleep("report"))


def test_a_minute_job_is_told_at_its_third_failure_with_all_there_is_to_know(told: Told) -> None:
    for _ in range(2):
        told.runs("sla-check", "http_error", detail="500: boom")
        told.later(60)
    assert told.titles == []
    told.runs("sla-check", "http_error", detail="500: boom")
    told.later(60)
    [message] = told.messages
    assert told.titles == ["sla-check fails"]
    assert message.mood == "failure"
    assert message.body.splitlines() == [
        "Job: sla-check, 3 runs in a row",
        "What happened: http error: 500: boom",
        "Since: 2026-11-21T12:00:00Z",
        "Last success: 2026-11-21T12:00:00Z",
        "Next try: 2026-11-21T12:03:00Z",
    ]


def test_a_job_that_fires_once_a_day_is_told_at_its_first_failure() -> None:
    told = Told(
        replace(asleep("report"), schedule="0 12 * * *"), settings=replace_settings(page_url="https://t.example")
    )
    told.runs("report", "timeout", detail="no reply within 300 s")
    told.later(60)
    assert told.titles == ["app.example does not answer: report fails"]
    assert told.messages[0].body.endswith("\nhttps://t.example/jobs/report")


def replace_settings(**changes: object) -> Notify:
    return dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]


def test_notify_after_of_a_job_is_its_patience_also_with_its_secret(told: Told) -> None:
    told.happens("report", ProcessUp("job", "report", 12, NOON))
    told.jobs["report"] = replace(told.jobs["report"], notify_after=2)
    told.runs("report", "unauthorized")
    told.later(60)
    assert told.titles == []
    told.runs("report", "unauthorized")
    told.later(60)
    assert told.titles == ["app.example refuses the secret of report"]


def test_jobs_of_one_host_that_fail_in_any_way_at_the_same_time_are_one_message() -> None:
    names = [f"job-{number}" for number in range(20)]
    told = Told(*(asleep(name, alert_after=1) for name in names))
    for name in names:
        told.runs(name, "http_error", detail="500: no database", status=500)
        told.later(1)
    told.later(60)
    assert told.titles == ["20 jobs of app.example fail"]
    assert f"Jobs: {', '.join(names)}" in told.messages[0].body
    for name in names:
        told.runs(name)
    told.later(60)
    assert told.titles[1:] == ["20 jobs are well again"]


def test_nothing_is_told_of_jobs_that_the_ledger_has_not_told_of() -> None:
    kept = Told(asleep("a", alert_after=1))
    kept.runs("a", "timeout")
    kept.later(60)
    assert len(kept.titles) == 1
    again = Told(replace(job("a"), counts=None), kept=kept.desk.kept)
    again.later(60)
    assert again.titles == [], "a status from before the ledger has told is no sign of health"
    again.jobs["a"] = replace(
        asleep("a", alert_after=1), consecutive_failures=1, last_outcome="timeout", unreachable=True
    )
    again.happens("a")
    again.later(60)
    assert again.titles == [], "it was told already"
    again.runs("a")
    again.later(60)
    assert again.titles == ["app.example answers again: a is well again"]


def test_a_stopped_process_is_told_after_a_minute_and_its_end(told: Told) -> None:
    told.process = "T"
    told.later(50)
    assert told.titles == []
    told.later(60)
    assert told.titles == ["2 jobs of app.example cannot be called"] or told.titles == ["2 jobs cannot be called"]
    assert "is stopped (SIGSTOP)" in told.messages[0].body
    told.process = "S"
    told.later(60)
    assert told.titles[1:] == ["2 jobs are well again"]


def test_a_failing_job_that_then_stands_still_is_told_though_its_outage_was_over() -> None:
    told = Told(replace(asleep("daily"), schedule="0 12 * * *"), asleep("minutely", alert_after=1))
    for name in ("daily", "minutely"):
        told.runs(name, "timeout")
    told.later(60)
    told.runs("minutely")
    told.later(60)
    assert told.titles[1:] == ["app.example answers again: minutely is well again"]
    told.happens("minutely", Sleeping("minutely", NOON + 36000))
    told.process = "T"
    told.later(120)
    assert any("cannot be called" in title for title in told.titles[2:])
    assert any("daily" in one.body for one in told.messages[2:])


def test_a_daemon_that_hangs_is_told_and_its_jobs_are_not(told: Told) -> None:
    told.later(100, heartbeats=False)
    assert told.titles == ["The daemon is silent"]
    told.later(60)
    assert told.titles[1:] == ["The daemon is heard again"]


def test_a_notifier_that_stood_still_itself_does_not_blame_the_parent(told: Told) -> None:
    told.later(20)
    told.now, told.clock = told.now + 600, told.clock + 600
    told.later(30)
    assert told.titles == []


def test_the_ledger_and_the_job_file(told: Told) -> None:
    told.says(LedgerState(up=False, backlog=3, detail="the disk is full"))
    told.later(60)
    told.says(ConfigLoaded("c0ffee", NOON, error="tocsin.toml: [jobs.x] path: is missing"))
    told.later(60)
    told.says(LedgerState(up=True, backlog=0), ConfigLoaded("c0ffee", NOON))
    told.later(60)
    assert told.titles == [
        "The ledger does not commit",
        "The job file was refused",
        "The ledger commits again",
        "The job file is in use again",
    ]
    assert "the disk is full" in told.messages[0].body


def test_a_daemon_that_stops_tells_nothing_of_its_jobs(told: Told) -> None:
    told.says(DaemonStops(NOON))
    told.process = "Z"
    told.runs("sla-check", "timeout")
    told.later(600)
    assert told.titles == []
    assert not told.desk.is_steady


def test_jobs_that_another_node_owns_are_its_to_tell() -> None:
    told = Told(replace(asleep("a", alert_after=1), state="elsewhere", pid=None))
    told.later(300)
    assert told.titles == []


def node(session: str, name: str, state: str = "live") -> Member:
    return Member(session, name, 1, state)  # type: ignore[arg-type]


def test_a_node_that_is_lost_is_told_by_one_of_the_others(told: Told) -> None:
    first, second = told, Told(asleep("a"))
    alive = (node("s1", "web-1"), node("s2", "web-2"), node("s3", "web-3"))
    lost = (node("s1", "web-1"), node("s2", "web-2"), node("s3", "web-3", "dead"))
    back = (node("s1", "web-1"), node("s2", "web-2"), node("s4", "web-3"))
    for nodes in (alive, lost, back):
        first.says(Members("s1", 1, nodes))
        second.says(Members("s2", 1, nodes))
        first.later(60)
        second.later(60)
    assert first.titles == ["The node web-3 is lost", "The node web-3 is back"]
    assert second.titles == []


def test_without_addresses_an_outage_speaks_against_a_sign_of_life_and_with_them_it_does_not() -> None:
    for urls, found in ((("json://x",), []), ((), ["a: http error: 500: boom"])):
        told = Told(asleep("a", alert_after=1), settings=replace_settings(urls=urls))
        told.runs("a", "http_error", detail="500: boom")
        assert told.desk.unwell(told.clock) == []
        told.later(60)
        assert told.desk.unwell(told.clock) == found
        told.runs("a")
        told.later(60)
        assert told.desk.unwell(told.clock) == []


def test_what_is_not_delivered_is_said_from_the_second_failure_on() -> None:
    told = Told(asleep("sla-check"))
    told.runs("sla-check", "unauthorized")
    told.later(60)
    for said in ({}, {"key": "refused"}):
        [(key, letter)] = told.desk.letters(told.now)
        assert not told.desk.failed(key, letter, "refused", told.now)
        assert told.desk.not_delivered() == said
        told.later(900)
    [(key, letter)] = told.desk.letters(told.now)
    told.desk.sent(key, letter)
    assert told.desk.not_delivered() == {}
    state = told.desk.state("")
    assert (state.sent, state.failed, state.waiting) == (1, 2, 0)

"""What the exporter is told, also when it does not keep up: of a state the newest, of what is counted each."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.config import Job
from tocsin.exporter.api import readiness
from tocsin.exporter.pieces import at_once
from tocsin.exporter.state import State
from tocsin.ipc.exporter import (
    ConfigLoaded,
    EventsDropped,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    ProcessExited,
    ProcessUp,
    Started,
    ToExporter,
)
from tocsin.ipc.job import Finished, Pause, Skipped, Sleeping
from tocsin.ipc.ledger import Committed
from tocsin.parent import untold
from tocsin.parent.status_feed import Counted, StatusFeed

T = 1_800_000_000.0


class Exporter:
    """One that takes so many messages at a time as it has room for; what it then knows is the exporter's own work."""

    def __init__(self, room: float = float("inf")) -> None:
        self.room = room
        self.heard: list[ToExporter] = []
        self.state = State(T, 0.0)

    def take(self, message: ToExporter) -> bool:
        if self.room < 1:
            return False
        self.room -= 1
        self.heard.append(message)
        self.state.hear(message, 0.0)
        return True

    @property
    def statuses(self) -> dict[str, JobStatus]:
        return {name: job.status for name, job in self.state.jobs.items()}


def finished(job: str, due: float = T, outcome: str = "http_error") -> Finished:
    return Finished(job, due, "run", "schedule", 0, outcome, finished=due + 1, next_due=due + 60)  # type: ignore[arg-type]


def test_a_new_exporter_hears_what_is_in_use_and_what_was_refused_since() -> None:
    used, refused, again = ConfigLoaded("a", 1.0), ConfigLoaded("a", 2.0, "it is wrong"), ConfigLoaded("b", 3.0)
    exporter = Exporter()
    feed = StatusFeed(exporter.take)
    for told, expected in ((used, [used]), (refused, [used, refused]), (again, [again])):
        feed.tell(told)
        exporter.heard.clear()
        feed.repeat()
        assert [one for one in exporter.heard if isinstance(one, ConfigLoaded)] == expected


def _missing(state: State) -> list[str]:
    return list(at_once(readiness(state, T, 0.0))[1]["missing"])


def test_a_new_exporter_knows_every_job_before_it_can_call_itself_ready(make_job: Callable[..., Job]) -> None:
    exporter = Exporter(0)
    feed = StatusFeed(exporter.take)
    feed.tell(ConfigLoaded("a", T))
    feed.tell(LedgerState(True, 0))
    for name in ("first", "second", "third"):
        feed.define(make_job(name=name))
        feed.tell(ProcessUp("job", name, 1, T))
    feed.repeat()
    ready = []
    for _ in range(20):
        exporter.room = 1
        feed.pump()
        ready.append(not _missing(exporter.state))
    assert ready[-1]
    assert len(exporter.state.jobs) == 3
    assert isinstance(exporter.heard[ready.index(True)], ConfigLoaded)


def test_while_it_keeps_up_it_hears_the_small_events_themselves(make_job: Callable[..., Job]) -> None:
    exporter = Exporter()
    feed = StatusFeed(exporter.take)
    feed.define(make_job(name="a"))
    exporter.heard.clear()
    events: list[ToExporter] = [ProcessUp("job", "a", 7, T), Sleeping("a", T), Started("a", T), finished("a")]
    for event in events:
        feed.tell(event)
    assert exporter.heard == events
    assert exporter.statuses == feed.statuses


def test_twenty_thousand_jobs_and_an_exporter_that_never_listens(make_job: Callable[..., Job]) -> None:
    """What waits for it depends on how much there is to say, not on how often it changed."""
    jobs = 20_000
    exporter = Exporter(0)
    feed = StatusFeed(exporter.take)
    feed.tell(ConfigLoaded("hash", T))
    for n in range(jobs):
        feed.define(make_job(name=f"job-{n}"))
    for again in range(5):
        for n in range(jobs):
            feed.tell(ProcessUp("job", f"job-{n}", 1000 + n, T + again))
            feed.tell(Sleeping(f"job-{n}", T + again))
        feed.heartbeat(0)
        feed.tell(LedgerState(True, again))
    assert len(feed._untold) <= jobs + 10
    exporter.room = 1_000_000
    feed.pump()
    assert len(exporter.heard) <= jobs + 10, "each state is told once, as it is now"
    assert exporter.statuses == feed.statuses
    assert not _missing(exporter.state)


def test_what_is_counted_waits_and_is_heard_once(make_job: Callable[..., Job]) -> None:
    exporter = Exporter(0)
    feed = StatusFeed(exporter.take)
    feed.define(make_job(name="a"))
    told: list[ToExporter] = [
        event
        for n in range(1000)
        for event in (finished("a", T + n), Skipped("a", T, T, 1, "overlap"), Committed(n, 0.001))
    ]
    for event in told:
        feed.tell(event)
        feed.tell(Sleeping("a", T))
    while feed._untold:
        exporter.room = 7
        feed.pump()
    assert [one for one in exporter.heard if isinstance(one, Counted)] == told
    assert exporter.statuses == feed.statuses
    assert exporter.statuses["a"].consecutive_failures == 1000


def test_the_pid_of_a_ledger_that_died_is_not_told_after_its_end() -> None:
    exporter = Exporter(0)
    feed = StatusFeed(exporter.take)
    for pid in (1, 2, 3):
        feed.tell(ProcessUp("ledger", "", pid, T))
        feed.tell(ProcessExited("ledger", "", "signal", "killed"))
    feed.tell(ProcessUp("ledger", "", 4, T))
    exporter.room = 100
    feed.pump()
    lives = [one for one in exporter.heard if isinstance(one, ProcessUp | ProcessExited)]
    assert [one.pid for one in lives if isinstance(one, ProcessUp)] == [1, 2, 3, 4]
    assert [type(one) for one in lives] == [ProcessUp, ProcessExited] * 3 + [ProcessUp]


def test_beyond_what_is_kept_events_are_counted_as_dropped_and_that_is_said_once(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = Exporter(0)
    feed = StatusFeed(exporter.take)
    feed._untold = untold.Untold(feed.newest, kept=100)
    warned: list[str] = []
    monkeypatch.setattr("tocsin.log.warning", lambda text, **_: warned.append(text))
    for n in range(50):
        feed.define(make_job(name=f"job-{n}"))
    for n in range(300):
        feed.tell(finished(f"job-{n % 50}", T + n))
    assert len([text for text in warned if "does not read" in text]) == 1
    assert len(feed._untold) <= 100 + 2 * 50
    exporter.room = 10_000
    feed.pump()
    feed.heartbeat(3)
    assert len([one for one in exporter.heard if isinstance(one, Finished)]) == 100
    assert [one for one in exporter.heard if isinstance(one, EventsDropped)][-1] == EventsDropped(200 + 3)
    assert exporter.statuses == feed.statuses, "the state of a job counts what was dropped"
    feed.tell(finished("job-1", T + 999))
    assert isinstance(exporter.heard[-1], Finished), "and it goes on"


def test_a_job_that_was_removed_while_it_did_not_listen(make_job: Callable[..., Job]) -> None:
    exporter = Exporter()
    feed = StatusFeed(exporter.take)
    feed.define(make_job(name="old"))
    feed.define(make_job(name="kept"))
    exporter.room = 0
    feed.remove("old")
    feed.define(make_job(name="new"))
    feed.tell(Pause("kept", True, T))
    feed.heartbeat(0)
    exporter.room = 100
    feed.pump()
    assert JobRemoved("old") in exporter.heard
    assert {name: one.paused for name, one in exporter.statuses.items()} == {"kept": True, "new": False}
    exporter.heard.clear()
    feed.heartbeat(0)
    assert not [one for one in exporter.heard if isinstance(one, JobStatus | JobRemoved)]
    assert any(isinstance(one, Heartbeat) for one in exporter.heard)


NAMES = ("a", "b", "c")
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["define", "remove", "up", "exit", "sleep", "start", "end", "skip", "pause", "resume", "ledger", "repeat"]
        ),
        st.sampled_from(NAMES),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(steps, st.randoms(use_true_random=False))
def test_any_history_ends_with_the_same_state_and_every_event_once(
    make_job: Callable[..., Job], history: list[tuple[str, str, int]], chance: random.Random
) -> None:
    """The exporter has room for so many messages after each step. It knows a job before it hears of its runs."""
    exporter = Exporter(0)
    feed = StatusFeed(exporter.take)
    counted: list[tuple[ToExporter, bool]] = []
    known_at: list[bool] = []
    take = exporter.take

    def noting(message: ToExporter) -> bool:
        known = getattr(message, "job", "") in exporter.state.jobs
        if not take(message):
            return False
        if isinstance(message, Counted):
            known_at.append(known)
        return True

    feed._to_exporter = noting
    for n, (what, name, room) in enumerate(history):
        exporter.room += room
        now = T + n
        event: ToExporter | Pause | None = None
        match what:
            case "define":
                feed.define(make_job(name=name, timeout=float(1 + n)))
            case "remove":
                feed.remove(name)
            case "repeat":
                feed.pump() if chance.random() < 0.5 else feed.heartbeat(0)
            case "up":
                event = ProcessUp("job", name, n + 1, now)
            case "exit":
                event = ProcessExited("job", name, "error", "")
            case "sleep":
                event = Sleeping(name, now)
            case "start":
                event = Started(name, now)
            case "end":
                event = finished(name, now, chance.choice(["success", "timeout", "cancelled"]))
            case "skip":
                event = Skipped(name, now, now, 1, "overlap")
            case "pause" | "resume":
                event = Pause(name, what == "pause", T)
            case "ledger":
                event = LedgerState(chance.random() < 0.5, n)
        if event:
            if isinstance(event, Counted):
                counted.append((event, name in feed.statuses))
            feed.tell(event)
    exporter.room = 10_000
    feed.pump()
    assert exporter.statuses == feed.statuses
    assert [one for one in exporter.heard if isinstance(one, Counted)] == [event for event, _ in counted]
    assert known_at == [known for _, known in counted]
    assert exporter.state.ledger in (None, feed._ledger)

"""What is told, and how often: one outage is one message, whatever happens in which order."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.notifier import outages
from tocsin.notifier.cases import Began, Ended, Ill, Kind, News, Patient, SlotsMissed, State
from tocsin.notifier.outages import HOLD, STEADY

T = 1_800_000_000.0
GATHER = 30.0
AGAIN = msgspec.json.Decoder(State)


class Told:
    """A history of patients, with every message that came of it. The state is written and read again all the time."""

    def __init__(self) -> None:
        self.state = State()
        self.now = T
        self.news: list[tuple[float, News]] = []

    def sees(self, name: str, kind: Kind | None = None, host: str = "app", **more: object) -> None:
        """The job has just run, with this result."""
        urgent = bool(more.pop("urgent", True))
        ill = Ill(kind, "it is", self.now, urgent=urgent) if kind else None
        self.looks(Patient(name, host, ill, self.now, **more))  # type: ignore[arg-type]

    def looks(self, patient: Patient) -> None:
        self.state = outages.saw(self.state, patient, self.now, GATHER)
        self.tick()

    def later(self, seconds: float) -> None:
        """Time passes in steps, as in the process."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5.0)
            self.tick()

    def tick(self) -> None:
        self.state = AGAIN.decode(msgspec.json.encode(self.state))
        self.state, news = outages.tick(self.state, self.now)
        self.news += ((self.now, one) for one in news)

    @property
    def said(self) -> list[tuple[str, str, tuple[str, ...]]]:
        found: list[tuple[str, str, tuple[str, ...]]] = []
        for _, one in self.news:
            match one:
                case Began(outage, names, _):
                    found.append(("began", outage.kind, names))
                case Ended(outage, waiting):
                    names = tuple(name for name, member in outage.members.items() if not member.ill)
                    found.append(("ended", outage.kind, (*outage.recovered, *names, *waiting)))
                case SlotsMissed(jobs):
                    found.append(("missed", str(sum(jobs.values())), tuple(jobs)))
        return found


@pytest.fixture
def told() -> Told:
    return Told()


JOBS = tuple(f"job-{number}" for number in range(20))


def test_a_dead_app_of_twenty_jobs_is_one_message_and_one_at_the_end(told: Told) -> None:
    for name in JOBS:
        told.sees(name, "unreachable")
        told.later(1)
    told.later(600)
    assert told.said == [("began", "unreachable", JOBS)]
    for name in JOBS:
        told.sees(name)
    told.later(600)
    assert told.said[1:] == [("ended", "unreachable", JOBS)]
    assert not told.state.outages


def test_jobs_that_fail_later_join_an_outage_that_is_known_to_be_the_hosts(told: Told) -> None:
    for name in JOBS[:5]:
        told.sees(name, "unreachable")
    told.later(60)
    for name in JOBS[5:]:
        told.sees(name, "unreachable")
        told.later(100)
    assert told.said == [("began", "unreachable", JOBS[:5])]


def test_a_second_job_of_a_host_is_news_while_the_first_may_be_alone(told: Told) -> None:
    told.sees("slow", "unreachable")
    told.later(60)
    told.sees("other", "unreachable")
    told.later(60)
    assert [names for _, _, names in told.said] == [("slow",), ("other",)]


def test_jobs_below_their_patience_are_named_with_those_beyond_it(told: Told) -> None:
    told.sees("daily", "unreachable")
    told.sees("minutely", "unreachable", urgent=False)
    told.later(60)
    assert told.said == [("began", "unreachable", ("daily", "minutely"))]


def test_a_job_below_its_patience_alone_is_not_told(told: Told) -> None:
    told.sees("minutely", "unreachable", urgent=False)
    told.sees("other", "failing", urgent=False)
    told.later(600)
    assert told.said == []


def test_the_end_does_not_wait_for_a_daily_job(told: Told) -> None:
    told.sees("daily", "unreachable")
    told.sees("minutely", "unreachable")
    told.later(60)
    told.sees("minutely")
    told.later(60)
    assert told.said[1:] == [("ended", "unreachable", ("minutely", "daily"))]
    [(_, news)] = told.news[1:]
    assert isinstance(news, Ended)
    assert set(news.waiting) == {"daily"}
    daily = Patient("daily", "app", Ill("unreachable", "it is", T), T)  # it has not run since
    told.looks(daily)
    told.later(600)
    assert len(told.said) == 2
    told.sees("daily", "unreachable")  # and now it has, and failed again
    told.later(60)
    assert told.said[2:] == [("began", "unreachable", ("daily",))]


def test_an_outage_is_not_over_while_a_job_of_it_goes_on_failing(told: Told) -> None:
    told.sees("a", "unreachable")
    told.sees("b", "unreachable")
    told.later(60)
    told.sees("a")
    told.later(10)
    told.sees("b", "unreachable")
    told.later(600)
    assert len(told.said) == 1
    told.sees("a", "unreachable")  # which is news again, since nothing says that it is the host's
    told.later(60)
    assert told.said[1:] == [("began", "unreachable", ("a",))]
    told.sees("a")
    told.sees("b")
    told.later(60)
    assert told.said[2][0] == "ended"
    assert set(told.said[2][2]) == {"a", "b"}


def test_what_was_over_before_it_was_told_is_not_told(told: Told) -> None:
    told.sees("a", "failing")
    told.later(20)
    told.sees("a")
    told.later(600)
    assert told.said == []


def test_jobs_that_stand_still_are_told_after_a_while(told: Told) -> None:
    told.sees("a", "stalled")
    told.later(HOLD - 10)
    assert told.said == []
    told.later(20)
    assert told.said == [("began", "stalled", ("a",))]
    told.sees("a")
    told.later(60)
    assert told.said[1:] == [("ended", "stalled", ("a",))]


def test_another_illness_of_a_told_job_is_no_news_but_before_it_was_told_the_last_one_counts(told: Told) -> None:
    told.sees("a", "failing")
    told.later(10)
    told.sees("a", "unauthorized")
    told.later(60)
    told.sees("a", "failing")
    told.later(600)
    assert told.said == [("began", "unauthorized", ("a",))]


def test_a_flapping_job_is_told_three_times_and_then_when_it_has_been_well_for_long(told: Told) -> None:
    for _ in range(40):
        told.sees("a", "failing")
        told.later(60)
        told.sees("a")
        told.later(60)
    began = [one for one in told.said if one[0] == "began"]
    assert len(began) == 3
    assert len(told.said) == 5
    last = [news for _, news in told.news if isinstance(news, Began)][-1]
    assert last.outage.flapping
    told.later(STEADY + 60)
    assert len(told.said) == 6
    assert told.said[-1][0] == "ended"


def test_a_removed_job_ends_its_outage_without_a_word(told: Told) -> None:
    told.sees("a", "failing")
    told.later(60)
    told.state = outages.gone(told.state, "a")
    told.later(600)
    assert len(told.said) == 1
    assert not told.state.outages


def test_what_an_earlier_process_knew_of_jobs_that_are_gone_is_dropped(told: Told) -> None:
    told.sees("a", "failing", missed=3)
    told.sees("b", "failing", missed=3)
    told.state = outages.listed(told.state, ["b"])
    told.later(60)
    assert told.said == [("began", "failing", ("b",))]
    assert set(told.state.missed) == {"b"}


def test_no_outage_begins_with_a_paused_job_but_one_that_was_told_still_ends(told: Told) -> None:
    told.sees("a", "failing", heeded=False)
    told.later(60)
    assert told.said == []
    told.sees("b", "failing")
    told.later(60)
    told.sees("b", "failing", heeded=False)
    told.sees("b", heeded=False)
    told.later(60)
    assert [what for what, _, _ in told.said] == ["began", "ended"]


def test_missed_slots_are_told_once_for_all_jobs_and_not_those_from_before(told: Told) -> None:
    told.sees("a", missed=7, missed_at=T - 1000)
    told.sees("b")
    told.later(60)
    assert told.said == []
    told.sees("a", missed=27, missed_at=told.now)
    told.later(5)
    told.sees("b", missed=1, missed_at=told.now)
    told.later(60)
    assert told.said == [("missed", "21", ("a", "b"))]
    for number in range(10):
        told.sees("a", missed=28 + number, missed_at=told.now)
        told.later(10)
    assert len(told.said) == 1
    told.later(outages.MISSED_QUIET)
    assert told.said[1:] == [("missed", "10", ("a",))]


def test_slots_that_were_caught_up_in_time_are_no_news(told: Told) -> None:
    told.sees("a")
    told.sees("a", missed=3)  # their number grew, but no moment says that any was lost
    told.later(600)
    assert told.said == []


def test_missed_slots_wait_while_no_job_can_be_called(told: Told) -> None:
    told.sees("a")
    told.sees("a", missed=3, missed_at=told.now)
    told.now += 1000
    told.state, news = outages.tick(told.state, told.now, held=True)
    assert not news
    told.sees("a", missed=9, missed_at=told.now)
    assert told.said == [("missed", "9", ("a",))]


# ---- any history

KINDS: list[Kind | None] = [None, None, "unreachable", "unauthorized", "failing", "stalled"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sampled_from(KINDS),
        st.booleans(),  # urgent
        st.booleans(),  # heeded
        st.sampled_from([0.0, 1.0, 29.0, 61.0, 700.0]),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=300)
def test_any_history(steps: list[tuple[str, Kind | None, bool, bool, float]]) -> None:
    told = Told()
    for name, kind, urgent, heeded, seconds in steps:
        told.sees(name, kind, host="app" if name < "d" else "other", urgent=urgent, heeded=heeded)
        told.later(seconds)
    named: set[str] = set()  # jobs that someone was told of, and not yet of their end
    for _, news in told.news:
        match news:
            case Began(outage, names, _):
                assert names
                assert len(set(names)) == len(names)
                assert all(outage.members[name].ill for name in names)
                named |= set(names)
            case Ended(outage, _):
                assert outage.members.keys() & named, "its beginning was told"
                named -= {*outage.members, *outage.recovered}
    for key in {key_of(news) for _, news in told.news if isinstance(news, Began)}:
        first = [at for at, news in told.news if isinstance(news, Began) and key_of(news) == key and news.first]
        for begin, fourth in zip(first, first[3:], strict=False):
            assert fourth - begin >= STEADY, "a flapping outage was told again before it was steady"
    before = len(told.news)
    for name in "abcde":
        told.sees(name)
    told.later(STEADY + 2 * HOLD)
    assert not told.state.outages, "all is well for long"
    for _, news in told.news[before:]:
        named -= {*news.outage.members, *news.outage.recovered} if isinstance(news, Ended) else set()
    assert not named, "the end of each was told"


def key_of(news: Began) -> str:
    return f"{news.outage.kind} {news.outage.subject}"


@given(st.lists(st.tuples(st.sampled_from(JOBS), st.sampled_from([0.0, 3.0, 40.0])), min_size=1, max_size=40))
def test_whoever_fails_and_goes_on_failing_is_told_in_time(steps: list[tuple[str, float]]) -> None:
    told = Told()
    for name, seconds in steps:
        told.sees(name, "failing")
        told.later(seconds)
    told.later(GATHER + 5)
    names = [name for what, _, names in told.said if what == "began" for name in names]
    assert sorted(names) == sorted({name for name, _ in steps}), "each once"


def test_the_keys_are_what_jobs_share() -> None:
    of = [Patient(name, "app", Ill("unreachable", "", T)) for name in "ab"]
    assert len({outages.key_of(one) for one in of}) == 1
    alone = [Patient(name, "app", Ill("failing", "", T)) for name in "ab"]
    assert len({outages.key_of(one) for one in alone}) == 2

"""What the ledger is sent again is not applied twice."""

import contextlib
import itertools
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_rig import Ledger, T, ask, finished, skipped
from tocsin.ipc.job import Grant, Pause, Release
from tocsin.ipc.ledger import Body, Enroll, Entry


def test_entries_that_come_again_change_nothing(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    """The ledger died after its commit and before it could say so."""
    ledger.past(now=T - 60)
    bodies: list[Body] = [ask(), finished(), ask(T + 60), skipped(T + 120, T + 240, 3), Pause("a", True, 60.0)]
    answers = ledger.put(*bodies)
    entries, kept, past = ledger.last, ledger.rows(), ledger.past()
    for session in ("s1", "s1"):
        ledger = again(session)
        assert ledger.commit(entries)[1:] == answers[1:], "who still waits for an answer gets it"
        assert ledger.rows() == kept
    ledger._seq = itertools.count(100)
    assert ledger.past() == past


def test_what_counts_up_is_counted_once(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.past(now=T - 60)
    ledger.put(skipped(T, T, 1), skipped(T + 60, T + 60, 1), finished(T + 120, "timeout"))
    entries, kept, past = ledger.last, ledger.rows(), ledger.past()
    assert past.consecutive_failures == 1
    ledger = again("s1")
    ledger.commit(entries)
    assert ledger.rows() == kept
    ledger._seq = itertools.count(100)
    assert ledger.past() == past


def test_a_release_that_comes_again_leaves_no_open_slot(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.put(ask(), Release("a", T, 0, "s1/1"))
    entries = ledger.last
    ledger = again("s1")
    answers = ledger.commit(entries)
    assert ledger.rows() == []
    assert not any(isinstance(answer, Grant) for answer in answers)
    ledger._seq = itertools.count(100)
    assert ledger.put(ask(owner="s1/2")) == [Grant("a", T)]


def test_part_known_part_new(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.put(skipped(T, T, 1))
    entries = [*ledger.last, Entry(2, skipped(T + 60, T + 60, 1))]
    ledger = again("s1")
    ledger.commit(entries)
    assert ledger.brief() == [(0, "missed", "missed", 2)]


def test_the_next_daemon_numbers_from_one_again(ledger: Ledger, again: Callable[[str], Ledger]) -> None:
    ledger.put(skipped(T, T, 1), skipped(T + 60, T + 60, 1))
    ledger = again("s2")
    ledger.put(skipped(T + 120, T + 120, 1))
    assert ledger.brief() == [(0, "missed", "missed", 3)]


bodies_of_a_life = st.lists(
    st.one_of(
        st.builds(
            ask, st.sampled_from([T, T + 60, T + 120]), st.sampled_from([0, 1]), owner=st.sampled_from(["s1/1", "s1/2"])
        ),
        st.builds(finished, st.sampled_from([T, T + 60, T + 120]), st.sampled_from(["success", "timeout"])),
        st.builds(skipped, st.just(T + 180), st.just(T + 240), st.just(2), st.sampled_from(["missed", "paused"])),
        st.builds(Release, st.just("a"), st.sampled_from([T, T + 60]), st.just(0), st.sampled_from(["s1/1", "s1/2"])),
        st.builds(Pause, st.just("a"), st.booleans(), st.just(T + 600.0)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25)
@given(bodies=bodies_of_a_life, committed=st.integers(0, 12), said=st.integers(0, 12))
def test_any_entries_that_come_again_leave_the_same_books(
    fresh: Callable[[], Ledger], bodies: list[Body], committed: int, said: int
) -> None:
    """Dying after `committed` entries, having said so of `said`, is the same as not dying."""
    committed = min(committed, len(bodies))
    said = min(said, committed)
    whole, broken = fresh(), fresh()
    with contextlib.ExitStack() as opened:
        opened.callback(whole.close)
        enroll: Body = Enroll("a", "* * * * * UTC", 1, T - 60)
        for ledger in (whole, broken):
            ledger.put(enroll)
        whole.put(*bodies)
        entries = whole.last
        if committed:
            broken.commit(entries[:committed])
        broken.close()
        broken = broken.reopened("s1")
        opened.callback(broken.close)
        if entries[said:]:
            broken.commit(entries[said:])
        assert broken.rows() == whole.rows()
        for ledger in (whole, broken):
            ledger._seq = itertools.count(100)
        assert broken.past() == whole.past()

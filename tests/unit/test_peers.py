"""When a node may give up another, whatever happens in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.ledger import peers
from tocsin.ledger.peers import BEAT, CLAIMS, CONTACT, GAP, LEASE, SOON, Contact, Peer, members, next_beat, silent


def peer(session: str, left: float = 3.0, state: str = "live", node: str = "") -> Peer:
    return Peer(session, node or f"node-{session}", 1, state, "", None, 0, left, "1.0", "hash", 0.04)


# ---- contact


@given(st.lists(st.floats(0.01, 5.0), max_size=30), st.floats(0.0, 5.0))
def test_contact_is_unbroken_only_where_no_gap_was_long(gaps: list[float], later: float) -> None:
    contact, now = Contact(), 1000.0
    since = None
    for gap in gaps:
        now += gap
        since = now if since is None or gap > GAP else since
        contact.made(now)
    found = contact.unbroken(now + later)
    if since is None or later > GAP:
        assert found == 0.0
    else:
        assert found == pytest.approx(now + later - since)


def test_a_clock_that_runs_backwards_breaks_it() -> None:
    contact = Contact()
    contact.made(1000.0)
    contact.made(999.0)
    assert contact.unbroken(999.5) == 0.5


@given(
    outage=st.floats(0.0, 60.0),
    delays=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=5),
    beats=st.lists(st.floats(0.05, 1.4), min_size=1, max_size=40),
)
def test_after_an_outage_nobody_is_given_up_who_comes_back_within_two_seconds(
    outage: float, delays: list[float], beats: list[float]
) -> None:
    """The server is away. Then every node commits within two seconds, and again at each of its beats."""
    back = 1000.0 + outage
    first = back + delays[0]
    contact = Contact()
    contact.made(1000.0)
    at = first
    lapses = back + 2 * max(delays)  # the last of the others renews its lease here, at the latest
    for beat in beats:
        contact.made(at)
        left = -1.0 if at < lapses and outage > LEASE else 2.0
        over = silent([peer("me"), peer("other", left)], "me", contact.unbroken(at))
        if outage > GAP:
            assert not over or at >= lapses
        at += beat


# ---- silence


@given(
    st.lists(st.tuples(st.sampled_from(["live", "leaving", "left", "dead"]), st.floats(-10, 3)), max_size=6),
    st.floats(0, 10),
)
def test_who_is_given_up(others: list[tuple[str, float]], contact: float) -> None:
    found = [peer("me", -1.0), *(peer(str(number), left, state) for number, (state, left) in enumerate(others))]
    over = silent(found, "me", contact)
    assert "me" not in {one.session for one in over}
    assert all(one.is_live and one.left < 0 for one in over)
    if contact < CONTACT:
        assert over == []
    else:
        assert len(over) == sum(state in ("live", "leaving") and left < 0 for state, left in others)


def test_the_next_look_is_when_a_lease_ends() -> None:
    me = peer("me", 0.5)
    assert next_beat([me], "me", claims=False) == BEAT
    assert next_beat([me], "me", claims=True) == CLAIMS
    assert next_beat([me, peer("a", 2.9)], "me", claims=False) == BEAT
    assert next_beat([me, peer("a", 0.4)], "me", claims=False) == pytest.approx(0.41)
    assert next_beat([me, peer("a", -0.4)], "me", claims=False) == SOON
    assert next_beat([me, peer("a", -0.4, "dead")], "me", claims=False) == BEAT


# ---- what the parent is told


def test_members_are_the_live_and_the_last_dead_of_each_other_name() -> None:
    rows = [
        peer("1", state="dead", node="a"),
        peer("2", node="a"),
        peer("3", state="dead", node="b"),
        peer("4", state="dead", node="b"),
        peer("5", state="left", node="c"),
        peer("6", state="dead", node="d"),
        peer("7", state="left", node="d"),
        peer("8", state="leaving", node="e"),
    ]
    assert [(one.session, one.state) for one in members(rows)] == [("2", "live"), ("4", "dead"), ("8", "leaving")]


def test_a_grant_ends_before_another_node_may_own_the_job() -> None:
    assert 0 < peers.MARGIN < LEASE
    assert BEAT < GAP < CONTACT

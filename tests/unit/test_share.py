"""Which node owns which job, for any nodes and job files."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tocsin.ipc.cluster import Member, NodeState
from tocsin.share import CLOCK_OFF, fit, owner, share

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
JOBS = [f"job-{number}" for number in range(60)]
STATES: st.SearchStrategy[NodeState] = st.sampled_from(["live", "leaving", "dead"])


def member(node: str, state: NodeState = "live", clock_off: float = 0.0, roster: str = "all") -> Member:
    return Member(f"s-{node}", node, 1, state, roster=roster, clock_off=clock_off)


MEMBERS = st.dictionaries(NAMES, st.tuples(STATES, st.sampled_from(["all", "half", "none", "unknown"]))).map(
    lambda found: [member(node, state, roster=roster) for node, (state, roster) in found.items()]
)
ROSTERS = {
    "all": dict.fromkeys(JOBS, "1"),
    "half": {job: "1" if number % 2 else "" for number, job in enumerate(JOBS)},
    "none": {},
}


def shares(nodes: list[Member]) -> dict[str, set[str]]:
    """What each node reckons its own share to be."""
    return {
        one.node: share(one.session, nodes, ROSTERS, [job for job, on in ROSTERS.get(one.roster, {}).items() if on])
        for one in nodes
    }


@given(MEMBERS)
def test_every_job_has_one_owner_of_those_that_have_it_enabled(nodes: list[Member]) -> None:
    found = shares(nodes)
    owners = Counter(job for owned in found.values() for job in owned)
    able = {job for one in nodes if one.state == "live" for job, on in ROSTERS.get(one.roster, {}).items() if on}
    assert owners == Counter(able)
    for one in nodes:
        assert all(ROSTERS[one.roster][job] for job in found[one.node])


@given(MEMBERS, NAMES)
def test_a_node_that_goes_moves_its_own_jobs_alone(nodes: list[Member], gone: str) -> None:
    before, after = shares(nodes), shares([one for one in nodes if one.node != gone])
    for node in before.keys() - {gone}:
        assert before[node] <= after[node]
        assert after[node] - before[node] <= before.get(gone, set())


def test_shares_are_about_equal() -> None:
    many = Counter(owner(f"job-{number}", ["one", "two", "three"]) for number in range(3000))
    assert all(850 < count < 1150 for count in many.values()), "crc32 gave 50, 25 and 25 percent"


def test_the_same_name_is_the_same_owner_whatever_its_session() -> None:
    assert owner("a", ["one", "two"]) == owner("a", ["two", "one"])


@given(st.lists(st.floats(-3600, 3600), max_size=6))
def test_a_clock_that_is_far_off_owns_nothing(offs: list[float]) -> None:
    nodes = [member(str(number), clock_off=off) for number, off in enumerate(offs)]
    found = fit(nodes)
    if len(nodes) < 2:
        assert found == nodes, "of two clocks nobody knows which is wrong"
    assert max((one.clock_off for one in found), default=0.0) - min((one.clock_off for one in found), default=0.0) <= (
        2 * CLOCK_OFF if len(nodes) >= 2 else 0.0
    )


def test_one_wrong_clock_of_three_is_the_one_that_owns_nothing() -> None:
    nodes = [member("a"), member("b", clock_off=0.4), member("c", clock_off=3600.0)]
    assert [one.node for one in fit(nodes)] == ["a", "b"]
    assert [one.node for one in fit(nodes[1:])] == ["b"], "the server's counts"


def test_a_wrong_clock_of_the_server_alone_stops_nobody() -> None:
    nodes = [member("a", clock_off=60.0), member("b", clock_off=60.4), member("c", clock_off=59.5)]
    assert fit(nodes) == nodes

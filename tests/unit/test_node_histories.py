"""The parent of a node that shares its ledger with others, as histories: what it claims, yields and gives back."""

import dataclasses

import pytest

from config_rig import Load
from daemon_rig import CLEAN, Parent, T, Waiting
from tocsin.config import Config
from tocsin.config.ledger import Postgres
from tocsin.ipc.actions import Actor, FireJob
from tocsin.ipc.cluster import GivenUp, Leave, Member, Members, NodeState, Roster, RosterPart, Yield
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release, Sleeping, Stop
from tocsin.ipc.ledger import Enroll, Enrolled, Entry, JobHistory, LedgerReady
from tocsin.ipc.record import JobRecord
from tocsin.parent import ownership
from tocsin.parent.requests import Commands
from tocsin.share import share

JOBS = [f"job-{number}" for number in range(8)]
TEXT = """
[target]
base_url = "https://app.example.com"
send_secret = "none"
""" + "".join(f'[jobs.{name}]\nschedule = "* * * * *"\npath = "/"\n' for name in JOBS)


@pytest.fixture
def config(load: Load) -> Config:
    return dataclasses.replace(load(TEXT), ledger=Postgres((("host", "db"), ("dbname", "app")), "tocsin"), node="one")


class Node(Parent):
    """The node `one`. `members` are those that the ledger tells of; all have its roster, or one of their own."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.nodes = {"one": self.member("one")}
        self.ledger_opens(epoch=1)

    def member(self, node: str, state: NodeState = "live", clock_off: float = 0.0, roster: str = "") -> Member:
        return Member(f"s-{node}", node, 1, state, roster=roster or self.roster, clock_off=clock_off)

    @property
    def roster(self) -> str:
        return next(entry.body.hash for entry in self.sent("ledger", Entry) if isinstance(entry.body, Roster))

    def tells(self, *members: Member, epoch: int = 1) -> None:
        self.nodes |= {member.node: member for member in members}
        self.says("ledger", Members("s-one", epoch, tuple(self.nodes.values())))

    def share(self) -> set[str]:
        """What it is to own, where all have the same roster."""
        return share("s-one", list(self.nodes.values()), {self.roster: dict.fromkeys(JOBS, "1")}, JOBS)

    def put(self, kind: type) -> list[Entry]:
        return [entry for entry in self.entries() if isinstance(entry.body, kind)]

    def names(self, kind: type) -> set[str]:
        return {entry.body.job for entry in self.put(kind)}  # type: ignore[union-attr]

    def up(self) -> set[str]:
        """The jobs that have a process."""
        titles = {title for title, made in self.forked.items() if made[-1].process.pid is not None}
        return {title.removeprefix("job ") for title in titles if title.startswith("job ")}


@pytest.fixture
def one(config: Config) -> Node:
    """With the ledger open; it is alone, and has claimed every job."""
    node = Node(config)
    node.tells()
    node.ledger_commits()
    assert node.up() == set(JOBS)
    return node


def test_it_tells_what_it_has_before_anything_is_forgotten(config: Config) -> None:
    node = Parent(config)
    bodies = [entry.body for entry in node.sent("ledger", Entry)]
    assert [type(body) for body in bodies] == [Roster, Enrolled]
    assert isinstance(bodies[0], Roster)
    assert bodies[0].last
    assert sorted(bodies[0].jobs) == sorted(JOBS)


def test_it_claims_nothing_before_it_knows_the_nodes(config: Config) -> None:
    node = Node(config)
    node.ledger_commits()
    assert node.names(Enroll) == set()
    node.tells(node.member("two"))
    assert node.names(Enroll) == node.share() < set(JOBS)
    assert node.up() == set(), "another may still own them"
    node.ledger_commits()
    assert node.up() == node.share()
    states = {name: status.state for name, status in node.daemon.feed.statuses.items()}
    assert {name for name, state in states.items() if state == "elsewhere"} == set(JOBS) - node.share()


def test_at_a_join_it_yields_what_is_the_others_when_each_process_has_ended(one: Node) -> None:
    for name in JOBS:
        one.says(f"job {name}", Sleeping(name, T + 60))
    one.tells(one.member("two"))
    leaving = set(JOBS) - one.share()
    assert leaving
    one.later(1.0)
    assert {name for name in JOBS if one.sent(f"job {name}", Stop)} == leaving
    assert one.names(Yield) == set(), "its process may be in a call"
    for name in leaving:
        one.dies(f"job {name}", CLEAN)
    assert one.names(Yield) == leaving
    assert one.up() == one.share()


def test_what_is_due_soon_is_yielded_after_that_slot(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "AT_ONCE", 1)
    for number, name in enumerate(JOBS):
        one.says(f"job {name}", Sleeping(name, T + 2 if number % 2 else T + 60 + number))
    one.tells(one.member("two"))
    leaving = set(JOBS) - one.share()
    late = [name for name in JOBS if name in leaving and JOBS.index(name) % 2 == 0]
    assert late, "the names are chosen so that there are some"
    for _ in range(10):
        one.later(0.1)
    assert {name for name in JOBS if one.sent(f"job {name}", Stop)} == set(late)
    one.later(1.5)
    assert {name for name in JOBS if one.sent(f"job {name}", Stop)} == leaving


def test_a_node_that_leaves_again_takes_nothing_with_it(one: Node) -> None:
    one.tells(one.member("two"))
    one.tells(one.member("two", "dead"))
    one.later(5.0)
    for name in JOBS:
        if one.sent(f"job {name}", Stop):
            one.dies(f"job {name}", CLEAN)
    one.ledger_commits()
    assert one.up() == set(JOBS)


def test_a_claim_that_came_true_too_late_is_yielded(one: Node) -> None:
    one.tells(one.member("two"))
    other = (set(JOBS) - one.share()).pop()
    one.dies(f"job {other}", CLEAN)
    one.later(5.0)
    one.ledger_commits()
    one.says("ledger", JobHistory(other, JobRecord(int(T))))
    assert one.names(Yield) == {other}


def test_a_job_that_has_a_process_is_not_yielded_before_it_has_ended(one: Node) -> None:
    """The ledger may send a record twice. A job without an owner whose process runs on would be called by a node that
    does not own it."""
    for name in JOBS:
        one.says(f"job {name}", Sleeping(name, T + 1))
    one.tells(one.member("two"))
    for name in set(JOBS) - one.share():
        one.says("ledger", JobHistory(name, JobRecord(int(T))))
    assert one.names(Yield) == set()
    del one.nodes["two"]
    one.tells()
    one.later(5.0)
    assert one.names(Yield) == set()
    assert not any(one.sent(f"job {name}", Stop) for name in JOBS)


def test_a_new_process_of_the_ledger_is_told_again_what_is_wanted(config: Config) -> None:
    node = Node(config)
    node.ledger_commits()
    node.tells()
    seq = node.entries()[-1].seq
    node.says("ledger", LedgerReady(None, seq, 1))
    wanted = node.names(Enroll)
    node.dies("ledger")
    node.later(1.0)
    node.read = 0
    node.says("ledger", LedgerReady(None, seq, 1))
    assert node.names(Enroll) == wanted == set(JOBS)


def granted(one: Node, name: str) -> Ask:
    ask = Ask(name, T + 1, "run-1")
    one.says(f"job {name}", ask)
    one.ledger_commits()
    assert one.sent(f"job {name}", Grant)
    return ask


def test_who_was_given_up_stops_what_waits_and_lets_calls_end(one: Node) -> None:
    granted(one, JOBS[0])
    one.says("ledger", GivenUp(2))
    assert all(one.sent(f"job {name}", Stop) for name in JOBS)
    one.says(f"job {JOBS[0]}", Finished(JOBS[0], T + 1, "run-1", "schedule", 0, "success", finished=T + 2))
    for name in JOBS:
        one.dies(f"job {name}", CLEAN)
    assert [entry.epoch for entry in one.put(Finished)] == [2]
    assert one.up() == set()
    one.ledger_commits()
    one.tells(epoch=2)
    assert {entry.epoch for entry in one.put(Enroll)} == {2}
    assert one.names(Enroll) == set(JOBS)
    assert one.names(Yield) == set(), "a yield would withdraw the claim"
    one.ledger_commits()
    assert one.up() == set(JOBS)


def test_an_ask_from_before_is_known_to_be_late(one: Node) -> None:
    one.says(f"job {JOBS[0]}", Ask(JOBS[0], T + 1, "run-1"))
    assert [entry.epoch for entry in one.put(Ask)] == [1]
    one.says("ledger", GivenUp(2), Deny(JOBS[0], T + 1, 0, "late"))
    one.says(f"job {JOBS[0]}", Sleeping(JOBS[0], T + 60))
    one.dies(f"job {JOBS[0]}", CLEAN)
    assert one.put(Release) == [], "it holds nothing"


def test_who_stops_leaves_first_and_yields_each_job_when_its_process_has_ended(one: Node) -> None:
    one.daemon.stop("SIGTERM")
    assert len(one.put(Leave)) == 1
    assert one.names(Yield) == set()
    for number, name in enumerate(JOBS, 1):
        one.dies(f"job {name}", CLEAN)
        assert len(one.put(Yield)) == number
    assert not one.loop.done
    one.ledger_commits()
    assert one.sent("ledger", Stop), "everything is written"


def test_a_pause_from_another_node_reaches_the_process(one: Node) -> None:
    pause = Pause(JOBS[0], True, T)
    one.says("ledger", pause)
    assert one.sent(f"job {JOBS[0]}", Pause) == [pause]
    assert one.daemon.feed.statuses[JOBS[0]].paused
    assert one.put(Pause) == [], "the ledger knows"
    one.says("ledger", Pause("of-another-file", True, T))


def test_a_run_that_was_lost_elsewhere_is_delivered_again_where_the_job_wants_it(config: Config) -> None:
    jobs = {name: dataclasses.replace(job, delivery="at-least-once") for name, job in config.jobs.items()}
    node = Node(dataclasses.replace(config, jobs=jobs))
    node.ledger_commits()
    node.tells()
    again = Ask(JOBS[0], T, "run-1", "schedule", 1)
    node.says("ledger", JobHistory(JOBS[0], JobRecord(int(T)), "node two had died", again))
    assert node.up() == {JOBS[0]}
    assert node.daemon.jobs.supervised[JOBS[0]].redelivery == again


def test_each_node_counts_its_own_runs(one: Node) -> None:
    counts = one.daemon.feed.statuses
    assert counts[JOBS[0]].counts == {}, "whatever the ledger has counted before"
    granted(one, JOBS[0])
    one.says(f"job {JOBS[0]}", Finished(JOBS[0], T + 1, "run-1", "schedule", 0, "success", finished=T + 2))
    assert counts[JOBS[0]].counts == {"success": 1}
    one.says("ledger", GivenUp(2))
    assert counts[JOBS[0]].counts == {"success": 1}, "a move takes nothing away"
    one.dies(f"job {JOBS[0]}", CLEAN)
    one.says("ledger", JobHistory(JOBS[1], JobRecord(int(T), counts={"success": 9})))
    one.tells(epoch=2)
    one.says("ledger", JobHistory(JOBS[0], JobRecord(int(T), counts={"success": 9})))
    assert counts[JOBS[0]].counts == {"success": 1}


def test_a_fire_runs_where_it_is_asked_for(one: Node) -> None:
    commands = Commands(one.daemon, lambda: None)  # type: ignore[arg-type,return-value]
    one.tells(one.member("two"))
    one.later(5.0)
    for name in JOBS:
        if one.sent(f"job {name}", Stop):
            one.dies(f"job {name}", CLEAN)
    one.ledger_commits()
    other = (set(JOBS) - one.share()).pop()
    client = Waiting()
    commands.handle(client, FireJob(other, Actor("tester")))
    one.work()
    assert other in one.up()
    ask = Ask(other, T + 5.5, "manual-run", "manual")
    one.says(f"job {other}", ask)
    one.ledger_commits()
    run = Finished(other, T + 5.5, "manual-run", "manual", 0, "success", finished=T + 6)
    one.says(f"job {other}", run)
    one.dies(f"job {other}", CLEAN)
    one.later(60.0)
    assert other not in one.up(), "it is not started again"
    assert one.daemon.feed.statuses[other].state == "elsewhere"


def test_a_job_that_another_file_alone_has_is_nobody_elses(one: Node) -> None:
    one.says("ledger", RosterPart("theirs", {JOBS[0]: "1"}, last=True))
    one.tells(one.member("two", roster="theirs"))
    one.later(5.0)
    stopped = {name for name in JOBS if one.sent(f"job {name}", Stop)}
    assert stopped <= {JOBS[0]}


def test_a_clock_that_is_far_off_owns_nothing(one: Node) -> None:
    two, three = one.member("two"), one.member("three")
    one.tells(two, three)
    one.tells(one.member("one", clock_off=60.0))
    one.later(5.0)
    assert all(one.sent(f"job {name}", Stop) for name in JOBS)

"""Several nodes on one ledger: who owns what, who is given up, and what a late word counts."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from harness import until
from ledger_rig import T, ask, finished, skipped
from postgres_ledger import Make, OnPostgres
from postgres_rig import Server
from tocsin.ipc.cluster import NAMES_AT_ONCE, GivenUp, Leave, Members, Roster, RosterPart, Yield
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Pause, Release
from tocsin.ipc.ledger import Body, Enroll, Enrolled, Entry, JobHistory
from tocsin.ledger import peers
from tocsin.ledger.link import Link
from tocsin.ledger.pg_schema import VERSION
from tocsin.ledger.session import Fence
from tocsin.ledger.store import Passing, Unusable

pytestmark = pytest.mark.system
M = TypeVar("M")


def elsewhere(one: OnPostgres, session: str = "s2", node: str = "there") -> OnPostgres:
    """Another node, with a state folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=one.folder))
    return OnPostgres(folder, session, one.kept, node)


def told(one: OnPostgres, kind: type[M]) -> list[M]:
    """What a look at the other nodes brought."""
    return [message for message in one.ledger.beat(time.time())[0] if isinstance(message, kind)]


def given_up(one: OnPostgres, other: OnPostgres) -> list[Finished]:
    """`other` has been silent for so long that `one` gives it up."""
    lost: list[Finished] = []

    def over() -> bool:
        said = one.ledger.beat(time.time())[0]
        lost.extend(message for message in said if isinstance(message, Finished))
        assert one.ledger._watch._members
        return other.node not in {member.node for member in one.ledger._watch._members.nodes if member.state == "live"}

    until(over, "the end of a lease, and three seconds of contact")
    return lost


def claim(one: OnPostgres, job: str = "a") -> list[Any]:
    return one.put(Enroll(job, "* * * * * UTC", 1, T - 60))


def test_a_node_owns_what_no_other_owns(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    assert [type(answer) for answer in claim(one)] == [JobHistory]
    assert claim(two) == [], "it waits"
    assert told(two, JobHistory) == []
    assert two.put(ask(owner="s2/1"))[0].why == "the job moved to another node"
    two.put(skipped(T + 60, T + 60, 1))
    assert one.put(ask()) == [Grant("a", T)]
    one.put(finished(), Yield("a"))
    (past,) = told(two, JobHistory)
    assert (past.job, past.record.last_outcome, past.why_missed) == (
        "a",
        "success",
        "the job was moving to another node",
    )
    assert one.put(ask(T + 60))[0].why == "the job moved to another node"
    assert two.put(ask(T + 60, owner="s2/1")) == [Grant("a", T + 60)]
    assert [row["node"] for row in two.rows()] == ["here", "there"]
    two.close()


def test_two_nodes_that_claim_at_once_do_not_both_own(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    names = [f"job-{number}" for number in range(50)]
    with ThreadPoolExecutor() as threads:
        of_one = threads.submit(lambda: [answer for name in names for answer in claim(one, name)])
        of_two = threads.submit(lambda: [answer for name in reversed(names) for answer in claim(two, name)])
        owned = [past.job for past in of_one.result() + of_two.result()]
    assert sorted(owned) == sorted(names)
    two.close()


def test_a_silent_node_is_given_up_and_its_late_word_counts(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    for job in ("a", "b", "c"):
        claim(two, job)
    two.put(ask(owner="s2/1"), ask(owner="s2/2", job="b"), ask(owner="s2/3", job="c"))
    lost = given_up(one, two)
    assert sorted((run.job, run.outcome) for run in lost) == [("a", "lost"), ("b", "lost"), ("c", "lost")]
    (past,) = claim(one)
    assert past.why_missed == "node there had died or was cut off"
    assert past.again == Ask("a", T, ask().run_id, "schedule", 1)
    late: list[Body] = [
        *(finished(), Release("b", T, 0, "s2/2"), skipped(T, T, 1, "missed", "late")),
        *(ask(T + 60, owner="s2/1"), skipped(T + 60, T + 180, 3)),
    ]
    late[2] = replace(late[2], job="c")
    entries = [Entry(number, body, epoch=1) for number, body in enumerate(late, 100)]
    said = two.ledger.commit(entries)
    assert said[0] == GivenUp(2)
    assert [type(one) for one in said[1:]] == [Deny]
    found = {row["job"]: (row["state"], row["outcome"], row["reason"]) for row in one.rows()}
    assert found == {
        "a": ("finished", "success", None),
        "b": ("missed", None, "missed"),
        "c": ("missed", None, "missed"),
    }
    assert one.put(ask(T + 60)) == [Grant("a", T + 60)]
    two.close()


def test_after_an_outage_nobody_is_given_up_at_once(
    make_ledger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the control: who has no need of contact gives up who had no chance."""
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    claim(two)
    until(lambda: one.ledger._link.is_open and lapsed(one), "the end of both leases")  # as when the server was away
    assert told(one, Finished) == []
    assert two.put(ask(owner="s2/1")) == [Grant("a", T)]
    until(lambda: lapsed(one), "the end of both leases")
    monkeypatch.setattr(peers, "CONTACT", 0.0)
    assert [run.outcome for run in told(one, Finished)] == ["lost"]
    two.close()


def lapsed(one: OnPostgres) -> bool:
    with contextlib.closing(Link(one.kept)) as link, link.transaction() as db:
        rows = db.execute(f"SELECT lease_until < clock_timestamp() FROM {one.kept.schema}.nodes").fetchall()
    return all(over for (over,) in rows)


def test_a_fence_keeps_out_who_was_given_up(make_ledger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without it the claim of who was given up would stand."""
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    given_up(one, two)
    monkeypatch.setattr(Fence, "seq", property(lambda fence: int((fence._row() or (0,))[0])))
    assert claim(two), "it owns the job, and nobody will ever give it up"
    assert claim(one) == []
    monkeypatch.undo()
    two.close()


def test_news_of_a_pause(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    claim(one)
    two.put(Pause("a", True, T - 1.0))
    (deny,) = one.put(ask())
    assert deny.reason == "paused"
    assert told(one, Pause) == [Pause("a", True, T - 1.0)]
    assert told(one, Pause) == []
    two.put(Pause("a", False, T + 2.0), Pause("a", True, T + 3.0))
    one.put(Pause("a", False, T + 4.0))
    assert told(one, Pause) == [], "it was resumed here since"
    assert one.put(ask(T + 60)) == [Grant("a", T + 60)]
    two.put(Pause("a", True, T + 61.0, why="a NUL \0", by="\ud800"))
    assert [pause.why for pause in told(one, Pause)] == ["a NUL ␀"]
    two.close()


def test_a_run_asked_for_elsewhere_does_not_overlap(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    claim(one)
    manual = Ask("a", T + 0.5, "manual", "manual", 0, "s2/1")
    assert two.put(manual) == [Grant("a", T + 0.5)]
    (deny,) = one.put(ask(T + 60))
    assert (deny.reason, "is running, or about to, on another node" in deny.why) == ("overlap", True)
    two.put(Finished("a", T + 0.5, "manual", "manual", 0, "success", finished=T + 61))
    assert one.put(ask(T + 120)) == [Grant("a", T + 120)]
    assert two.put(replace(manual, due=T + 121.5))[0].reason is None, "nobody waits for a slot of it"
    two.close()


def test_who_leaves_yields_what_it_owns(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    claim(two)
    two.put(ask(owner="s2/1"))
    two.put(Leave())
    assert [(member.node, member.state) for member in told(one, Members)[-1].nodes] == [
        ("here", "live"),
        ("there", "leaving"),
    ]
    two.ledger.stopped(time.time())
    (past,) = claim(one)
    assert (past.why_missed, past.again.attempt) == ("the daemon was stopped", 1)
    assert [member.node for member in told(one, Members)[-1].nodes] == ["here"]
    assert one.brief() == [(0, "finished", "lost", 1)]
    two.close()


def test_rosters_are_told_once_before_the_nodes_that_have_them(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    jobs = {f"job-{number:03}": "1" for number in range(NAMES_AT_ONCE + 1)}
    names = list(jobs)
    first, rest = dict.fromkeys(names[:200], "1"), dict.fromkeys(names[200:], "1")
    two.put(Roster("h", first, last=False))
    assert told(one, Members)[-1].nodes[1].roster == ""
    two.put(Roster("h", rest, last=True))
    parts = [message for message in one.ledger.beat(time.time())[0] if isinstance(message, RosterPart | Members)]
    assert [type(part) for part in parts] == [RosterPart, RosterPart, Members]
    assert parts[0].jobs | parts[1].jobs == jobs  # type: ignore[union-attr]
    assert parts[2].nodes[1].roster == "h"  # type: ignore[union-attr]
    assert one.ledger.beat(time.time())[0] == [], "nothing has changed"
    two.close()


def test_what_nobody_owns_is_not_forgotten_by_who_has_it_in_its_file(make_ledger: Make, tmp_path: Path) -> None:
    """As at a start, before this node has claimed anything."""
    one = make_ledger(tmp_path)
    claim(one)
    one.put(Pause("a", True, T + 1.0))
    one.ledger.stopped(time.time())
    two = elsewhere(one)
    two.put(Roster("h", {"a": ""}, last=True), Enrolled(2))
    (past,) = claim(two)
    assert past.record.paused
    two.close()


def test_what_a_node_has_in_its_file_is_not_forgotten_by_another(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    claim(one, "a"), claim(one, "b")
    two.put(Roster("h", {"b": "1"}, last=True))
    one.put(Finished("a", T, "x", "schedule", 0, "success", finished=T + 1), finished(job="b"))
    one.put(Roster("i", {"c": "1"}, last=True), Enroll("c", "* * * * * UTC", 2, T), Enrolled(2))
    one.put(Yield("b"))
    assert one.past("a", generation=3).last_success is None
    assert one.past("b", generation=3).last_success == T + 1
    two.close()


def test_a_commit_of_which_nobody_knows_whether_it_is_in(
    make_ledger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks at COMMIT, before or after it took effect: the same entries come again."""
    one = make_ledger(tmp_path)
    claim(one)
    transaction = Link.transaction

    @contextlib.contextmanager
    def broken(link: Link) -> Iterator[Any]:
        with transaction(link) as db:
            yield db
            if not takes_effect:
                raise Passing("the connection broke before COMMIT")
        link.close()
        raise Passing("the connection broke after COMMIT")

    for number, takes_effect in enumerate([True, False]):
        due = T + 60 * number
        with monkeypatch.context() as patch:
            patch.setattr(Link, "transaction", broken)
            one.ledger._link.close()
            with pytest.raises(Passing):
                one.put(ask(due))
        assert [row["state"] for row in one.rows() if row["due"] == due] == ["started"] * takes_effect
        entries = one.last
        assert one.commit(entries) == [Grant("a", due)], "the owner has its answer, once"
        assert one.commit(entries) == [Grant("a", due)]
        one.put(finished(due, at=due + 1))
    assert one.brief() == [(0, "finished", "success", 1), (60, "finished", "success", 1)]


def test_a_claim_that_broke_is_told_at_the_next_look(
    make_ledger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the job would stand still: it is owned, and nobody knows."""
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    claim(two)
    claim(one)
    two.put(Yield("a"))
    monkeypatch.setattr(one.ledger._watch, "_tell_members", fails)
    with pytest.raises(Passing):
        one.ledger.beat(time.time())
    monkeypatch.undo()
    assert [past.job for past in told(one, JobHistory)] == ["a"]
    two.close()


def fails(_: object) -> None:
    raise Passing("the server is away")


def test_two_versions_side_by_side(make_ledger: Make, postgres_server: Server, tmp_path: Path) -> None:
    """A newer program adds columns and what it remembers of jobs. An older one goes on until it may not any more."""
    one = make_ledger(tmp_path)
    claim(one)
    s = one.kept.schema
    postgres_server.do(
        f"ALTER TABLE {s}.jobs ADD COLUMN of_v2 int DEFAULT 7; ALTER TABLE {s}.nodes ADD COLUMN of_v2 int DEFAULT 7;"
        f" ALTER TABLE {s}.slots ADD COLUMN of_v2 int DEFAULT 7; UPDATE {s}.meta SET schema = {VERSION + 1};"
        f" UPDATE {s}.jobs SET more = more || '{{\"of_v2\": 7}}'"
    )
    assert one.put(ask()) == [Grant("a", T)]
    one.put(finished())
    assert [message for message in one.ledger.beat(time.time())[0] if isinstance(message, Members)]
    two = elsewhere(one)
    assert one.past(generation=2).last_outcome == "success"
    assert postgres_server.do(f"SELECT more->>'of_v2' FROM {s}.jobs") == "7", "kept by who does not know it"
    postgres_server.do(f"UPDATE {s}.meta SET oldest_reader = {VERSION + 1}")
    with pytest.raises(Unusable, match="made by a newer Tocsin"):
        one.ledger.beat(time.time())
    two.close()


def test_a_job_that_every_node_has_disabled_begins_anew_when_it_is_enabled(make_ledger: Make, tmp_path: Path) -> None:
    """As with SQLite: none of its slots was due."""
    one = make_ledger(tmp_path)
    two = elsewhere(one)
    one.put(Roster("on", {"a": "1"}, last=True))
    two.put(Roster("on", {"a": "1"}, last=True))
    claim(one)
    one.put(Roster("off", {"a": ""}, last=True), Yield("a"))
    (past,) = claim(two)
    assert past.record.accounted == T - 60, "the other node still had it enabled"
    two.put(Roster("off", {"a": ""}, last=True), Yield("a"))
    (past,) = one.put(Enroll("a", "* * * * * UTC", 1, T + 900))
    assert past.record.accounted == T + 900
    two.close()

"""Nodes that share one job, whatever happens to them in whatever order: the real rules of ownership, giving up, late
words and grants that end, on a server that is played.
"""

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tocsin.ipc.cluster import Yield
from tocsin.ipc.job import Ask, Deny, Finished, Grant, Release
from tocsin.ipc.ledger import Body, Enroll, JobHistory
from tocsin.ledger import peers
from tocsin.ledger.books import Books
from tocsin.ledger.peers import LEASE, MARGIN, Contact, Peer
from tocsin.ledger.rows import JobRow, Key, SlotRow, Taken, lost

pytestmark = pytest.mark.slow
T = 1_800_000_000
JOB = "a"
NODES = st.sampled_from(["one", "two", "three"])


@dataclass
class Row:
    """Of the table `nodes`."""

    epoch: int = 1
    state: str = "live"
    lease: float = 0.0


@dataclass
class Node:
    """What a parent and its children know."""

    name: str
    epoch: int = 1
    owns: bool = False
    next: int = 0
    ask: Ask | None = None
    until: float = 0.0
    called: bool = False
    contact: Contact = field(default_factory=Contact)
    unsent: list[tuple[int, Body]] = field(default_factory=list)  # with the epoch at which each was written


class Nodes(RuleBasedStateMachine):
    holds_until = True  # whether a child compares before it sends

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rows = {name: Row() for name in ("one", "two", "three")}
        self.nodes = {name: Node(name) for name in self.rows}
        self.job = JobRow()
        self.slots: dict[Key, SlotRow] = {}
        self.calls: Counter[float] = Counter()
        self.overlapping: list[str] = []

    # ---- the server

    def books(self, owner: str) -> Books:
        known = {key: Taken(row.state, row.outcome, row.run_id) for key, row in self.slots.items()}
        newest = max(self.slots.values(), key=lambda row: (row.due, row.attempt), default=None)
        return Books(owner, {JOB: deepcopy(self.job)}, known, {JOB: deepcopy(newest)} if newest else {})

    def write(self, books: Books) -> None:
        for _, job in books.changed:
            self.job = JobRow() if job.forgotten else job
        for rows in (books.slots.new, books.slots.replaced, books.slots.continued):
            self.slots |= rows

    def commit(self, node: Node, *bodies: Body) -> list[object]:
        """Behind the fence; a node that was given up joins anew first, and its parent lets go of everything."""
        row = self.rows[node.name]
        node.unsent += [(node.epoch, body) for body in bodies]
        if row.state == "dead":
            row.state, node.epoch, node.owns = "live", row.epoch, False
            if node.ask and not node.called:
                node.unsent.append((node.epoch, Release(JOB, node.ask.due, node.ask.attempt, node.ask.owner)))
                node.ask = None
        row.lease = self.now + LEASE
        books = self.books(f"{node.name}:{node.epoch}")
        told = [books.apply(body, new=True, late=epoch < node.epoch) for epoch, body in node.unsent]
        node.unsent.clear()
        self.write(books)
        node.contact.made(self.now)
        return [one for one in told if one]

    # ---- what happens

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.0, 1.4, 2.6, 3.5]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=NODES)
    def beat(self, name: str) -> None:
        self.commit(self.nodes[name])
        found = [
            Peer(other, other, row.epoch, row.state, "", None, 0, row.lease - self.now, "", None, None)
            for other, row in self.rows.items()
        ]
        for peer in peers.silent(found, name, self.nodes[name].contact.unbroken(self.now)):
            row = self.rows[peer.session]
            row.state, row.epoch = "dead", row.epoch + 1
            books = self.books(f"{name}:{self.nodes[name].epoch}")
            run = self.job.open
            if run and run.owner.startswith(f"{peer.session}/"):
                books.finish(lost(run, "given up", T + self.now))
            if self.job.owner and self.job.owner.startswith(f"{peer.session}:"):
                books.disown(JOB, "given up")
            self.write(books)

    @rule(name=NODES, rounds=st.integers(4, 9))
    def stands_still(self, name: str, rounds: int) -> None:
        """One node does, and the others go on."""
        for _ in range(rounds):
            self.now += 0.8
            for other in self.nodes.keys() - {name}:
                self.beat(other)
        for other in sorted(self.nodes.keys() - {name}):
            self.claim(other)

    @rule(name=NODES)
    def claim(self, name: str) -> None:
        node = self.nodes[name]
        if not node.owns and node.ask is None:
            for past in self.commit(node, Enroll(JOB, "* * * * * * UTC", 1, T + self.now)):
                assert isinstance(past, JobHistory)
                node.owns, node.next = True, past.record.accounted + 1

    @rule(name=NODES)
    def yields(self, name: str) -> None:
        node = self.nodes[name]
        if node.owns and node.ask is None:
            node.owns = False
            self.commit(node, Yield(JOB))

    @rule(name=NODES)
    def asks(self, name: str) -> None:
        node = self.nodes[name]
        if node.owns and node.ask is None and node.next <= T + self.now:
            node.ask, node.called = Ask(JOB, float(node.next), f"run-{node.next}", owner=f"{name}/1"), False
            node.next += 1
            self.asked(node)

    def asked(self, node: Node) -> None:
        ask, sent = node.ask, self.now
        assert ask
        for answer in self.commit(node, ask):
            if isinstance(answer, Grant):
                node.until = sent + LEASE - MARGIN
            elif isinstance(answer, Deny):
                node.ask = None

    @rule(name=NODES)
    def calls_now(self, name: str) -> None:
        node = self.nodes[name]
        if node.ask is None or node.called:
            return
        if self.holds_until and self.now >= node.until:
            self.asked(node)
            return
        node.called = True
        self.calls[node.ask.due] += 1
        if self.job.owner not in (None, f"{name}:{node.epoch}"):
            self.overlapping.append(f"{name} calls {node.ask.due}, and {self.job.owner} owns the job")

    @rule(name=NODES)
    def finishes(self, name: str) -> None:
        node = self.nodes[name]
        if node.ask and node.called:
            ask, node.ask = node.ask, None
            self.commit(node, Finished(JOB, ask.due, ask.run_id, "schedule", 0, "success", finished=T + self.now))

    # ---- what holds

    @invariant()
    def nothing_is_called_twice(self) -> None:
        assert all(count == 1 for count in self.calls.values())

    @invariant()
    def nothing_is_called_once_another_owns_it(self) -> None:
        assert self.overlapping == []

    @invariant()
    def every_slot_that_was_accounted_for_has_a_row_or_is_under_way(self) -> None:
        if self.job.record:
            rows = Counter(row.due for row in self.slots.values())
            assert all(count == 1 for count in rows.values())

    def teardown(self) -> None:
        """Whatever was called has a row in the end, and its own word where there was one."""
        for node in self.nodes.values():
            self.finishes(node.name)
            self.commit(node)
        for due in self.calls:
            assert (JOB, due, 0) in self.slots
            assert self.slots[JOB, due, 0].outcome == "success"


TestNodes = Nodes.TestCase
TestNodes.settings = settings(max_examples=200, stateful_step_count=60)


class Believing(Nodes):
    """The control: a child that does not compare."""

    holds_until = False


def test_without_the_comparison_a_call_begins_that_is_anothers() -> None:
    one = Believing()
    one.claim("one")
    one.time_passes(2.6)
    one.asks("one")
    for _ in range(6):
        one.time_passes(1.0)
        one.beat("two")
    one.claim("two")
    one.calls_now("one")
    assert one.overlapping

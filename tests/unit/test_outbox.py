"""The outbox: kept until durable, sent again after the ledger's death, bounded."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness import Ends
from tocsin.ipc import channel as channels
from tocsin.ipc.channel import AnyChannel, Channel, ChannelClosed
from tocsin.ipc.job import Pause, Stop
from tocsin.ipc.ledger import Entry, FromLedger, ToLedger, decode_from_ledger, decode_to_ledger
from tocsin.parent import outbox
from tocsin.parent.outbox import Outbox


def body(number: int) -> Pause:
    return Pause(f"job-{number}", True, 60.0)


def heard(channel: AnyChannel) -> list[int]:
    found = []
    for message in channel.waiting(10_000):
        assert isinstance(message, Entry)
        assert message.body == body(message.seq)
        found.append(message.seq)
    return found


def test_entries_go_out_once_and_in_order(ends: Ends) -> None:
    box = Outbox()
    for number in range(1, 6):
        box.put(body(number))
    assert len(box) == 5
    box.pump(ends[0])
    box.pump(ends[0])
    assert heard(ends[1]) == [1, 2, 3, 4, 5]
    assert len(box) == 5, "sent is not durable"


def test_what_is_committed_is_forgotten(ends: Ends) -> None:
    box = Outbox()
    for number in range(1, 6):
        box.put(body(number))
    box.pump(ends[0])
    box.committed(3)
    assert len(box) == 2
    box.committed(3)
    assert len(box) == 2
    box.committed(5)
    assert len(box) == 0


def test_after_the_ledgers_death_the_rest_goes_out_again_in_the_same_order(ends: Ends) -> None:
    box = Outbox()
    for number in range(1, 4):
        box.put(body(number))
    box.pump(ends[0])
    assert heard(ends[1]) == [1, 2, 3]
    box.committed(1)
    box.put(body(4))
    box.rewind()
    box.pump(ends[0])
    assert heard(ends[1]) == [2, 3, 4]


def test_a_dead_ledger_loses_nothing(ends: Ends) -> None:
    box = Outbox()
    box.put(body(1))
    ends[1].close()
    with pytest.raises(ChannelClosed):
        box.pump(ends[0])
    assert len(box) == 1


def test_beyond_the_bound_entries_are_dropped_and_counted(ends: Ends) -> None:
    box = Outbox(bound=3)
    for number in range(1, 6):
        box.put(body(number))
    assert (len(box), box.dropped) == (3, 2)
    box.pump(ends[0])
    box.put(body(4))
    assert (len(box), box.dropped) == (3, 3), "what is on its way counts"
    box.committed(2)
    box.put(body(4))
    box.pump(ends[0])
    assert heard(ends[1]) == [1, 2, 3, 4], "numbers have no gaps"
    assert box.dropped == 3


def test_a_slow_ledger_is_not_flooded(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "IN_FLIGHT", 3)
    box = Outbox()
    for number in range(1, 8):
        box.put(body(number))
    box.pump(ends[0])
    assert heard(ends[1]) == [1, 2, 3]
    box.committed(2)
    box.pump(ends[0])
    assert heard(ends[1]) == [4, 5]


def test_a_ledger_that_reads_nothing_leaves_the_rest_here(ends: Ends) -> None:
    box = Outbox()
    for number in range(1, 1001):
        box.put(body(number))
    while not ends[0].backlog:
        ends[0].send(Stop())
    queued = ends[0].backlog
    box.pump(ends[0])
    assert ends[0].backlog == queued


class Ledger(RuleBasedStateMachine):
    """A ledger that commits what it has read, dies with or without having said so, and is followed by another."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Outbox(bound=20)
        self.put_in = 0
        self.durable: list[int] = []
        self.unsaid = 0
        self._open()

    def _open(self) -> None:
        a, b = channels.pair()
        self.ours: Channel[ToLedger, FromLedger] = Channel(a, decode_from_ledger, blocking=False)
        self.theirs: Channel[FromLedger, ToLedger] = Channel(b, decode_to_ledger, blocking=True)
        self.read: list[int] = []

    @rule(count=st.integers(1, 8))
    def put(self, count: int) -> None:
        for _ in range(count):
            before = self.box.dropped
            self.box.put(body(self.put_in + 1))
            self.put_in += self.box.dropped == before

    @rule()
    def pump(self) -> None:
        self.box.pump(self.ours)

    @rule(count=st.integers(1, 8))
    def receive(self, count: int) -> None:
        for message in self.theirs.waiting(count):
            assert isinstance(message, Entry)
            self.read.append(message.seq)

    @precondition(lambda self: self.read)
    @rule(say=st.booleans())
    def commit(self, say: bool) -> None:
        self.durable.extend(seq for seq in self.read if seq > (self.durable[-1] if self.durable else 0))
        if say:
            self.box.committed(self.read[-1])
        self.read.clear()

    @rule()
    def die(self) -> None:
        self.ours.close()
        self.theirs.close()
        self._open()
        self.box.rewind()

    @invariant()
    def durable_is_gapless(self) -> None:
        assert self.durable == list(range(1, len(self.durable) + 1))
        assert self.put_in - len(self.durable) <= len(self.box) <= 20

    def teardown(self) -> None:
        self.box.rewind()
        while len(self.box):
            self.box.pump(self.ours)
            self.receive(100)
            self.commit(say=True)
        assert self.durable == list(range(1, self.put_in + 1)), "everything taken in has become durable, once"
        self.ours.close()
        self.theirs.close()


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=30, stateful_step_count=40)

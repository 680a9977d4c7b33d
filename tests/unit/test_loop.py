"""The loop: who is called back, and when no more."""

import functools
import socket
from collections.abc import Iterator

import pytest

from tocsin.parent.loop import Loop

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


class Heard:
    """What a loop called back, some rounds at a time."""

    def __init__(self, watched: socket.socket) -> None:
        self.loop = Loop()
        self.calls: list[str] = []
        self.loop.watch(watched.fileno(), lambda: self.calls.append("read"), lambda: self.calls.append("write"))

    def rounds(self, number: int = 1) -> list[str]:
        self.calls.clear()
        left = [None] * number

        def work() -> bool:
            self.loop.done = not left
            if left:
                left.pop()
            return True

        self.loop.done = False
        self.loop.run(work)
        return self.calls


def test_room_is_awaited_only_while_somebody_asks_for_it(pair: Pair) -> None:
    heard = Heard(pair[0])
    assert heard.rounds() == []
    heard.loop.await_room(pair[0].fileno(), True)
    assert set(heard.rounds()) == {"write"}
    pair[1].send(b"x")
    assert set(heard.rounds()) == {"read", "write"}
    heard.loop.await_room(pair[0].fileno(), False)
    assert set(heard.rounds()) == {"read"}


def test_a_hang_up_is_read(pair: Pair) -> None:
    heard = Heard(pair[0])
    pair[1].close()
    assert set(heard.rounds()) == {"read"}


def test_a_forgotten_descriptor_stays_forgotten(pair: Pair) -> None:
    """What is still sent to a child whose end was seen must not have its channel watched again."""
    heard = Heard(pair[0])
    pair[1].send(b"x")
    heard.loop.forget(pair[0].fileno())
    heard.loop.forget(pair[0].fileno())
    heard.loop.await_room(pair[0].fileno(), True)
    assert heard.rounds() == []


def test_moments_come_in_their_order(pair: Pair) -> None:
    heard = Heard(pair[0])
    now = heard.loop.now()
    for name, after in (("now", 0.0), ("first", -2.0), ("second", -1.0), ("not yet", 3600.0)):
        heard.loop.at(now + after, functools.partial(heard.calls.append, name))
    assert heard.rounds() == ["first", "second", "now"]

"""The control socket: who hangs, floods or sends garbage costs one of a bounded number of places, and no waiting."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon_rig import FakeLoop
from tocsin.ipc import channel as channels
from tocsin.ipc.actions import FireJob
from tocsin.ipc.channel import Channel, ChannelClosed
from tocsin.ipc.control import Answer, Done, ListJobs, Request, decode_answer
from tocsin.parent import control as module
from tocsin.parent.control import NAME, Client, Control


class Rig:
    """A control socket whose loop is turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = FakeLoop()
        self.asked: list[Request] = []
        self.control = Control(folder, self.loop, self.handle)
        self.clients: list[Channel[Request, Answer]] = []

    def handle(self, client: Client, request: Request) -> None:
        self.asked.append(request)
        client.say(Done("done"))

    def connect(self) -> Channel[Request, Answer]:
        client = channels.connect(self.folder, NAME, decode_answer)
        self.clients.append(client)
        self.turn()
        return client

    def turn(self) -> None:
        """Everyone who is watched is looked at, as if readable."""
        for callback in list(self.loop.watched.values()):
            callback()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    yield one
    one.control.close()
    for client in one.clients:
        client.close()


def test_what_is_asked_is_answered(rig: Rig) -> None:
    client = rig.connect()
    client.send(FireJob("tick"))
    rig.turn()
    assert rig.asked == [FireJob("tick")]
    assert client.receive() == Done("done")


@pytest.mark.parametrize("packet", [b"nonsense", b'{"type":"Done","text":""}', b'{"type":"Stop"}'])
def test_who_sends_what_no_command_sends_is_dropped(rig: Rig, packet: bytes) -> None:
    client, other = rig.connect(), rig.connect()
    os.write(client.fileno(), packet)
    rig.turn()
    with pytest.raises(ChannelClosed):
        client.receive()
    other.send(ListJobs())
    rig.turn()
    assert rig.asked == [ListJobs()], "nobody else is disturbed"


def test_who_came_first_makes_room_for_one_too_many(rig: Rig) -> None:
    first, *others = [rig.connect() for _ in range(module.CLIENTS + 1)]
    with pytest.raises(ChannelClosed):
        first.receive()
    assert others[-1].receive() is None


def test_a_client_that_went_away_gives_up_its_place(rig: Rig) -> None:
    watched = len(rig.loop.watched)
    rig.connect().close()
    rig.turn()
    assert len(rig.loop.watched) == watched


def test_a_socket_that_was_deleted_is_made_anew(rig: Rig) -> None:
    (rig.folder / NAME).unlink()
    rig.loop.later(module.LOOK)
    client = rig.connect()
    client.send(ListJobs())
    rig.turn()
    assert client.receive() == Done("done")


def test_the_end_hangs_up(rig: Rig) -> None:
    client = rig.connect()
    rig.control.close()
    assert not (rig.folder / NAME).exists()
    with pytest.raises(ChannelClosed):
        client.receive()
    rig.loop.later(module.LOOK)
    assert not (rig.folder / NAME).exists(), "nothing is made anew after the end"

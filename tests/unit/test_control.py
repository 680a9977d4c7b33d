"""The control socket: a list of any length is told as its reader takes it."""

import threading
from collections.abc import Callable
from pathlib import Path

from harness import no_descriptors_left
from tocsin.config import Job
from tocsin.ipc import channel as channels
from tocsin.ipc.control import Answer, Done, ListJobs, Request, decode_answer
from tocsin.parent import statuses
from tocsin.parent.control import NAME, REST, Client, Control
from tocsin.parent.loop import Loop

MANY = 30_000


def test_a_list_of_any_length_is_told_as_it_is_read(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    """Little is held for a reader that is slow, and the loop goes on meanwhile."""
    one, loop = statuses.of(make_job()), Loop()
    held: list[int] = []
    turns = 0

    def handle(client: Client, _: Request) -> None:
        client.say_all([*[one] * MANY, Done()])
        held.append(client.channel.backlog)

    def work() -> bool:
        nonlocal turns
        turns += 1
        return False

    control = Control(tmp_path, loop, handle)
    heard: list[Answer] = []

    def read() -> None:
        client = channels.connect(tmp_path, NAME, decode_answer)
        client.send(ListJobs())
        while not heard or not isinstance(heard[-1], Done):
            message = client.receive(wait=True)
            assert message
            heard.append(message)
        client.close()
        loop.done = True

    reader = threading.Thread(target=read)
    reader.start()
    loop.run(work)
    reader.join()
    control.close()
    assert len(heard) == MANY + 1
    assert max(held) <= 1
    assert turns > MANY // 1000


def test_a_client_waits_where_there_is_no_descriptor_for_it(tmp_path: Path) -> None:
    """Without the loop turning round and round."""
    loop, turns = Loop(), 0
    control = Control(tmp_path, loop, lambda client, _: client.say(Done("hello")))
    client = channels.connect(tmp_path, NAME, decode_answer)
    client.send(ListJobs())

    def work() -> bool:
        nonlocal turns
        turns += 1
        return False

    def end() -> None:
        loop.done = True

    with no_descriptors_left():
        loop.at(loop.now() + 0.1, end)
        loop.run(work)
    assert turns < 20
    loop.done = False
    loop.at(loop.now() + REST + 0.1, end)
    loop.run(work)
    assert client.receive(wait=False) == Done("hello")
    client.close()
    control.close()

"""What the exporter is told, also when it does not keep up."""

from collections.abc import Callable

from tocsin.config import Job
from tocsin.ipc.exporter import ConfigLoaded, Heartbeat, JobRemoved, JobStatus
from tocsin.ipc.job import Pause
from tocsin.ipc.types import Message
from tocsin.parent.status_feed import StatusFeed


def taken_by(heard: list[Message]) -> Callable[[Message], bool]:
    """An exporter that keeps up."""

    def take(message: Message) -> bool:
        heard.append(message)
        return True

    return take


def test_an_exporter_that_was_behind_is_told_the_state_of_all(make_job: Callable[..., Job]) -> None:
    heard: list[Message] = []
    room = [True]

    def to_exporter(message: Message) -> bool:
        return room[0] and taken_by(heard)(message)

    news = StatusFeed(to_exporter)
    news.define(make_job(name="old"))
    news.define(make_job(name="kept"))
    room[0] = False
    news.remove("old")
    news.define(make_job(name="new"))
    news.tell(Pause("kept", True))
    news.heartbeat(0)
    room[0] = True
    heard.clear()
    news.heartbeat(0)
    assert JobRemoved("old") in heard
    told = {one.name: one.paused for one in heard if isinstance(one, JobStatus)}
    assert told == {"new": False, "kept": True}
    heard.clear()
    news.heartbeat(0)
    assert not [one for one in heard if isinstance(one, JobStatus | JobRemoved)]
    assert any(isinstance(one, Heartbeat) for one in heard)


def test_a_new_exporter_hears_what_is_in_use_and_what_was_refused_since() -> None:
    heard: list[Message] = []
    news = StatusFeed(taken_by(heard))
    used, refused, again = ConfigLoaded("a", 1.0), ConfigLoaded("a", 2.0, "it is wrong"), ConfigLoaded("b", 3.0)
    for told, expected in ((used, [used]), (refused, [used, refused]), (again, [again])):
        news.tell(told)
        heard.clear()
        news.repeat()
        assert [one for one in heard if isinstance(one, ConfigLoaded)] == expected

"""What the exporter is told, also when it does not keep up."""

from collections.abc import Callable

from tocsin.config import Job
from tocsin.messages import Heartbeat, JobRemoved, JobStatus, Message, Pause
from tocsin.parent.news import News


def test_an_exporter_that_was_behind_is_told_the_state_of_all(make_job: Callable[..., Job]) -> None:
    heard: list[Message] = []
    room = [True]

    def to_exporter(message: Message) -> bool:
        if room[0]:
            heard.append(message)
        return room[0]

    news = News(to_exporter)
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

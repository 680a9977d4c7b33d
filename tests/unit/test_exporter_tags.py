"""A browser that has a page is sent only what is new of it: RFC 9110, 13.1.2, and the rows that changed."""

import re
from collections.abc import Callable

import pytest

from exporter_rig import NOON, Asked, job, run, world
from tocsin.exporter.pages import HISTORY_KEPT
from tocsin.exporter.tags import digest, read
from tocsin.ipc.exporter import ConfigLoaded, JobRemoved, LedgerState, ProcessExited
from tocsin.ipc.history import Row, Rows, Slots
from tocsin.ipc.ledger import Committed

RUN = Row("a", NOON, NOON, 1, "success", run_id="r-1", trigger="schedule", status=200, started=NOON, finished=NOON + 1)
ROW = re.compile(r"<tr data-name=\"([a-z0-9-]+)\"( data-same>)?")


@pytest.fixture
def site() -> Asked:
    site = Asked(*world(*(job(name) for name in ("a", "b", "c"))))
    site.past = Rows(1, (RUN,))
    return site


def tag_of(site: Asked, path: str = "/", **more: object) -> str:
    reply = site.ask(path, **more)  # type: ignore[arg-type]
    assert reply.status == 200
    tag = reply.headers["ETag"]
    assert f'data-tag="{tag.replace(chr(34), "&#34;")}"' in reply.body.decode(), "page.js reads it there"
    return tag


def rows(site: Asked, path: str, tag: str) -> list[tuple[str, bool]]:
    """The rows of what is sent, and whether each is whole."""
    reply = site.ask(path, has=tag, takes_parts=True)
    assert reply.status == 200
    return [(name, not same) for name, same in ROW.findall(reply.body.decode())]


@pytest.mark.parametrize("path", ["/", "/?health=well", "/jobs/a", "/runs", "/runs?job=a", "/jobs/a/runs", "/runs/r-1"])
def test_a_page_that_is_the_same_is_not_sent_again(site: Asked, path: str) -> None:
    tag = tag_of(site, path)
    site.now += 5
    for has in (tag, f'"other", {tag}', tag.removeprefix("W/")):
        reply = site.ask(path, has=has)
        assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", tag)
    for has in ("", '"other"', "*", tag[:-2], 'W/"' + "x" * 2000 + '"'):
        assert site.ask(path, has=has).status == 200
    other = Asked(*world(job("a")))  # the next process
    other.past = site.past
    assert other.ask(path, has=tag).status == 200


@pytest.mark.parametrize(
    "happens",
    [
        lambda site: site.tell(run("a", "timeout")),
        lambda site: site.tell(ConfigLoaded("d00d", NOON)),
        lambda site: site.tell(ConfigLoaded("c0ffee", NOON, error="a fault")),
        lambda site: site.tell(LedgerState(False, 3, "a full disk")),
        lambda site: site.tell(ProcessExited("job", "a", "signal", "SIGKILL")),
        lambda site: site.tell(job("a", description="another")),
        lambda site: setattr(site, "clock", site.clock + 100),  # nothing was heard meanwhile
    ],
)
@pytest.mark.parametrize("path", ["/", "/jobs/a"])
def test_whatever_a_page_shows_makes_it_another(site: Asked, path: str, happens: Callable[[Asked], None]) -> None:
    tag = tag_of(site, path)
    happens(site)
    assert site.ask(path, has=tag).status == 200


def test_a_page_of_the_history_is_asked_for_only_after_a_commit(site: Asked) -> None:
    for path in ("/runs", "/jobs/a/runs?outcome=failed", "/runs/r-1"):
        tag = tag_of(site, path)
        site.asked.clear()
        assert site.ask(path, has=tag).status == 304
        assert site.asked == []
        site.tell(Committed(7, 0.001))
        assert site.ask(path, has=tag).status == 200
        assert len(site.asked) == 1
        tag = tag_of(site, path)
        site.clock += HISTORY_KEPT  # another node may have written it
        assert site.ask(path, has=tag).status == 200
    assert site.ask("/api/runs", has=tag).status == 200
    assert site.asked[-1] == Slots()


def test_errors_have_no_tag(site: Asked) -> None:
    for path in ("/nope", "/runs?limit=0"):
        reply = site.ask(path, accept="text/html")
        assert reply.status >= 400
        assert "ETag" not in reply.headers


def test_only_changed_rows_are_sent_to_who_takes_parts(site: Asked) -> None:
    tag = tag_of(site)
    whole = len(site.ask("/").body)
    site.tell(run("b"))
    changed = site.ask("/", has=tag, takes_parts=True)
    assert rows(site, "/", tag) == [("b", True)]
    assert b'<tbody id="jobs" data-same>' in changed.body
    assert len(changed.body) < whole
    assert [name for name, is_whole in rows(site, "/", "") if is_whole] == ["a", "b", "c"]
    assert site.ask("/", has=tag).body.count(b"data-same") == 0, "who does not take parts gets all"
    assert site.ask("/", has=changed.headers["ETag"], takes_parts=True).status == 304


def test_where_the_order_is_another_rows_that_are_the_same_stand_without_content(site: Asked) -> None:
    tag = tag_of(site)
    site.tell(run("c", "timeout"))
    assert rows(site, "/", tag) == [("c", True), ("a", False), ("b", False)]
    tag = tag_of(site)
    site.tell(JobRemoved("a"))
    assert rows(site, "/", tag) == [("c", False), ("b", False)]
    tag = tag_of(site)
    site.tell(job("d"))
    assert rows(site, "/", tag) == [("d", True), ("c", False), ("b", False)], "it is stalled: it has no process"


def test_a_tag_says_no_more_than_it_can() -> None:
    assert read("").tags == ()
    assert read('W/"0123456789ab.999999999999999.0123456789ab.0123456789ab"').tags[0].serial == 10**15 - 1
    assert read('W/"0123456789ab.9999999999999999.0123456789ab.0123456789ab"').tags == ()
    assert digest("a", "b") != digest("ab")


def test_a_crowd_that_asks_at_the_same_time_costs_one_rendering(site: Asked) -> None:
    for path in ("/", "/jobs/a"):
        first = site.ask(path)
        assert site.ask(path).body is first.body
        assert site.ask(f"{path}?health=failing").body is not first.body or path != "/"
        site.tell(run("a"))
        news = site.ask(path)
        assert news.body is not first.body
        site.clock += 1.5
        assert site.ask(path).body is not news.body, "its clock is the server's"
    site.tell(*(job(f"job-{number}") for number in range(30)))
    for number in range(30):
        assert site.ask(f"/jobs/job-{number}").body is not site.ask(f"/jobs/job-{number + 1}").body
    assert site.ask("/nope", accept="text/html").body != site.ask("/nowhere", accept="text/html").body

"""Pages stay true while they are open, for little, and what is long past is found after a restart of everything."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from browser import Page, browser
from exporter_rig import Exporter, exporter, job, run, world
from harness import Daemon, until
from ledger_rig import Ledger
from pages_rig import DETAIL, FAILED, REPLY, failed
from test_pages import VISIBLE, assert_calm
from tocsin.ipc.job import Sleeping

ROWS = "[...document.querySelectorAll('#jobs tr')].map(row => row.dataset.name + ':' + row.dataset.health)"


async def answers(page: Page, count: int) -> list[int]:
    """The statuses of the next answers to the page's own questions."""
    before = len(page.statuses)
    await page.until("1", lambda _: len(page.statuses) >= before + count)
    return page.statuses[before:]


def test_an_open_page_is_sent_what_is_new_and_stays_whole(tmp_path: Path) -> None:
    async def check(one: Exporter) -> None:
        async with browser(tmp_path / "profile") as page:
            await page.open(f"http://127.0.0.1:{one.port}/")
            await page.until(ROWS, ["a:well", "b:well", "c:well"].__eq__)
            await page.value("document.querySelector('[data-name=a]').mark = document.body.mark = 'here'")
            assert await answers(page, 2) == [304, 304]
            one.send(run("b", due=time.time(), detail="again"))
            await page.until("document.querySelector('[data-name=b] .last').innerText", lambda text: "again" in text)
            assert await page.value("document.querySelector('[data-name=a]').mark") == "here", "its row was not sent"
            one.send(run("c", "timeout", due=time.time()))  # which comes first now
            await page.until(ROWS, ["c:failing", "a:well", "b:well"].__eq__)
            assert await page.value("document.querySelector('[data-name=a]').mark") == "here"
            await page.choose("#health", "failing")  # another question: its answer is whole
            await page.until(VISIBLE, ["c"].__eq__)
            one.send(run("a", "timeout", due=time.time()))  # of a row that is not here
            await page.until(VISIBLE, ["a", "c"].__eq__)
            await page.choose("#health", "")
            await page.until(ROWS, ["a:failing", "c:failing", "b:well"].__eq__)
            assert await page.value("document.querySelectorAll('[data-same]').length") == 0
            assert await page.value("document.body.mark") == "here", "no page was loaded anew"
            assert_calm(page, one)

    jobs = [job(name) for name in "abc"]
    with exporter(tmp_path / "log", *world(*jobs, now=time.time())) as one:
        for name in "abc":
            one.send(run(name, due=time.time()), Sleeping(name, time.time() + 3000))
        asyncio.run(check(one))


def test_a_tab_that_nobody_sees_asks_nothing(tmp_path: Path) -> None:
    async def check(one: Exporter) -> None:
        async with browser(tmp_path / "profile") as page:
            await page.open(f"http://127.0.0.1:{one.port}/")
            await answers(page, 1)
            hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
            hide += "document.dispatchEvent(new Event('visibilitychange'))"
            await page.value(hide % "true")
            await page.value("window.turns = 0; window.real = setTimeout; setInterval(() => turns++, 1000)")
            before = len(page.statuses)
            await page.until("turns", lambda turns: turns >= 12)  # two questions, had it been seen
            assert len(page.statuses) <= before + 1, "but for one that was under way"
            one.send(run("a", "timeout", due=time.time()))
            await page.value(hide % "false")
            await page.until(ROWS, ["a:failing"].__eq__)

    with exporter(tmp_path / "log", *world(job("a"), now=time.time())) as one:
        asyncio.run(check(one))


def test_a_failed_run_of_last_week_is_opened_after_a_restart(running: Callable[[str], Daemon], tmp_path: Path) -> None:
    daemon = running('[jobs.expire-holds]\nschedule = "0 0 1 1 *"\npath = "/x"\n')
    daemon.child("exporter")
    assert daemon.stop() == 0
    due = time.time() // 60 * 60 - 6 * 86400
    ledger = Ledger(daemon.folder / "var", "last-week")
    ledger.put(replace(failed(due), started=due + 0.0003, finished=due + 1.241))
    ledger.close()
    daemon.start()
    daemon.child("exporter")
    until(lambda: FAILED in daemon.get("/api/runs?outcome=failed"), "the ledger to answer")

    async def check() -> None:
        async with browser(tmp_path / "profile") as page:
            await page.open(f"http://127.0.0.1:{daemon.port}/")
            await page.click("nav a[href='/runs']")
            await page.until("location.pathname", "/runs".__eq__)
            await page.choose("select[name=outcome]", "failed")
            await page.click(".filters button")
            await page.until("location.search", lambda text: "outcome=failed" in text)
            await page.click(f"a[href='/runs/{FAILED}']")
            await page.until("location.pathname", f"/runs/{FAILED}".__eq__)
            text = await page.until("document.querySelector('main').innerText", lambda text: DETAIL in text)
            for words in (REPLY, "x-cron-secret: [redacted]", "1.84 ms", "before due", "1.24 s", time_of(due)):
                assert words in text, words
            assert page.complaints == []

    asyncio.run(check())


def time_of(due: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.000 UTC", time.gmtime(due))

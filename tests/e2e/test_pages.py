"""The status pages in a real browser: they filter, sort, follow what happens, and complain of nothing."""

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

from browser import Page, browser
from exporter_rig import HOSTILE, Exporter, exporter, job, run, world
from tocsin.ipc.exporter import Heartbeat, JobRemoved, ProcessUp
from tocsin.ipc.job import Finished, Sleeping

VISIBLE = "[...document.querySelectorAll('#jobs tr:not([hidden])')].map(row => row.dataset.name)"


def assert_calm(page: Page, one: Exporter) -> None:
    assert page.complaints == []
    assert page.requests
    assert {urlsplit(url).netloc for url in page.requests} == {f"127.0.0.1:{one.port}"}


def ran(name: str, run_id: str) -> Finished:
    return run(name, due=time.time(), run_id=run_id, reported={"unassigned": 1000.0})


def test_an_operator_looks_around(tmp_path: Path) -> None:
    asyncio.run(_look_around(tmp_path))


async def _look_around(tmp_path: Path) -> None:
    now = time.time()
    jobs = [job("sla-check"), job("expire-holds", description=HOSTILE), job("off", enabled=False, state="disabled")]
    with exporter(tmp_path / "log", *world(*jobs, now=now)) as one:
        one.send(Sleeping("sla-check", now + 3000), Sleeping("expire-holds", now + 4000))
        one.send(run("expire-holds", "http_error", detail=HOSTILE, due=now), ran("sla-check", "run-1"))
        async with browser(tmp_path / "profile") as page:
            await page.open(f"http://127.0.0.1:{one.port}/")
            await page.until(VISIBLE, ["expire-holds", "off", "sla-check"].__eq__)  # the failing one first
            assert await page.value("document.querySelector('h1').innerText") == "1 of 3 jobs is failing"

            # the countdown moves
            countdown = "document.querySelector('[data-name=sla-check] .next').innerText"
            first = await page.until(countdown, lambda words: words.startswith("in 49 min"))
            await page.until(countdown, lambda words: words != first and words.startswith("in 49 min"))

            # filter and sort, kept in the address and across refreshes
            await page.choose("#filter", "SLA")
            await page.until(VISIBLE, ["sla-check"].__eq__)
            await page.until("location.search", "?q=SLA".__eq__)
            await page.value("window.stillHere = true")
            one.send(job("sla-daily"), ProcessUp("job", "sla-daily", 1, now), Sleeping("sla-daily", now + 4000))
            await page.until(VISIBLE, ["sla-check", "sla-daily"].__eq__)
            await page.choose("#filter", "")
            await page.choose("#health", "failing")
            await page.until(VISIBLE, ["expire-holds"].__eq__)
            assert await page.value("document.querySelector('#shown').innerText") == "1 of 4"
            await page.choose("#filter", "nothing like that")
            await page.until("document.querySelector('.none').innerText", "No job matches. Show all jobs".__eq__)
            await page.choose("#filter", "")
            await page.choose("#health", "")
            await page.choose("#sort", "name")
            await page.until(VISIBLE, ["expire-holds", "off", "sla-check", "sla-daily"].__eq__)
            await page.choose("#sort", "trouble")
            await page.until("location.search", "".__eq__)
            one.send(run("sla-check", "timeout"), run("sla-check", "timeout"), JobRemoved("sla-daily"))
            await page.until(VISIBLE, ["sla-check", "expire-holds", "off"].__eq__)
            assert await page.value("window.stillHere")

            # the count of the failing is a link, which is a page of its own
            await page.click(".counts a[href='/?health=failing']")
            await page.until("location.search", "?health=failing".__eq__)
            await page.until(VISIBLE, ["sla-check", "expire-holds"].__eq__)
            assert await page.value("document.querySelector('#health').value") == "failing"

            # follow a job; a new run appears without a reload
            await page.click("[data-name=sla-check] a")
            await page.until("location.pathname", "/jobs/sla-check".__eq__)
            await page.until("document.body.innerText", lambda text: "run-1" in text)
            await page.value("window.stillHere = true")
            one.send(Heartbeat(time.time()), ran("sla-check", "run-2"))
            await page.until("document.body.innerText", lambda text: "run-2" in text and "2,000" in text)
            assert await page.value("window.stillHere")
            assert_calm(page, one)

            # the daemon goes away, and the page says so
            one.stop()
            await page.until("document.querySelector('#lost').innerText", lambda text: "does not answer" in text)


def test_a_thousand_jobs_on_a_phone(tmp_path: Path) -> None:
    asyncio.run(_phone(tmp_path))


async def _phone(tmp_path: Path) -> None:
    jobs = [job(f"job-{number}") for number in range(1000)]
    with exporter(tmp_path / "log", *world(*jobs, now=time.time())) as one:
        async with browser(tmp_path / "profile") as page:
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
            )
            await page.open(f"http://127.0.0.1:{one.port}/")
            await page.until("document.querySelectorAll('#jobs tr').length", (1000).__eq__)
            await page.choose("#filter", "job-77")
            await page.until(f"{VISIBLE}.length", (11).__eq__)
            for path in ("/", "/jobs/job-77", "/nope"):
                await page.open(f"http://127.0.0.1:{one.port}{path}")
                assert await page.value("document.documentElement.scrollWidth") <= 390
            page.complaints = [one for one in page.complaints if "404" not in one]  # what /nope is for
            assert_calm(page, one)

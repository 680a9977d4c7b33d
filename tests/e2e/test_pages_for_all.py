"""Everybody can use the pages: axe-core finds no fault, the keyboard reaches all, and they work without JavaScript."""

import asyncio
import json
from pathlib import Path

import pytest

from browser import Page, browser
from exporter_rig import Exporter
from node_packages import install, needs_node
from pages_rig import FAILED, site
from test_pages import assert_calm

ACTING = 'listen_actions = "loopback"\n'
PAGES = (
    *("/", "/?health=failing", "/?q=nothing+like+that", "/jobs/expire-holds", "/jobs/archive", "/runs"),
    *(
        "/runs?outcome=failed",
        "/jobs/sla-check/runs",
        f"/runs/{FAILED}",
        "/runs?limit=0",
        "/nope",
        "/runs/nope",
        "/actions",
        "/jobs/expire-holds/actions",
        "/jobs/expire-holds?did=fire",
    ),
)
AXE = "axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(found.violations.map(one =>"
AXE += " [one.id, one.help, one.nodes.map(node => node.html + ' ' + node.failureSummary)])))"
FOCUSED = """(() => {
    const e = document.activeElement, s = getComputedStyle(e);
    if (e === document.body || e.dataset.seen) return null;
    e.dataset.seen = "yes";
    return {what: e.outerHTML.slice(0, 80), visible: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0};
})()"""
REACHABLE = """[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
    .filter(e => e.checkVisibility() && !e.disabled).length"""


async def faults(page: Page, axe: str) -> list[str]:
    await page.value(axe)
    said = await page.call("Runtime.evaluate", expression=AXE, awaitPromise=True, returnByValue=True)
    return [f"{rule}: {words}: {nodes}" for rule, words, nodes in json.loads(said["result"]["value"])]


def forgive_status(page: Page) -> None:
    """A browser notes on its console that a page is an error, which is what some of these are for."""
    page.complaints = [one for one in page.complaints if " 404 " not in one and " 400 " not in one]


@needs_node
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_fault(tmp_path: Path, width: int, dark: bool) -> None:
    axe = (install(Path(__file__).parent / "axe") / "axe-core/axe.min.js").read_text()

    async def check(one: Exporter) -> None:
        async with browser(tmp_path / "profile") as page:
            await page.look(width=width, dark=dark)
            found = {}
            for path in PAGES:
                await page.open(f"http://127.0.0.1:{one.port}{path}")
                found[path] = await faults(page, axe)
                assert await page.value("document.documentElement.scrollWidth") <= width, path
            assert {path: some for path, some in found.items() if some} == {}
            forgive_status(page)
            assert_calm(page, one)

    with site(tmp_path, more=ACTING) as one:  # with its buttons
        asyncio.run(check(one))


def test_the_keyboard_reaches_all_and_shows_where_it_is(tmp_path: Path) -> None:
    async def check(one: Exporter) -> None:
        async with browser(tmp_path / "profile") as page:
            for path in ("/", "/jobs/sla-check", "/runs", f"/runs/{FAILED}", "/nope", "/actions"):
                await page.open(f"http://127.0.0.1:{one.port}{path}")
                seen = []
                for _ in range(300):
                    await page.press("Tab")
                    now = await page.value(FOCUSED)
                    if now is None:
                        break
                    seen.append(now)
                assert [one["what"] for one in seen if not one["visible"]] == [], path
                assert len(seen) == await page.value(REACHABLE), path
            await page.open(f"http://127.0.0.1:{one.port}/")
            await page.value("document.querySelector('[data-name=sla-check] a').focus()")
            await page.press("Enter")
            await page.until("location.pathname", "/jobs/sla-check".__eq__)

    with site(tmp_path, more=ACTING) as one:  # with its buttons
        asyncio.run(check(one))


def test_without_javascript_the_pages_filter_and_lead_on(tmp_path: Path) -> None:
    async def check(one: Exporter) -> None:
        async with browser(tmp_path / "profile") as page:
            await page.call("Emulation.setScriptExecutionDisabled", value=True)
            await page.open(f"http://127.0.0.1:{one.port}/")
            assert (await page.texts("h1"))[0].endswith("of 5 jobs are in trouble")
            assert (await page.texts("time"))[0].endswith(" UTC"), "nothing ticks, so it says when"
            await page.follow(".counts a[href*=failing]")
            assert await page.texts("#jobs tr th a") == ["expire-holds"]
            assert await page.texts(".tools button") == ["Show"]
            await page.follow("#jobs a")
            assert (await page.texts("h1"))[0].startswith("expire-holds")
            await page.follow(f"a[href='/runs/{FAILED}']")
            assert "503: upstream is starting" in (await page.texts(".words"))[0]
            assert await page.texts("details[open]") == []
            assert page.complaints == []

    with site(tmp_path) as one:
        asyncio.run(check(one))

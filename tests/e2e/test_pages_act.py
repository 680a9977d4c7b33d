"""Acting from the pages in a real browser: it runs, pauses and resumes, also without JavaScript, and is not tricked."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from browser import Page, browser
from harness import Daemon, Endpoint, until

JOBS = """
[jobs.daily]
schedule = "0 0 1 1 *"
path = "/daily"
description = "Sends the digest"
[jobs.tick]
every = "1s"
path = "/tick"
"""
PASSWORD = "0123456789abcdef-ann"
ANN = 'listen_actor_user = "ann"\nlisten_actor_password_env = "ANN_PASSWORD"\n'
TEXT = "(document.body?.innerText ?? '')"
HEALTH = "document.querySelector('h1 .health')?.innerText ?? ''"
ACTIONS = "document.querySelector('table.actions')?.innerText ?? ''"
Start = Callable[..., str]


@pytest.fixture
def opened(daemon: Daemon, endpoint: Endpoint) -> Start:
    """The address of a daemon's pages, on which anybody of this machine may act."""

    def start(more: str = 'listen_actions = "loopback"') -> str:
        assert endpoint
        daemon.environment["ANN_PASSWORD"] = PASSWORD
        daemon.write(JOBS, more)
        daemon.start()
        daemon.child("job daily")
        until(lambda: daemon.metric("tocsin_job_process_up", job_name="daily"), "the exporter")
        return f"127.0.0.1:{daemon.port}"

    return start


@asynccontextmanager
async def opened_page(tmp_path: Path, address: str) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as page:
        await page.open(f"http://{address}")
        yield page
        assert page.complaints == []


def calls(endpoint: Endpoint, path: str) -> int:
    return sum(call.path == path for call in endpoint.calls)


def test_run_now_and_pause_and_resume(opened: Start, tmp_path: Path, endpoint: Endpoint, daemon: Daemon) -> None:
    asyncio.run(_act(opened(), tmp_path, endpoint, daemon))


async def _act(address: str, tmp_path: Path, endpoint: Endpoint, daemon: Daemon) -> None:
    async with opened_page(tmp_path, f"{address}/jobs/daily") as page:
        # run now, and see it finish without a reload
        await page.until(f"{TEXT}.includes('it has not run yet')")
        await page.click("form[action$='/fire'] button")
        await page.until(TEXT, lambda text: "The job was told to run now." in text)
        await page.until("location.search", "".__eq__)
        await page.until("document.querySelector('table.slots .fate')?.innerText ?? ''", "success".__eq__)
        await page.until(ACTIONS, lambda text: "fire" in text)
        assert calls(endpoint, "/daily") == 1

        # from the overview
        await page.open(f"http://{address}/")
        await page.click("[data-name=daily] .buttons button")
        await page.until("location.pathname", "/jobs/daily".__eq__)
        await page.until("document.querySelectorAll('table.slots:not(.actions) tbody tr').length", (2).__eq__)

        # a pause that ends, and is seen to end
        await page.open(f"http://{address}/jobs/tick")
        await page.value("document.querySelector('form[action$=\"/pause\"] [name=for]').value = '20s'")
        await page.value("document.querySelector('form[action$=\"/pause\"] [name=why]').value = '<i>deploy</i>'")
        await page.click("form[action$='/pause'] button")
        await page.until(TEXT, lambda text: "The job is paused." in text and "by somebody: <i>deploy</i>" in text)
        await page.until(HEALTH, lambda text: "paused" in text)
        await page.until(HEALTH, lambda text: "paused" not in text)
        await page.until(ACTIONS, lambda text: "the end of the pause" in text)
        assert await page.value("document.querySelector('form[action$=\"/resume\"]')") is None

        # and by hand, from the overview
        await page.click("form[action$='/pause'] button")
        await page.until(TEXT, lambda text: "The job is paused." in text)
        await page.open(f"http://{address}/?health=paused")
        await page.click("[data-name=tick] .buttons button[formaction$='/resume']")
        await page.until(TEXT, lambda text: "The job is resumed." in text)

        # a refusal says why
        await page.open(f"http://{address}/")
        await page.value("document.querySelector('[data-name=tick] .buttons button').disabled = false")
        daemon.write(JOBS.replace("[jobs.tick]", "[jobs.tock]"), 'listen_actions = "loopback"')
        assert daemon.run("reload").returncode == 0
        await page.click("[data-name=tick] .buttons button")
        await page.until(TEXT, lambda text: "Not done" in text and 'did you mean "tock"' in text)
        page.complaints = [one for one in page.complaints if "404" not in one]
        assert {url.split("/")[2] for url in page.requests} == {address}


def test_another_site_cannot_act(opened: Start, tmp_path: Path, endpoint: Endpoint) -> None:
    """A page of another origin sends forms, fetches and frames with all that a browser adds by itself."""
    asyncio.run(_forged(opened(), tmp_path, endpoint))


async def _forged(address: str, tmp_path: Path, endpoint: Endpoint) -> None:
    port = address.rpartition(":")[2]
    evil = f"""<!doctype html><form id="f" method="post" action="http://{address}/jobs/daily/fire"></form>
<form id="l" method="post" action="http://localhost:{port}/reload" enctype="text/plain"><input name="a"></form>
<iframe name="i" sandbox="allow-forms"></iframe>"""

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(evil.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    elsewhere = f"http://127.0.0.1:{server.server_port}/"
    try:
        async with browser(tmp_path / "profile") as page:
            for form in ("f", "l"):
                await page.open(elsewhere)
                await page.value(f"document.getElementById('{form}').submit()")
                await page.until(TEXT, lambda text: "The request comes from another site." in text)
            await page.open(elsewhere)
            with_json = "headers: {'Content-Type': 'application/json'}"
            for more in ("mode: 'no-cors'", with_json):
                options = f"{{credentials: 'include', method: 'POST', {more}}}"
                fetched = f"fetch('http://{address}/jobs/daily/fire', {options}).then(r => r.type, () => 'refused')"
                result = await page.call("Runtime.evaluate", expression=fetched, awaitPromise=True, returnByValue=True)
                assert result["result"]["value"] in ("opaque", "refused")
            await page.value("document.getElementById('f').target = 'i', document.getElementById('f').submit()")
            await page.open(f"http://{address}/actions")
            assert "Nothing yet." in await page.value(TEXT)
    finally:
        server.shutdown()
        server.server_close()
    assert calls(endpoint, "/daily") == 0


def test_without_javascript_and_with_a_password(opened: Start, tmp_path: Path, endpoint: Endpoint) -> None:
    asyncio.run(_plain(opened(ANN), tmp_path, endpoint))


async def _plain(address: str, tmp_path: Path, endpoint: Endpoint) -> None:
    async with browser(tmp_path / "profile") as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.call("DOM.enable")
        await page.open(f"http://{address}/jobs/daily")
        html = await _html(page)
        assert "Run now" not in html, "whoever only reads has no buttons"
        assert 'href="/sign-in?job=daily"' in html
        # what a person types into the browser's dialog stands in the first address
        await page.open(f"http://ann:{PASSWORD}@{address}/sign-in?job=daily")
        await page.open(f"http://{address}/jobs/daily")
        await _until(page, "Run now")
        await _press(page, "form[action$='/fire'] button")
        await _until(page, "The job was told to run now.")
        until(lambda: calls(endpoint, "/daily") == 1, "the call")
        await _press(page, "form[action$='/pause'] button")
        await _until(page, "until it is resumed, by ann")
        await _press(page, "form[action$='/resume'] button")
        await _until(page, "The job is resumed.")
        assert page.complaints == []


async def _html(page: Page) -> str:
    root = (await page.call("DOM.getDocument"))["root"]["nodeId"]
    return str((await page.call("DOM.getOuterHTML", nodeId=root))["outerHTML"])


async def _until(page: Page, words: str) -> None:
    for _ in range(300):
        try:
            html = await _html(page)
        except AssertionError:  # the document has just been replaced
            html = ""
        if words in html:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"waited in vain for {words!r}: {html[:2000]}")


async def _press(page: Page, selector: str) -> None:
    """With the mouse: no script runs in the page."""
    root = (await page.call("DOM.getDocument"))["root"]["nodeId"]
    node = (await page.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
    await page.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
    box = (await page.call("DOM.getBoxModel", nodeId=node))["model"]["content"]
    x, y = (box[0] + box[4]) / 2, (box[1] + box[5]) / 2
    for kind in ("mousePressed", "mouseReleased"):
        await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


SHOTS = os.environ.get("TOCSIN_SHOTS", "")  # a folder


@pytest.mark.skipif(not SHOTS, reason="draws pictures for a person to look at, where TOCSIN_SHOTS names a folder")
def test_pictures(opened: Start, tmp_path: Path, daemon: Daemon) -> None:
    address = opened()
    daemon.run("pause", "tick", "--for", "2h", "--why", "deploy of 2.4, ask Ann")
    daemon.run("fire", "daily", "--why", "first try")
    asyncio.run(_draw(address, tmp_path))


async def _draw(address: str, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as page:
        for name, width, dark in (("desktop", 1280, False), ("phone", 390, False), ("dark", 1280, True)):
            features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            await page.call("Emulation.setEmulatedMedia", features=features)
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
            )
            for path in ("/", "/jobs/tick", "/jobs/daily?did=fire", "/actions"):
                await page.open(f"http://{address}{path}")
                await asyncio.sleep(0.5)
                assert await page.value("document.documentElement.scrollWidth") <= width, (name, path)
                shot = await page.call("Page.captureScreenshot", captureBeyondViewport=True)
                file = Path(SHOTS) / f"{name}-{path.strip('/').replace('/', '-').partition('?')[0] or 'overview'}.png"
                file.write_bytes(base64.b64decode(shot["data"]))

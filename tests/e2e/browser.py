"""A headless Chromium, driven over the DevTools protocol."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from harness import PATIENCE, until

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Page:
    """The browser's one page. `complaints` are its console's and its exceptions, `requests` all it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._loaded: set[str] = set()  # the loaders whose documents are complete
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.statuses: list[int] = []  # of answers to what its scripts asked

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json(timeout=PATIENCE)
            if said.get("id") == number:
                assert "error" not in said, said
                return dict(said["result"])
            self._note(said)

    def _note(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case (
                "Runtime.consoleAPICalled"
                | "Runtime.exceptionThrown"
                | "Page.javascriptDialogOpening"
                | "Log.entryAdded"
            ):
                self.complaints.append(json.dumps(event["params"]))
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            case "Network.responseReceived" if event["params"]["type"] == "Fetch":
                self.statuses.append(event["params"]["response"]["status"])
            case "Page.lifecycleEvent" if event["params"]["name"] == "load":
                self._loaded.add(event["params"]["loaderId"])

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str, right: Callable[[Any], object] = bool) -> Any:
        """Poll until the value of the expression is right, and return it."""
        give_up = time.monotonic() + PATIENCE
        while True:
            value = await self.value(expression)
            if right(value):
                return value
            assert time.monotonic() < give_up, f"waited in vain for {expression}; last: {value!r}"
            await asyncio.sleep(0.05)

    async def open(self, url: str) -> None:
        """Returns when that very document is complete: until it is there, the one before it would answer."""
        loader = (await self.call("Page.navigate", url=url))["loaderId"]
        while loader not in self._loaded:
            self._note(await self._socket.receive_json(timeout=PATIENCE))

    async def click(self, selector: str) -> None:
        await self.value(f"document.querySelector({json.dumps(selector)}).click()")

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of elements as they are shown, also in a page whose scripts do not run."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        found = (await self.call("DOM.querySelectorAll", nodeId=root, selector=selector))["nodeIds"]
        return [await self._of(node, "this.innerText.trim()") for node in found]

    async def follow(self, selector: str) -> None:
        """Open the link, by its address."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        assert node, f"no link at {selector}"
        await self.open(await self._of(node, "this.href"))

    async def _of(self, node: int, expression: str) -> str:
        there = (await self.call("DOM.resolveNode", nodeId=node))["object"]["objectId"]
        call = f"function() {{ return {expression}; }}"
        said = await self.call("Runtime.callFunctionOn", objectId=there, functionDeclaration=call, returnByValue=True)
        return str(said["result"]["value"])

    async def look(self, *, width: int = 1280, dark: bool = False) -> None:
        """Show the page on a screen of this width, in light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844 if width < 600 else 900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13}[key]
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    async def shot(self, file: Path, *, whole: bool = True) -> None:
        """Take a picture of the page, or of what a screen shows of it."""
        taken = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(taken["data"]))

    async def choose(self, selector: str, value: str) -> None:
        """Type into an input or pick from a select."""
        await self.value(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input', {{ bubbles: true }})); }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )


async def _first_page(session: aiohttp.ClientSession, port: str) -> str:
    """The socket of the page it was started with, which comes after the port is announced."""
    give_up = time.monotonic() + PATIENCE
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
            for one in await reply.json():
                if one["type"] == "page":
                    return str(one["webSocketDebuggerUrl"])
        assert time.monotonic() < give_up, "the browser has no page"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def browser(profile: Path, width: int = 1280) -> AsyncIterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "the browser test needs chromium (apt install chromium)"
    process = subprocess.Popen(
        [chromium, *FLAGS, f"--window-size={width},900", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        announced = profile / "DevToolsActivePort"
        port = until(lambda: announced.exists() and announced.read_text().partition("\n")[0], "the browser")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(await _first_page(session, str(port)), max_msg_size=0) as socket,
        ):
            page = Page(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            await page.call("Page.setLifecycleEventsEnabled", enabled=True)
            yield page
    finally:
        process.kill()
        process.wait()

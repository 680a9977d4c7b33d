"""The status pages behind a password, in a real browser."""

import asyncio
import base64
import time
from pathlib import Path

from browser import browser
from exporter_rig import asleep, exporter, job, run

PASSWORD = "the-password-of-the-operator"
LOCKED = 'listen_user = "me"\nlisten_password_file = "password"\nlisten_bearer_file = "password"\n'


def test_a_password_opens_the_pages(tmp_path: Path) -> None:
    asyncio.run(_open(tmp_path))


async def _open(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    with exporter(tmp_path / "log", *asleep(job(), job("other")), more=LOCKED) as one:
        async with browser(tmp_path / "profile") as page:
            # what a person types into the browser's dialog stands in the first address
            for address, failing, heading in (
                (f"http://me:{PASSWORD}@127.0.0.1:{one.port}/", "sla-check", "1 of 2 jobs is failing"),
                (f"http://127.0.0.1:{one.port}/", "other", "2 of 2 jobs are failing"),
            ):
                await page.open(address)
                await page.until("[...document.querySelectorAll('#jobs tr')].length", (2).__eq__)
                one.send(run(failing, due=time.time(), outcome="http_error"))  # seen without a reload
                await page.until("document.querySelector('h1').innerText", heading.__eq__)
            assert page.complaints == []
        assert one.ask("/", Authorization=f"Basic {base64.b64encode(b'me:wrong').decode()}")[0] == 401

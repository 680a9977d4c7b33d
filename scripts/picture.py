"""Draws docs/images/status.png: the status page of a real Tocsin with a real demo app, after a minute of work.

make picture
"""

# ruff: noqa: T201 (it is a command: it prints)

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DEMO, PAGE, NOBODY = "127.0.0.1:9932", "127.0.0.1:9931", "127.0.0.1:9933"
WORK = 66  # seconds: the strip of the fastest job is full then

JOBS = f"""
[target]
base_url = "http://{DEMO}"
[jobs.sla-check]
description = "Unassigns the requests that passed their SLA"
every = "1s"
path = "/api/cron/sla-check"
totals = {{ unassigned = "unassignedCount" }}
[jobs.list-requests]
every = "2s"
path = "/api/requests"
method = "GET"
[jobs.send-digest]
description = "Not deployed yet"
every = "3s"
path = "/api/cron/digest"
[jobs.billing-sync]
every = "5s"
url = "http://{NOBODY}/sync"
retries = 0
[jobs.weekly-report]
schedule = "30 7 * * MON-FRI"
timezone = "Europe/Berlin"
path = "/api/cron/report"
[jobs.archive]
schedule = "0 3 1 * *"
path = "/api/cron/archive"
enabled = false
"""


def main() -> None:
    target = ROOT / "docs" / "images" / "status.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tocsin.toml").write_text(JOBS)
        environment = os.environ | {
            "TOCSIN_CONFIG": str(folder / "tocsin.toml"),
            "TOCSIN_LISTEN": PAGE,
            "CRON_SECRET": secrets.token_hex(16),
        }
        commands = ["demo", "--listen", DEMO, "--database", str(folder / "demo.sqlite")], ["run"]
        running = [
            subprocess.Popen([BIN / "tocsin", *words], env=environment, stdout=subprocess.DEVNULL) for words in commands
        ]
        try:
            print(f"Tocsin works for {WORK} seconds …", flush=True)
            time.sleep(WORK)
            urllib.request.urlopen(f"http://{PAGE}/readyz", timeout=5).close()
            draw(f"http://{PAGE}/", folder / "profile", target)
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()
    print(f"wrote {target.relative_to(ROOT)}")


def draw(url: str, profile: Path, target: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("cannot draw: there is no chromium (apt install chromium)")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--hide-scrollbars",
        "--force-device-scale-factor=1.25",
        "--window-size=1320,740",
        f"--user-data-dir={profile}",
        f"--screenshot={target}",
    ]
    subprocess.run([chromium, *options, url], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

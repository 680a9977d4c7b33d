"""An app, and a folder with a job file for it, which `tocsin doctor` looks at in this process."""

import json
from pathlib import Path

from click.testing import CliRunner

from harness import SECRET, Call, Daemon, free_port
from tocsin.cli import main

JOB = '[jobs.sla-check]\nschedule = "* * * * *"\npath = "/api/cron/sla-check"\n'
Answer = tuple[int, dict[str, str], bytes]
Found = list[dict[str, str]]


class App:
    """As a Next.js route handler: OPTIONS is answered by the routing, the rest asks for the secret, then works."""

    def __init__(self) -> None:
        self.takes = "GET, HEAD, POST, PUT, DELETE"
        self.guarded = True
        self.worked = 0

    def __call__(self, call: Call) -> Answer:
        if call.method == "OPTIONS":
            return 204, {"Allow": f"{self.takes}, OPTIONS"}, b""
        if self.guarded and call.headers.get("x-cron-secret") != SECRET:
            return 401, {"Content-Type": "application/json"}, b'{"success": false, "error": "Unauthorized"}'
        self.worked += 1
        return 200, {"Content-Type": "application/json"}, b'{"success": true}'


class Site:
    """A folder with a job file, and the doctor for it, in this process."""

    def __init__(self, folder: Path, url: str, app: App) -> None:
        self.folder = folder
        self.app = app
        self.file = folder / "tocsin.toml"
        self.state = folder / "var"
        self.environment = {
            "API_BASE_URL": url,
            "CRON_SECRET": SECRET,
            "TOCSIN_LISTEN": f"127.0.0.1:{free_port()}",
            "TOCSIN_CONFIG": str(self.file),
        }
        self.output = ""
        self.code = 0
        self.write(JOB)

    def write(self, jobs: str, target: str = "", daemon: str = "") -> None:
        head = f'[daemon]\n{daemon}\n[target]\nbase_url = "${{API_BASE_URL}}"\n{target}\n'
        self.file.write_text(head + jobs)

    def doctor(self, *words: str) -> Found:
        result = CliRunner().invoke(main, ["doctor", "--json", *words], env=self.environment)
        assert not result.exception or isinstance(result.exception, SystemExit), result.exc_info
        self.output, self.code = result.output, result.exit_code
        found: Found = json.loads(result.stdout)
        return found

    def only(self, check: str, *words: str) -> dict[str, str]:
        """The one finding of that check; anything that fails must show in the exit code."""
        found = self.doctor(*words)
        assert self.code == any(one["status"] == "FAIL" for one in found), self.output
        (finding,) = [one for one in found if one["check"] == check]
        return finding


def at(site: Site, url: str) -> Site:
    site.environment["API_BASE_URL"] = url
    return site


def health(daemon: Daemon) -> str:
    try:
        return daemon.get("/healthz")
    except OSError:
        return ""

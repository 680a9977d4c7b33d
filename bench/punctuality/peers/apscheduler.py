"""APScheduler 3 with its thread pool and urllib3."""

from pathlib import Path

from punctuality.install import python
from punctuality.peer import ON_THE_REAL_PATH, REAL, Command, Plan

LIBRARY, SCRIPT = "apscheduler", "apscheduler_jobs.py"


class ApScheduler:
    seconds = True

    def __init__(self, real: bool) -> None:
        self.real, self.name = real, LIBRARY + REAL * real
        self.about = (
            "APScheduler 3.11.3, `BackgroundScheduler` with 100 threads, urllib3 with 100 connections; "
            "`misfire_grace_time=60`, because the default of 1 s drops fires" + ON_THE_REAL_PATH * real
        )

    def setup(self, cache: Path) -> None:
        python(cache, LIBRARY, SCRIPT)

    def commands(self, plan: Plan) -> list[Command]:
        folder = plan.cache / LIBRARY
        words = [folder / ".venv/bin/python", folder / SCRIPT, plan.jobs, plan.period, plan.url]
        return [
            Command([str(word) for word in words], {"CRON_SECRET": plan.secret, "SSL_CERT_FILE": str(plan.authority)})
        ]


APSCHEDULER = ApScheduler(real=False)
APSCHEDULER_REAL = ApScheduler(real=True)

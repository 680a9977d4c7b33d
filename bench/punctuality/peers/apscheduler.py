"""APScheduler 3 with its thread pool and urllib3."""

from pathlib import Path

from punctuality.install import python
from punctuality.peer import Command, Plan

SCRIPT = "apscheduler_jobs.py"


class ApScheduler:
    name = "apscheduler"
    about = (
        "APScheduler 3.11.3, `BackgroundScheduler` with 100 threads, urllib3 with 100 connections; "
        "`misfire_grace_time=60`, because the default of 1 s drops fires"
    )
    seconds = True

    def setup(self, cache: Path) -> None:
        python(cache, self.name, SCRIPT)

    def commands(self, plan: Plan) -> list[Command]:
        folder = plan.cache / self.name
        words = [folder / ".venv/bin/python", folder / SCRIPT, plan.jobs, plan.period, plan.url]
        return [Command([str(word) for word in words], {"CRON_SECRET": plan.secret})]


APSCHEDULER = ApScheduler()

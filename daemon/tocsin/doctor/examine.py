"""Runs all checks, in the order in which their results are shown."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tocsin.config import Config, Job
from tocsin.doctor import listener, machine, notify, settings, state, supervision, target
from tocsin.doctor.finding import Finding
from tocsin.doctor.state import State


def examine(
    config: Config, jobs: Mapping[str, Job], *, seconds: float, probe_auth: bool, supervisord: Path | None
) -> list[Finding]:
    """Run all checks. `jobs` are the jobs whose schedules and endpoints are checked. The targets get `seconds` in all,
    and the rest takes at most a few more.
    """
    now = State()
    of_state = list(state.check(config, jobs, now))
    called = [job for job in jobs.values() if job.enabled]
    found = list(settings.check(config, jobs))
    found += asyncio.run(target.check(called, seconds=seconds, probe_auth=probe_auth, succeeded=now.succeeded))
    found += of_state
    found += notify.check(config)
    found += listener.check(config, running=now.running)
    found += machine.check(config, running=now.running)
    found += supervision.check(supervisord or supervision.beside(config.file), config.drain)
    return found

"""Checks the job file, the secrets and the schedules."""

import math
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tocsin.config import Config, Job, dotenv, secrets
from tocsin.config.placeholders import placeholder
from tocsin.config.secrets import Secret
from tocsin.doctor.finding import Finding, fail, ok, warning
from tocsin.jobfile.faults import ConfigError
from tocsin.jobfile.tables import JobTable
from tocsin.timestamps import rfc3339
from tocsin.units import duration

FAR = 366 * 86400  # seconds: a job that is first due in more than a year is probably a mistake
LOOKED_AT = 6  # next slots that are searched for the shortest gap
LEAST_ENTROPY = 50.0  # bits: 16 random hexadecimal digits have about 55 by this measure, "aaaa…" has none
DEFAULT_TIMEOUT = JobTable.model_fields["timeout"].default
FOR_CONTAINERS = Path("/run/secrets")  # container engines mount secrets here, readable by everybody in the container


def faults(error: ConfigError) -> list[Finding]:
    """Return every fault of the job file."""
    found = []
    for one in error.faults:
        place = " ".join(part for part in (one.table and f"[{one.table}]", one.key) if part)
        value = f"{one.value}: " if one.value else ""
        found.append(
            fail("configuration.file", place or one.file, f"{value}{one.why}", "fix it, then run tocsin check")
        )
    return found


def check(config: Config, jobs: Mapping[str, Job]) -> Iterator[Finding]:
    enabled = len(config.enabled_jobs)
    what = f"{enabled} of {len(config.jobs)} jobs enabled"
    if enabled:
        yield ok("configuration.file", config.file.name, what)
    else:
        yield warning("configuration.file", config.file.name, what, "set enabled = true for the jobs that should run")
    for said in config.warnings:
        detail, _, advice = said.partition("; ")
        yield warning("configuration.file", config.file.name, detail, advice)
    used = _used(config)
    for one in used:
        yield secret(one)
    yield from _overruled(used, config.file)
    yield from _files(config)
    for job in jobs.values():
        yield schedule(job, time.time())


def secret(one: Secret) -> Finding:
    """Check whether a secret is random or made by hand. Reveals nothing of it but its length."""
    if what := placeholder(one.value):
        return fail(
            "configuration.secret",
            one.source,
            f"holds {what}, which is the same for everyone who copied it",
            "make one with openssl rand -hex 32, here and in the app",
        )
    if len(one.value) >= secrets.SHORT and entropy(one.value) < LEAST_ENTROPY:
        return warning(
            "configuration.secret",
            one.source,
            f"{len(one.value)} characters, but few different ones: it can be guessed",
            "make one with openssl rand -hex 32, here and in the app",
        )
    return ok("configuration.secret", one.source, f"set, {len(one.value)} characters")


def entropy(text: str) -> float:
    """Return the entropy in bits by the frequency of the characters (Shannon): an upper bound for guessing."""
    return -sum(n * math.log2(n / len(text)) for n in Counter(text).values())


def _used(config: Config) -> list[Secret]:
    """Return the secrets that people chose. Signing keys are left out, because their form makes them random."""
    of_jobs = {job.secret for job in config.jobs.values()}
    return sorted(filter(None, of_jobs | {config.access.bearer, config.access.password}), key=lambda one: one.source)


def _overruled(used: list[Secret], file: Path) -> Iterator[Finding]:
    """Find secrets that have one value in .env and another in the environment."""
    written = dotenv.read(file, os.environ).values
    for one in used:
        if one.file is None and written.get(one.source, one.value) != one.value:
            yield warning(
                "configuration.secret",
                one.source,
                "the environment and .env hold different values; the environment's is used",
                "set it in one place",
            )


def _files(config: Config) -> Iterator[Finding]:
    """Find secret files that every user of this machine may read or change."""
    held = {one.file for one in config.secrets}
    held |= {config.notify.file} if config.notify else set()
    held |= {job.tls.client_key or job.tls.client_cert for job in config.jobs.values()}
    for file in sorted({config.file.parent / ".env", *filter(None, held)}):
        if file.exists() and not file.is_relative_to(FOR_CONTAINERS):
            mode = file.stat().st_mode
            if mode & (stat.S_IROTH | stat.S_IWOTH):
                detail = f"every user of this machine may read it (mode {stat.S_IMODE(mode):o})"
                yield warning("configuration.files", file.name, detail, f"chmod 600 {file}")
            else:
                yield ok("configuration.files", file.name, f"closed to other users (mode {stat.S_IMODE(mode):o})")
    if config.file.stat().st_mode & stat.S_IWOTH:
        detail = "every user of this machine may change it, and with it what is called"
        yield warning("configuration.files", config.file.name, detail, f"chmod o-w {config.file}")


def schedule(job: Job, now: float) -> Finding:
    """Check when the job is due next, and whether its longest run overlaps the slot after."""
    due = first = job.schedule.next_due(int(now))
    if first - now > FAR:
        return warning(
            "configuration.schedule",
            job.name,
            f"{job.schedule.expression} is due next on {rfc3339(first)}, in more than a year",
            "is the schedule right? tocsin next shows what it means",
        )
    gap = math.inf
    for _ in range(LOOKED_AT):
        after = job.schedule.next_due(due)
        gap, due = min(gap, after - due), after
    if job.longest_run > gap and job.timeout != DEFAULT_TIMEOUT:
        return warning(
            "configuration.schedule",
            job.name,
            f"may run for {duration(job.longest_run)}, but is due again after {duration(gap)}; slots due meanwhile"
            " are skipped (overlap)",
            "lower `timeout`, or run it less often",
        )
    return ok("configuration.schedule", job.name, f"{job.schedule.words}, next {rfc3339(first)}")

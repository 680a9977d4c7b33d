"""What all tests share: hypothesis draws the same examples every time, a job to begin from, a real daemon."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from container import Image, built
from harness import Daemon, Endpoint
from tocsin import config
from tocsin.config import Job

settings.register_profile(
    "tocsin",
    derandomize=True,  # a red run is red for everyone
    deadline=None,  # a timing is never an assertion
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("tocsin")

_JOB_FILE = """
[target]
base_url = "https://app.example.com"
send_secret = "none"
[jobs.sla-check]
schedule = "* * * * *"
path = "/api/cron/sla-check"
"""


@pytest.fixture(scope="session")
def make_job(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """A job with the defaults of the job file, and what is given."""
    file = tmp_path_factory.mktemp("config") / "tocsin.toml"
    file.write_text(_JOB_FILE)
    job = config.load(file, {}).jobs["sla-check"]

    def make(**changes: Any) -> Job:
        return dataclasses.replace(job, **changes)

    return make


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    one = Endpoint()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def daemon(tmp_path: Path, endpoint: Endpoint) -> Iterator[Daemon]:
    one = Daemon(tmp_path, endpoint)
    yield one
    one.cleanup()


@pytest.fixture
def running(daemon: Daemon) -> Callable[[str], Daemon]:
    """A daemon with these jobs, started."""

    def start(jobs: str) -> Daemon:
        daemon.write(jobs)
        daemon.start()
        return daemon

    return start


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """What the Dockerfile builds, in a folder."""
    with built() as one:
        yield one

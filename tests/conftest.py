"""What all tests share: hypothesis draws the same examples every time, a job to begin from, a real daemon."""

import dataclasses
import math
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from config_rig import ENVIRONMENT, Load
from container import Image, built
from doctor_rig import App, Site
from harness import ANYTHING, Daemon, Endpoint, Ends
from job_world import Event, Make, MakeJob, T, World
from ledger_rig import Ledger
from postgres_rig import USER, Pooler, Server
from tocsin import config
from tocsin.config import Config, Job
from tocsin.config.ledger import Postgres, parse
from tocsin.config.secrets import Secret
from tocsin.ipc import channel as channels
from tocsin.ipc.channel import AnyChannel, Channel
from tocsin.ipc.job import Beginning
from tocsin.ledger import sqlite
from tocsin.redact import redact

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
def nothing_is_secret_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What earlier tests in this process taught the log to hide is forgotten."""
    monkeypatch.setattr(redact, "_hidden", {})
    monkeypatch.setattr(redact, "longest", 0)


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock shows another time than UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A channel: the end that never waits, and the one that does."""
    a, b = channels.pair()
    ours: AnyChannel = Channel(a, ANYTHING, blocking=False)
    theirs: AnyChannel = Channel(b, ANYTHING, blocking=True)
    yield ours, theirs
    ours.close()
    theirs.close()


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
def site(tmp_path: Path, endpoint: Endpoint) -> Site:
    endpoint.answer = app = App()
    return Site(tmp_path, endpoint.url, app)


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


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the text of a job file, with these variables and this .env beside it."""

    def load(text: str, environment: dict[str, str] | None = None, dotenv: str | bytes | None = None) -> Config:
        file = tmp_path / "tocsin.toml"
        file.write_text(text)
        if dotenv is not None:
            (tmp_path / ".env").write_bytes(dotenv if isinstance(dotenv, bytes) else dotenv.encode())
        return config.load(file, ENVIRONMENT if environment is None else environment)

    return load


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    one = Ledger(tmp_path)
    yield one
    one.close()


@pytest.fixture
def fresh() -> Iterator[Callable[[], Ledger]]:
    """More empty ledgers, for a test of many."""
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: Ledger(Path(tempfile.mkdtemp(dir=folder)))


@pytest.fixture
def set_began(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets when the machine was started, as its clock tells the ledger."""
    return lambda at: monkeypatch.setattr(sqlite, "began", lambda: at)


@pytest.fixture
def again(ledger: Ledger) -> Iterator[Callable[[str], Ledger]]:
    """The ledger opened anew, by another process of the same or the next daemon."""
    opened = []

    def reopen(session: str) -> Ledger:
        ledger.close()
        opened.append(ledger.reopened(session))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


@pytest.fixture
def world(make_job: MakeJob) -> Iterator[Make]:
    """A job's process in a world of its own, with what happens there and when."""
    made: list[World] = []

    def make(
        *events: tuple[float, Event],
        last: int = T,
        start: float = T + 5.0,
        paused: bool = False,
        pause: tuple[float, float] = (0.0, 0.0),
        **changes: Any,
    ) -> World:
        redelivery, crowded = changes.pop("redelivery", None), changes.pop("crowded", False)
        beginning = Beginning(last, (0.0, math.inf) if paused else pause, "it was away", redelivery, crowded=crowded)
        one = World(make_job(**changes), beginning, start, list(events))
        made.append(one)
        return one

    yield make
    for one in made:
        one.parent.close()
        one.child.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One for all tests of this process: each has a schema of its own."""
    server = Server()
    server.make()
    server.start()
    server.do(f"CREATE ROLE {USER} LOGIN PASSWORD '{server.password}'")
    yield server
    server.remove()


@pytest.fixture
def new_schema(postgres_server: Server) -> Iterator[Callable[[], str]]:
    """Makes empty schemas, each of which is all that the role may write into."""
    made: list[str] = []

    def make() -> str:
        made.append(f"t_{uuid.uuid4().hex}")
        postgres_server.do(f"CREATE SCHEMA {made[-1]} AUTHORIZATION {USER}")
        return made[-1]

    yield make
    for schema in made:
        postgres_server.do(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(scope="module")
def pooler(postgres_server: Server) -> Iterator[Pooler]:
    one = Pooler(postgres_server)
    yield one
    one.remove()


@pytest.fixture(params=["direct", "pooled"])
def make_ledger(
    request: pytest.FixtureRequest, postgres_server: Server, new_schema: Callable[[], str]
) -> Iterator[Callable[[Path], Any]]:
    from postgres_ledger import OnPostgres  # which needs psycopg, an extra

    port = request.getfixturevalue("pooler").port if request.param == "pooled" else postgres_server.port
    parameters, password, _ = parse(postgres_server.url_of(USER, port))
    made = []

    def make(folder: Path) -> Any:
        kept = Postgres(tuple(parameters.items()), new_schema(), Secret(password, "password", "a test"), password)
        made.append(OnPostgres(folder, "s1", kept))
        return made[-1]

    yield make
    for one in made:
        one.close()

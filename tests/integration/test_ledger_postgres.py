"""The suite of the ledger in SQLite, on a ledger on PostgreSQL, and the same through PgBouncer."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger_rig import Ledger
from postgres_ledger import OnPostgres
from postgres_rig import USER, Pooler, Server
from test_ledger import *  # noqa: F403
from test_ledger_again import *  # noqa: F403
from tocsin.config.ledger import Postgres, parse
from tocsin.config.secrets import Secret
from tocsin.ledger import postgres

pytestmark = pytest.mark.system
Make = Callable[[Path], OnPostgres]


@pytest.fixture(scope="module")
def pooler(postgres_server: Server) -> Iterator[Pooler]:
    one = Pooler(postgres_server)
    yield one
    one.remove()


@pytest.fixture(params=["direct", "pooled"])
def make_ledger(
    request: pytest.FixtureRequest, postgres_server: Server, new_schema: Callable[[], str]
) -> Iterator[Make]:
    port = request.getfixturevalue("pooler").port if request.param == "pooled" else postgres_server.port
    parameters, password, _ = parse(postgres_server.url_of(USER, port))
    made = []

    def make(folder: Path) -> OnPostgres:
        kept = Postgres(tuple(parameters.items()), new_schema(), Secret(password, "password", "a test"), password)
        made.append(OnPostgres(folder, "s1", kept))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ledger(make_ledger: Make, tmp_path: Path) -> Ledger:
    return make_ledger(tmp_path)


@pytest.fixture
def fresh(make_ledger: Make) -> Iterator[Callable[[], Ledger]]:
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: make_ledger(Path(tempfile.mkdtemp(dir=folder)))


@pytest.fixture
def set_began(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda at: monkeypatch.setattr(postgres, "began", lambda: at)

"""The suite of the ledger in SQLite, on a ledger on PostgreSQL, and the same through PgBouncer."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import until
from ledger_rig import FOR_EVER, Ledger, T, ask, finished
from postgres_ledger import Make, OnPostgres
from postgres_rig import USER, Server
from test_following import (  # noqa: F401
    busy,
    test_slots_of_a_long_time_ago_that_are_recorded_now_are_new,
    test_what_is_there_is_old_and_what_ends_is_new_once,
)
from test_kept import (  # noqa: F401
    test_a_ledger_gives_back_what_it_was_told_of_a_run,
    test_the_ledger_keeps_a_reply_for_a_shorter_time_than_its_slot,
    test_what_is_kept_of_attempts_is_deleted_with_the_replies,
)
from test_ledger import *  # noqa: F403
from test_ledger_again import *  # noqa: F403
from test_ledger_find import (  # noqa: F401
    full,
    test_a_run_is_found_by_its_id_with_each_delivery,
    test_filters,
    test_pages_hold_every_row_once_newest_first,
)
from tocsin.config.ledger import Postgres, parse
from tocsin.config.secrets import Secret
from tocsin.ipc.job import Grant
from tocsin.ledger import opening, postgres, session
from tocsin.ledger.opening import Opener
from tocsin.ledger.place import place_of
from tocsin.ledger.store import Held, Passing, Unusable

pytestmark = pytest.mark.system


@pytest.fixture
def ledger(make_ledger: Make, tmp_path: Path) -> Ledger:
    return make_ledger(tmp_path)


@pytest.fixture
def fresh(make_ledger: Make) -> Iterator[Callable[[], Ledger]]:
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: make_ledger(Path(tempfile.mkdtemp(dir=folder)))


@pytest.fixture
def set_began(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_it(at: float) -> None:
        for place in (postgres, session):
            monkeypatch.setattr(place, "began", lambda: at)

    return set_it


def test_a_daemon_whose_successor_has_its_folder_writes_nothing(make_ledger: Make, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    one.past()
    other = one.reopened("s2")  # at the same place: the first is over for sure
    with pytest.raises(Held, match="another one has taken over the node's name here"):
        one.put(ask())
    with pytest.raises(Held):
        one.ledger.beat(time.time())
    assert other.rows() == []
    other.close()


def test_a_live_daemon_of_the_same_name_is_not_buried(
    make_ledger: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_ledger(tmp_path)
    (tmp_path / "other").mkdir()
    opener = Opener(one.kept, "here", place_of(tmp_path / "other"), "s2", FOR_EVER)
    with pytest.raises(Passing, match="has the node's name here; waiting for it to end"):
        opener()
    monkeypatch.setattr(opening, "ANOTHER", -1.0)
    one.ledger.beat(time.time())
    with pytest.raises(Held, match="give each daemon a name of its own"):
        opener()
    one.ledger.stopped(0.0)
    two = opener()
    assert two.before == "the daemon was stopped"
    two.close()


def test_a_silent_daemon_of_the_same_name_is_buried(make_ledger: Make, tmp_path: Path) -> None:
    """After a death of all nobody else would do it. Its run is lost, though its instant is to come: it may be about
    to call."""
    one = make_ledger(tmp_path)
    one.past(now=T - 60)
    one.put(ask(T + 60))
    (tmp_path / "other").mkdir()
    opener = Opener(one.kept, "here", place_of(tmp_path / "other"), "s2", FOR_EVER)

    def opened() -> postgres.PostgresLedger | None:
        try:
            return opener()
        except Passing:
            return None

    two = until(opened, "the end of the lease, and three seconds of contact")
    assert [run.outcome for run in two.recover(T + 59.0)] == ["lost"]
    two.close()


def test_a_role_without_a_schema_is_told_what_to_do(postgres_server: Server, tmp_path: Path) -> None:
    parameters, password, _ = parse(postgres_server.url_of(USER))
    kept = Postgres(tuple(parameters.items()), "nobodys", Secret(password, "password", "a test"), password)
    with pytest.raises(Unusable, match="CREATE SCHEMA nobodys AUTHORIZATION"):
        OnPostgres(tmp_path, "s1", kept)


def test_tables_of_a_newer_version_are_refused(make_ledger: Make, postgres_server: Server, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    postgres_server.do(f"UPDATE {one.kept.schema}.meta SET schema = 9, oldest_reader = 9")
    with pytest.raises(Unusable, match="were made by a newer Tocsin"):
        one.reopened("s2")


def test_a_wrong_password_is_told_without_it_and_may_be_mended(postgres_server: Server, tmp_path: Path) -> None:
    parameters, _, _ = parse(postgres_server.url_of(USER))
    kept = Postgres(tuple(parameters.items()), "tocsin", Secret("wrong-and-secret", "password", "a test"), "")
    with pytest.raises(Passing, match="password authentication failed") as raised:
        OnPostgres(tmp_path, "s1", kept)
    assert "wrong-and-secret" not in str(raised.value)


def test_a_run_whose_end_was_never_reported_holds_up_no_other(make_ledger: Make, tmp_path: Path) -> None:
    """The parent's outbox was full."""
    one = make_ledger(tmp_path)
    assert one.put(ask(T)) + one.put(ask(T + 60)) == [Grant("a", T), Grant("a", T + 60)]
    assert one.brief() == [(0, "finished", "lost", 1), (60, "started", None, 1)]


def test_a_transaction_that_waits_for_a_lock_ends(make_ledger: Make, postgres_server: Server, tmp_path: Path) -> None:
    one = make_ledger(tmp_path)
    one.put(ask())
    hold = f"BEGIN; SELECT * FROM {one.kept.schema}.nodes FOR UPDATE; SELECT pg_sleep(4)"
    with subprocess.Popen(["psql", postgres_server.url, "-Xqc", hold], stdout=subprocess.DEVNULL) as holder:
        waits = f"SELECT count(*) FROM pg_locks WHERE relation = '{one.kept.schema}.nodes'::regclass"
        until(lambda: int(postgres_server.do(waits)) > 0, "the lock")
        with pytest.raises(Passing, match="lock timeout"):
            one.put(finished())
        holder.wait()
    one.ledger.commit(one.last)
    assert one.brief() == [(0, "finished", "success", 1)]

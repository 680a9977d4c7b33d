"""The connection of a ledger on PostgreSQL: TLS, standbys, and whatever a server or something before it may say."""

import signal
import socket
import socketserver
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme

from harness import until
from ledger_rig import T, ask, finished
from postgres_ledger import OnPostgres
from postgres_rig import PASSWORD, USER, Server
from postgres_rig import ask as ask_psql
from tocsin.config.ledger import Postgres, parse
from tocsin.config.secrets import Secret
from tocsin.ipc.job import Grant
from tocsin.ledger.link import Link
from tocsin.ledger.pg_reader import PostgresReader
from tocsin.ledger.store import Passing
from tocsin.redact import redact

pytestmark = pytest.mark.system


def at(address: str, password: str = "") -> Postgres:
    parameters, inline, _ = parse(address)
    return Postgres(tuple(parameters.items()), "tocsin", Secret(inline or password, "password", "a test"))


def asked(link: Link, sql: str) -> Any:
    with link.transaction() as db:
        return db.execute(sql).fetchone()


def written(link: Link, sql: str) -> Any:
    """None where that is not possible yet."""
    try:
        return asked(link, sql)
    except Passing:
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    one.make()
    yield one
    one.remove()


@pytest.fixture
def role(server: Server) -> Callable[[], None]:
    def make() -> None:
        server.do(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA tocsin AUTHORIZATION {USER}")
        server.do(f"SET ROLE {USER}; CREATE TABLE tocsin.marks (mark int)")

    return make


# ---- TLS


def test_tls_proves_who_the_server_is(
    server: Server, tmp_path: Path, role: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server.start(**server.certificate(authority.issue_cert("localhost")))
    role()
    ours, others = tmp_path / "ours.pem", tmp_path / "others.pem"
    authority.cert_pem.write_to_path(ours)
    stranger.cert_pem.write_to_path(others)

    def link(host: str, query: str) -> Link:
        return Link(at(f"postgresql://{USER}:{PASSWORD}@{host}:{server.port}/postgres?sslmode=verify-full{query}"))

    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    one = link("localhost", f"&sslrootcert={ours}")
    assert asked(one, encrypted) == (True,)
    one.close()
    with pytest.raises(Passing, match=r'certificate for "localhost" does not match host name "127\.0\.0\.1"'):
        asked(link("127.0.0.1", f"&sslrootcert={ours}"), "SELECT 1")
    with pytest.raises(Passing, match="certificate verify failed"):
        asked(link("localhost", f"&sslrootcert={others}"), "SELECT 1")
    with pytest.raises(Passing, match="certificate verify failed"):  # the machine's authorities do not know it
        asked(link("localhost", ""), "SELECT 1")
    monkeypatch.setenv("SSL_CERT_FILE", str(ours))
    for query in ("", "&sslrootcert=system"):
        one = link("localhost", query)
        assert asked(one, encrypted) == (True,)
        one.close()


def test_a_server_without_tls_is_told(server: Server, role: Callable[[], None]) -> None:
    server.start()
    role()
    link = Link(at(f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/postgres?sslmode=require"))
    with pytest.raises(Passing, match="server does not support SSL, but SSL was required"):
        asked(link, "SELECT 1")


# ---- primaries and standbys


def test_a_primary_that_takes_no_writes_any_more_is_left(server: Server, role: Callable[[], None]) -> None:
    """Told by SQLSTATE 25006. The next connection may lead to another server."""
    server.start()
    role()
    link = Link(at(server.url_of(USER)))
    write = "INSERT INTO tocsin.marks VALUES (1) RETURNING mark"
    assert asked(link, write) == (1,)
    server.do("ALTER SYSTEM SET default_transaction_read_only = on")
    server.do("SELECT pg_reload_conf()")
    until(lambda: server.do("SHOW default_transaction_read_only") == "on", "the setting")
    with pytest.raises(Passing, match="takes no writes: it is a standby, or a primary that was demoted"):
        until(lambda: asked(link, write) and None, "the refusal")
    assert not link.is_open
    server.do("ALTER SYSTEM RESET default_transaction_read_only")
    server.do("SELECT pg_reload_conf()")
    until(lambda: server.do("SHOW default_transaction_read_only") == "off", "the setting")
    assert asked(link, write) == (1,)
    link.close()


def test_of_several_hosts_the_one_that_takes_writes(server: Server, role: Callable[[], None]) -> None:
    server.start()
    role()
    standby = server.standby()
    try:
        standby.start()
        where = f"127.0.0.1:{standby.port},127.0.0.1:{server.port}"
        link = Link(at(f"postgresql://{USER}:{PASSWORD}@{where}/postgres?target_session_attrs=read-write"))
        write = "INSERT INTO tocsin.marks VALUES (1) RETURNING current_setting('port')::int"
        assert asked(link, write) == (server.port,)
        server.end(signal.SIGQUIT)
        with pytest.raises(Passing) as raised:
            asked(link, write)
        with pytest.raises(Passing) as raised:
            asked(link, write)
        said = str(raised.value)
        assert f"127.0.0.1:{standby.port}: session is read-only; 127.0.0.1:{server.port}: Connection refused" in said
        standby.do("SELECT pg_promote()")
        assert asked(link, write) == (standby.port,)
        link.close()
    finally:
        standby.remove()


def test_a_commit_that_is_not_on_its_standby_is_none(server: Server, role: Callable[[], None]) -> None:
    server.start()
    role()
    standby = server.standby()
    try:
        standby.start()
        server.do("ALTER SYSTEM SET synchronous_standby_names = '*'")
        server.do("SELECT pg_reload_conf()")
        until(lambda: server.do("SELECT sync_state FROM pg_stat_replication") == "sync", "the standby")
        link = Link(at(server.url_of(USER)))
        write = "INSERT INTO tocsin.marks VALUES (7) RETURNING mark"
        assert asked(link, write) == (7,)
        standby.end()
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        canceller = Thread(target=lambda: until(lambda: server.do(cancel), "a commit that waits"))
        canceller.start()
        with pytest.raises(Passing, match=r"canceling wait for synchronous replication.*: a commit is not on the st"):
            asked(link, write)
        canceller.join()
        with pytest.raises(Passing, match=r"no answer within 2\.5 s"):  # nobody cancels it: by this machine's clock
            asked(link, write)
        standby.start()
        until(lambda: written(link, write), "the standby")
        link.close()
    finally:
        standby.remove()


# ---- what is said


class Echo(socketserver.BaseRequestHandler):
    """Something before the server that asks for the password in the clear, and repeats it."""

    def handle(self) -> None:
        (length,) = struct.unpack("!I", self.request.recv(4))
        self.request.recv(length - 4)
        self.request.sendall(b"R" + struct.pack("!II", 8, 3))  # AuthenticationCleartextPassword
        self.request.recv(1)
        (length,) = struct.unpack("!I", self.request.recv(4))
        password = self.request.recv(length - 4).rstrip(b"\0")
        fields = b"SFATAL\0C28P01\0Mthe password " + password + b" is wrong\0\0"
        self.request.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)


@pytest.mark.usefixtures("nothing_is_secret_yet")
@pytest.mark.parametrize("password", ["kept behind/3 doors", "p%:@ä'\\\"", "correct-horse-battery"])
def test_a_server_that_repeats_the_password_is_not_believed(password: str) -> None:
    redact.hide([password])
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo:
        Thread(target=echo.serve_forever, daemon=True).start()
        kept = at(f"postgresql://u@127.0.0.1:{echo.server_address[1]}/db?sslmode=disable", password)
        with pytest.raises(Passing, match=r"the password \[redacted\] is wrong") as raised:
            asked(Link(kept), "SELECT 1")
        echo.shutdown()
    assert password not in str(raised.value)
    assert password not in PostgresReader(kept).examine(1.0).detail


class Silent:
    """Accepts, and says nothing."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]


def test_no_error_names_the_password(server: Server, role: Callable[[], None], tmp_path: Path) -> None:
    """Nothing is hidden here: no error of libpq's has it in the first place."""
    server.start()
    role()
    silent = Silent()
    wrong = "wrong-Xyzzy42"
    (tmp_path / "no.pem").write_text("no certificate")
    addresses = [
        f"postgresql://{USER}:{wrong}@127.0.0.1:{server.port}/postgres",
        f"postgresql://{USER}:{wrong}@127.0.0.1:{server.port}/absent",
        f"postgresql://nobody:{wrong}@127.0.0.1:{server.port}/postgres",
        f"postgresql://u:{wrong}@127.0.0.1:1,127.0.0.1:2/db",
        f"postgresql://u:{wrong}@host.invalid/db",
        f"postgresql://u:{wrong}@127.0.0.1:{silent.port}/db?sslmode=disable",
        f"postgresql:///db?host={tmp_path}&user=u&password={wrong}",
        f"postgresql://u:{wrong}@127.0.0.1:{server.port}/db?sslmode=verify-ca&sslrootcert={tmp_path}/no.pem",
        f"postgresql://u:{wrong}@127.0.0.1:{server.port}/db?sslmode=verify-ca&sslrootcert={tmp_path}/absent.pem",
    ]
    for address in addresses:
        with pytest.raises(Passing) as raised:
            asked(Link(at(address)), "SELECT 1")
        assert wrong not in str(raised.value)
        assert "\n" not in str(raised.value)
    silent.listener.close()


# ---- the role


def test_the_role_needs_its_schema_and_no_more(server: Server, tmp_path: Path) -> None:
    server.start()
    server.do("REVOKE ALL ON DATABASE postgres FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    server.do(
        f"CREATE ROLE {USER} LOGIN NOINHERIT PASSWORD '{PASSWORD}'; GRANT CONNECT ON DATABASE postgres TO {USER};"
        f" CREATE SCHEMA tocsin AUTHORIZATION {USER}; CREATE TABLE public.of_the_app (secret text)"
    )
    one = OnPostgres(tmp_path, "s1", at(server.url_of(USER)))
    one.past()
    assert one.put(ask(), finished()) == [Grant("a", T)]
    one.ledger.idle(0.0)
    one.ledger.stopped(0.0)
    one.close()
    assert server.do("SELECT count(*) FROM tocsin.slots") == "1"
    assert "permission denied" in ask_psql(server.url_of(USER), "SELECT * FROM public.of_the_app").stderr
    assert "permission denied" in ask_psql(server.url_of(USER), "CREATE SCHEMA another").stderr

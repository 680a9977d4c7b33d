"""A PostgreSQL server of the tests' own, and PgBouncer before it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import trustme

from harness import PATIENCE, free_port, until

POSTGRES = Path("/usr/lib/postgresql")  # where Debian puts each version, outside PATH
PASSWORD = "kept-behind-3-doors"
USER = "tocsin"  # least privilege: a role that owns its schemas and nothing else
OWNER = "postgres"


def command(name: str) -> str | None:
    """Where the newest server's program is."""
    newest = sorted(POSTGRES.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return shutil.which(name) or (str(newest[-1]) if newest else None)


def unprivileged() -> dict[str, Any]:
    """As whom PostgreSQL runs, for subprocess: it does not as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    owner = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


class Server:
    """PostgreSQL on loopback, in a folder that goes with it. `user` makes what it is told to in its database."""

    def __init__(self, user: str = OWNER, password: str = PASSWORD) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))  # short: a socket's path has 107 bytes
        self.port = free_port()
        self.user, self.password = user, password
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._as = unprivileged()
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])

    @property
    def url(self) -> str:
        return self.url_of(self.user)

    def url_of(self, user: str, port: int = 0) -> str:
        return f"postgresql://{user}:{self.password}@127.0.0.1:{port or self.port}/postgres"

    def make(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)  # in a folder that only its owner enters
        initdb = command("initdb")
        assert initdb, "apt-get install postgresql"
        options = ["-U", self.user, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "-N"]
        made = subprocess.run(
            [initdb, "-D", str(self.folder / "data"), *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert made.returncode == 0, made.stderr

    def start(self, **settings: str) -> None:
        """Until it answers. `settings` are for this life of it."""
        server = command("postgres")
        assert server
        all_settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            **settings,
        }
        words = [word for name, value in all_settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [server, "-D", str(self.folder / "data"), "-p", str(self.port), *words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._as,
            )
        until(lambda: self.psql("SELECT 1").returncode == 0, f"PostgreSQL:\n{self.log.read_text()[-2000:]}")

    def end(self, number: int = signal.SIGINT) -> None:
        """SIGINT is "fast": without waiting for those who are connected; SIGQUIT "immediate", as after a crash."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(PATIENCE)

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.end()
        shutil.rmtree(self.folder)

    def standby(self) -> "Server":
        """A copy that follows this one, not yet started."""
        other = Server(self.user, self.password)
        words = ["-D", str(other.folder / "data"), "-R", "-X", "stream", "-c", "fast"]
        program = command("pg_basebackup")
        assert program
        source = f"{self.url}?application_name=standby"
        made = subprocess.run(
            [program, "-d", source, *words],
            cwd=other.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **self._as,
        )
        assert made.returncode == 0, made.stderr
        return other

    def certificate(self, leaf: trustme.LeafCert) -> dict[str, str]:
        """The settings by which the server shows it."""
        key, chain = self.folder / "key.pem", self.folder / "chain.pem"
        leaf.private_key_pem.write_to_path(key)
        chain.write_bytes(b"".join(one.bytes() for one in leaf.cert_chain_pems))
        key.chmod(0o600)
        for file in (key, chain):
            if self._as:
                os.chown(file, self._as["user"], self._as["group"])
        return {"ssl": "on", "ssl_key_file": str(key), "ssl_cert_file": str(chain)}

    def psql(self, sql: str) -> subprocess.CompletedProcess[str]:
        words = ["psql", self.url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def do(self, sql: str) -> str:
        done = self.psql(sql)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class Pooler:
    """PgBouncer in transaction mode, before a server."""

    def __init__(self, server: Server, size: int = 2) -> None:
        self.server = server
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="tocsin-pgbouncer-"))
        self._as = unprivileged()
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        (self.folder / "users").write_text(f'"{USER}" "{server.password}"\n')
        (self.folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\npool_mode = transaction\n"
            f"auth_type = scram-sha-256\nauth_file = {self.folder}/users\nserver_login_retry = 1\n"
            f"default_pool_size = {size}\n"
        )
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "apt-get install pgbouncer"
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, str(self.folder / "ini")], cwd=self.folder, stdout=log, stderr=log, **self._as
            )
        url = server.url_of(USER, self.port)
        until(lambda: ask(url, "SELECT 1").returncode == 0, "PgBouncer")

    def remove(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)


class Wire:
    """Forwards to a port until it is silent: then it holds what comes, and closes nothing."""

    def __init__(self, port: int) -> None:
        self.port, self.silent = free_port(), Event()
        self._to = port
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            try:
                other = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # the server is away
                one.close()
                continue
            self._ends = [end for end in self._ends if end.fileno() >= 0] + [one, other]
            for ends in ((one, other), (other, one)):
                Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self.silent.is_set():
                    time.sleep(0.01)
                sink.sendall(data)
        except OSError:
            pass  # one side is gone
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            source.close()

    def close(self) -> None:
        self.silent.clear()
        self._listener.close()
        for one in self._ends:
            one.close()


def ask(url: str, sql: str) -> subprocess.CompletedProcess[str]:
    words = ["psql", url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)


Schema = Callable[[], str]

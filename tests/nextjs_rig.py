"""The example app for its tests: built as its README says, started on a PostgreSQL of its own."""

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import PATIENCE, SECRET, free_port, until

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "examples" / "nextjs-ticketing"
CACHE = ROOT / ".cache" / "nextjs-ticketing"
NOT_SOURCES = shutil.ignore_patterns(
    "node_modules", ".next", "var", ".env", "next-env.d.ts", "*.tsbuildinfo", "README.md"
)
POSTGRES = Path("/usr/lib/postgresql")  # where Debian puts each version, outside PATH
PASSWORD = "a-password-for-people"
# What the tests add to the app: a handler as one forgets to keep from being rendered once, when the app is built.
PRERENDERED = "/api/cron/prerendered"
ADDED = {
    f"app{PRERENDERED}/route.ts": (
        'export const dynamic = "force-static";\n'
        "export function GET(): Response {\n"
        "  return Response.json({ success: true, at: Date.now() });\n"
        "}\n"
    )
}
BUILD_PATIENCE = 600.0  # seconds: a cold npm cache and a busy machine


def missing() -> list[str]:
    """The Debian packages that must be installed first."""
    wanted = {"nodejs": shutil.which("node"), "npm": shutil.which("npm"), "postgresql": _postgres("initdb")}
    return [package for package, found in wanted.items() if not found]


def _postgres(command: str) -> str | None:
    newest = sorted(POSTGRES.glob(f"*/bin/{command}"), key=lambda path: float(path.parts[-3]))
    return shutil.which(command) or (str(newest[-1]) if newest else None)


def build() -> Path:
    """The folder with server.js, as `npm ci && npm run build` makes it; kept for as long as no source changes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        work, target = CACHE / "work", CACHE / _digest()
        if not target.exists():
            for old in CACHE.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            shutil.copytree(SOURCE, work, ignore=NOT_SOURCES)
            for name, text in ADDED.items():
                (work / name).parent.mkdir(parents=True)
                (work / name).write_text(text)
            _npm(work, "ci", "--no-audit", "--no-fund")
            _npm(work, "run", "build")
            (work / ".next" / "standalone").rename(target)
            shutil.rmtree(work)
    return target


def _digest() -> str:
    """Of all that decides how the build turns out."""
    found = hashlib.sha256(subprocess.run(["node", "--version"], capture_output=True, check=True).stdout)
    for folder, folders, files in os.walk(SOURCE):
        folders[:] = sorted(set(folders) - NOT_SOURCES(folder, folders))
        for name in sorted(set(files) - NOT_SOURCES(folder, files)):
            file = Path(folder, name)
            found.update(f"{file.relative_to(SOURCE)}\0".encode() + file.read_bytes() + b"\0")
    found.update(repr(ADDED).encode())
    return found.hexdigest()[:16]


def _npm(folder: Path, *words: str) -> None:
    environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "CI": "1"}
    done = subprocess.run(
        ["npm", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_PATIENCE
    )
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, f"npm {' '.join(words)} failed (npm ci needs the npm registry):\n{said}"


class Database:
    """A PostgreSQL server on loopback with the app's tables, in a folder that goes with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))  # short: a socket's path has 107 bytes
        self.port = free_port()
        self.url = f"postgresql://ticketing:{SECRET}@127.0.0.1:{self.port}/postgres"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:  # as which PostgreSQL does not run
            names = {entry.pw_name for entry in pwd.getpwall()}
            owner = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self._owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)

    def start(self) -> None:
        password = self.folder / "password"
        password.write_text(SECRET)
        password.chmod(0o644)  # in a folder that only its owner enters
        data, initdb, server = str(self.folder / "data"), _postgres("initdb"), _postgres("postgres")
        assert initdb
        assert server
        options = ["-U", "ticketing", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "-N"]
        made = subprocess.run(
            [initdb, "-D", data, *options], cwd=self.folder, capture_output=True, text=True, check=False, **self._owner
        )
        assert made.returncode == 0, made.stderr
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [server, "-D", data, "-p", str(self.port), *words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._owner,
            )
        until(lambda: self._psql("SELECT 1").returncode == 0, f"PostgreSQL:\n{self.log.read_text()}")
        self.do((SOURCE / "schema.sql").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGINT)  # "fast": without waiting for those who are connected
            self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)

    def _command(self) -> list[str]:
        return ["psql", self.url, "-XAtq", "-v", "ON_ERROR_STOP=1"]

    def _psql(self, sql: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._command(), "-c", sql], capture_output=True, text=True, timeout=PATIENCE)

    def do(self, sql: str) -> str:
        done = self._psql(sql)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def number(self, sql: str) -> int:
        return int(self.do(sql))

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.do(f"SELECT coalesce(json_agg(t), '[]') FROM ({sql}) t"))
        return found

    @contextmanager
    def holding(self, sql: str) -> Iterator[None]:
        """A transaction that has done this and is not committed: whoever wants the same rows waits."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self._command(), stdin=pipe, stdout=pipe, text=True) as session:
            assert session.stdin
            assert session.stdout
            session.stdin.write(f"BEGIN;\n{sql};\n\\echo held\n")
            session.stdin.flush()
            while line := session.stdout.readline():
                if line == "held\n":
                    break
            else:
                raise AssertionError(f"psql could not do {sql}")
            yield
            session.stdin.close()  # the end of the session undoes the transaction


class App:
    """The app's server.js, which may be stopped and started again on its port."""

    def __init__(self, built: Path, database: Database, log: Path) -> None:
        self.built, self.log, self.port = built, log, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            **os.environ,
            "NODE_ENV": "production",
            "HOSTNAME": "127.0.0.1",
            "PORT": str(self.port),
            "DATABASE_URL": database.url,
            "CRON_SECRET": SECRET,
            "APP_PASSWORD": PASSWORD,
            "SESSION_SECRET": SECRET[::-1],
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, **environment: str) -> None:
        """Until it answers; `environment` is for this life of it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["node", "server.js"],
                cwd=self.built,
                env={**self.environment, **environment},
                stdout=log,
                stderr=log,
            )
        until(self._answers, f"the app:\n{self.log.read_text()}")

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"the app died:\n{self.log.read_text()[-3000:]}"
        try:
            return self.ask("/login", method="GET")[0] == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def ask(self, path: str = "/api/cron/sla-check", method: str = "POST", **headers: str) -> tuple[int, str]:
        """Status and text of one request; a redirect is not followed. In header names _ stands for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=named)
        try:
            with _OPENER.open(request, timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers.get("Location") or refused.read().decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))

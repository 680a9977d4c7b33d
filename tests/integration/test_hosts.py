"""The recipes of deploy/: each one's start command, taken from the host's file, run as the host runs it.

The files are what a user copies, changed in paths and ports alone. A run is: healthy without credentials, closed
without them elsewhere, a call at a real endpoint, then SIGTERM during a call, which may finish.
"""

import base64
import http.client
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from honcho.environ import parse_procfile  # type: ignore[import-untyped]

from container import AS_ROOT, ROOT, Image, members
from harness import Call, Daemon, Endpoint, free_port, sla_checked, until

DEPLOY = ROOT / "deploy"
SECRET = "a-secret-of-the-tests-of-hosts-0"
PASSWORD = "a-password-of-the-tests-of-hosts"
NOBODY = 65534
TERM = "stopping why=SIGTERM"


def job_file() -> str:
    """The shipped one with the lines that docs/deploy.md wants on a host, and a job that is due every second."""
    (lines,) = re.findall(r"```toml\n# tocsin.toml, on a host\n\[daemon\]\n(.*?)```", documented(), re.DOTALL)
    text = (ROOT / "tocsin.toml").read_text()
    text, daemons = re.subn(r"^\[daemon\]\n", f"[daemon]\n{lines}", text, flags=re.MULTILINE)
    text, schedules = re.subn(r'^schedule = "\* \* \* \* \*"', 'every = "1s"', text, flags=re.MULTILINE)
    assert (daemons, schedules) == (1, 1)
    return text


def documented() -> str:
    return (ROOT / "docs" / "deploy.md").read_text()


@dataclass
class Site:
    """A folder of its own for one host's run: what the user has there, and the process."""

    image: Image
    folder: Path
    endpoint: Endpoint
    port: int = field(default_factory=free_port)
    output: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    owners: set[int] = field(default_factory=set)  # of all processes, once it has called
    log: Callable[[], str] = lambda: ""

    def __post_init__(self) -> None:
        self.log = lambda: "".join(self.output)
        self.folder.chmod(0o755)
        for name in ("supervisord.conf", "foreground.conf"):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / "tocsin.toml").write_text(job_file())
        (self.folder / ".venv").symlink_to(self.image.root / "srv" / "tocsin" / "venv")

    @property
    def given(self) -> dict[str, str]:
        """What the user sets in the host's dashboard."""
        return {"API_BASE_URL": self.endpoint.url, "CRON_SECRET": SECRET, "TOCSIN_PASSWORD": PASSWORD}

    def state(self, folder: Path, owner: int) -> None:
        """An empty folder for the state, as a new volume is."""
        folder.mkdir(parents=True, mode=0o700)
        if AS_ROOT:
            os.chown(folder, owner, owner)

    def inside(self, recipe: dict[str, str]) -> dict[str, str]:
        """The environment in a container: the image's, the host's file's, the dashboard's."""
        listen = {"TOCSIN_LISTEN": self.local(self.image.environment["TOCSIN_LISTEN"])}
        return {**self.image.environment, **listen, **recipe, **self.given, "TINI_SUBREAPER": "1"}

    def local(self, text: str) -> str:
        """The recipe's folders as those of this machine; what listens does so on loopback."""
        for there in ("/srv/tocsin", "/opt/tocsin"):
            text = text.replace(there, str(self.folder))
        return text.replace("0.0.0.0:", "127.0.0.1:").replace(":9911", f":{self.port}")

    def start(self, command: list[str], environment: dict[str, str], user: int = 0, journal: bool = False) -> None:
        """In a session of its own. Output is a pipe of that user's (as runc makes it) or, under systemd, a socket."""
        if journal:
            ours, theirs = socket.socketpair()
            reading, writing = ours.detach(), theirs.detach()
        else:
            reading, writing = os.pipe()
        identity = {"user": user, "group": user, "extra_groups": []} if AS_ROOT and user else {}
        if identity:
            os.fchown(writing, user, user)
        self.environment = environment
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
            **identity,
        )  # type: ignore[call-overload]
        os.close(writing)
        threading.Thread(target=self.read, args=(reading,), daemon=True).start()

    def read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, errors="replace") as stream:
            self.output.extend(stream)

    def ask(self, path: str, *, authorized: bool = False) -> int:
        """The status; 0 while nobody listens."""
        pair = base64.b64encode(f"tocsin:{PASSWORD}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {pair}"} if authorized else {})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def serves_and_drains(self, grace: float, everybody: bool = False, reload: Sequence[str] = ()) -> None:
        """The life of a deployment. `grace` is the host's, in seconds; `everybody`: SIGTERM to each process, twice."""
        process = self.process
        assert process
        came, go = threading.Event(), threading.Event()

        def answer(_: Call) -> tuple[int, dict[str, str], bytes]:
            came.set()
            go.wait(60)
            return sla_checked(1)

        def alive() -> None:
            assert process.poll() is None, f"it ended with {process.returncode}:\n{self.log()}{''.join(self.output)}"

        def healthy() -> bool:
            alive()
            return self.ask("/healthz") == 200

        try:
            until(healthy, f"/healthz: {self.output}")
            until(lambda: self.endpoint.calls, "a call")
            assert self.endpoint.calls[0].headers["x-cron-secret"] == SECRET
            assert self.ask("/metrics") == self.ask("/") == 401
            assert self.ask("/metrics", authorized=True) == 200
            if reload:
                subprocess.run(reload, cwd=self.folder, env=self.environment, check=True)
            self.owners = {Path(f"/proc/{pid}").stat().st_uid for pid in members(process.pid)}
            self.endpoint.answer = answer
            assert came.wait(30)
            for _ in range(2 if everybody else 1):
                for pid in members(process.pid) if everybody else [process.pid]:
                    os.kill(pid, signal.SIGTERM)
            until(lambda: TERM in self.log(), "the drain to begin")
            go.set()
            assert process.wait(grace) == 0
            until(lambda: "tocsin has stopped exit_code=0" in self.log(), "the log's last line")
            end = self.log().rpartition(TERM)[2]
            assert "sla-check: success" in end
            assert "cancelled" not in end
            assert members(process.pid) == []
            assert SECRET not in self.log()
            assert PASSWORD not in self.log()
        except BaseException:
            print(self.log(), *self.output)
            raise
        finally:
            go.set()
            for pid in members(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def site(image: Image, endpoint: Endpoint) -> Site:
    """In the image's folder, whose name is short: supervisord's socket lies below, in at most 107 characters."""
    return Site(image, Path(tempfile.mkdtemp(prefix="host-", dir=image.root)), endpoint)


# ---- hosts that run the image


def recipe(host: str) -> tuple[dict[str, str], float]:
    """What the host's file sets in the environment, and the seconds between its SIGTERM and its SIGKILL."""
    if host == "compose":
        service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["tocsin"]
        return {}, float(service["stop_grace_period"].removesuffix("s"))
    if host == "fly":
        text = (DEPLOY / "fly" / "fly.toml").read_text()
        return {}, float(re.findall(r"^kill_timeout = (\d+)", text, re.MULTILINE)[0])
    if host == "render":
        (service,) = yaml.safe_load((DEPLOY / "render" / "render.yaml").read_text())["services"]
        return {one["key"]: str(one.get("value", "")) for one in service["envVars"]}, service["maxShutdownDelaySeconds"]
    if host == "digitalocean":
        (worker,) = yaml.safe_load((DEPLOY / "digitalocean" / "app.yaml").read_text())["workers"]
        return {one["key"]: one["value"] for one in worker["envs"]}, worker["termination"]["grace_period_seconds"]
    text = (DEPLOY / "railway" / "railway.ts").read_text()
    return dict(re.findall(r'^      ([A-Z_]+): "(.*)"', text, re.MULTILINE)), float(
        re.findall(r"drainingSeconds: (\d+)", text)[0]
    )


@pytest.mark.parametrize("host", ["compose", "fly", "render", "digitalocean"])
def test_the_image_as_its_user_on_a_new_volume(site: Site, host: str) -> None:
    image = site.image
    environment, grace = recipe(host)
    site.state(site.folder / "var", image.user)
    command = [site.local(word) for word in image.command["ENTRYPOINT"] + image.command["CMD"]]
    site.start(command, site.inside(environment), image.user)
    site.serves_and_drains(grace)
    assert (site.folder / "var" / "ledger.sqlite").exists()


@pytest.mark.skipif(not AS_ROOT, reason="Railway starts it as root, which these tests are not")
def test_railway_starts_as_root_and_nothing_stays_root(site: Site) -> None:
    environment, grace = recipe("railway")
    assert environment["RAILWAY_RUN_UID"] == "0"
    site.state(site.folder / "var", 0)
    (start,) = re.findall(r'start:\n      "(.*)",\n', (DEPLOY / "railway" / "railway.ts").read_text())
    site.start(shlex.split(site.local(start)), site.inside(environment))
    site.serves_and_drains(grace)
    assert site.owners == {site.image.user}
    assert (site.folder / "var" / "ledger.sqlite").stat().st_uid == site.image.user


# ---- hosts without it


def test_heroku_signals_every_process_twice(site: Site) -> None:
    processes = parse_procfile((DEPLOY / "heroku" / "Procfile").read_text()).processes
    assert list(processes) == ["web"]
    environment = {"PATH": site.image.environment["PATH"], "PORT": str(site.port), "DYNO": "web.1", **site.given}
    if AS_ROOT:
        os.chown(site.folder, site.image.user, site.image.user)  # a dyno may write its own, ephemeral folder
    site.start(["bash", "-c", site.local(processes["web"])], environment, site.image.user)
    site.serves_and_drains(30, everybody=True)


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / "tocsin.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_systemd_unit(site: Site) -> None:
    settings = unit()
    state = site.folder / "var"
    for name in settings["StateDirectory"][0].split():  # below /var/lib, where the link `var` leads
        site.state(site.folder / name.replace("tocsin", "var", 1), site.image.user)
    default = site.folder / "default"  # /etc/default/tocsin
    default.write_text(f"TOCSIN_LISTEN=127.0.0.1:{site.port}\n")
    environment = dict(
        pair.split("=", 1)
        for pair in [*shlex.split(site.local(" ".join(settings["Environment"]))), default.read_text().strip()]
    )
    secrets = site.folder / ".env"
    secrets.write_text("".join(f"{name}={value}\n" for name, value in site.given.items()))
    secrets.chmod(0o640)
    if AS_ROOT:
        os.chown(secrets, 0, site.image.user)
    site.log = lambda: "".join(file.read_text() for file in state.glob("log/tocsin.log"))
    command = shlex.split(site.local(settings["ExecStart"][0]))
    site.start(["setpriv", "--no-new-privs", *command], environment, site.image.user, journal=True)
    assert settings["KillMode"] == ["mixed"]  # TERM for the main process alone
    site.serves_and_drains(
        float(settings["TimeoutStopSec"][0]), reload=shlex.split(site.local(settings["ExecReload"][0]))
    )
    assert "reloaded jobs=1" in site.log()


def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("supervisord", "tocsin"):
        (tmp_path / "bin" / name).symlink_to("/bin/true")
    text = (DEPLOY / "systemd" / "tocsin.service").read_text()
    file = tmp_path / "tocsin.service"
    file.write_text(text.replace("/opt/tocsin/.venv/bin/", f"{tmp_path}/bin/"))
    for words in (["verify", "--man=no", "--recursive-errors=no"], ["security", "--offline=true", "--threshold=35"]):
        done = subprocess.run(["systemd-analyze", *words, file], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_debians_supervisor(site: Site) -> None:
    """Its own configuration and program, from the package; our section where the package includes sections."""
    (site.folder / ".env").write_text(
        "".join(f"{name}={value}\n" for name, value in site.given.items()) + f"TOCSIN_LISTEN=127.0.0.1:{site.port}\n"
    )
    site.state(site.folder / "var", NOBODY)
    if AS_ROOT:
        os.chown(site.folder / ".env", 0, NOBODY)
    (site.folder / ".env").chmod(0o640)
    for name in ("run", "log", "conf.d"):
        (site.folder / name).mkdir()

    def placed(text: str) -> str:
        for there, here in (("/var/run", "run"), ("/var/log/supervisor", "log"), ("/etc/supervisor/conf.d", "conf.d")):
            text = text.replace(there, str(site.folder / here))
        return site.local(text).replace("user=tocsin\n", "user=nobody\n" if AS_ROOT else "")

    conf = site.folder / "debian.conf"
    conf.write_text(placed(Path("/etc/supervisor/supervisord.conf").read_text()))
    section = placed((DEPLOY / "supervisor" / "tocsin.conf").read_text())
    (site.folder / "conf.d" / "tocsin.conf").write_text(section)
    log = site.folder / "log" / "tocsin.log"
    site.log = lambda: log.read_text() if log.exists() else ""
    site.start(["/usr/bin/supervisord", "-n", "-c", str(conf)], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    site.serves_and_drains(60)
    if AS_ROOT:
        assert (site.folder / "var" / "ledger.sqlite").stat().st_uid == NOBODY


# ---- the ledger


def test_a_backup_is_taken_while_it_runs_and_restored_in_another_folder(daemon: Daemon) -> None:
    (command,) = re.findall(r"^python3 (-c 'import sqlite3.*)$", documented(), re.MULTILINE)
    daemon.write('[jobs.tick]\nevery = "1s"\npath = "/tick"\n')
    daemon.start()
    until(lambda: daemon.metric("tocsin_job_runs_total", job_name="tick", outcome="success"), "a run")
    assert daemon.run("pause", "tick").returncode == 0
    until(lambda: [row for row in daemon.history() if row["reason"] == "paused"], "the pause to be in the ledger")
    before = {row["run_id"] for row in daemon.history() if row["outcome"] == "success"}
    subprocess.run(f"{sys.executable} {command}", shell=True, cwd=daemon.folder, check=True)
    assert daemon.stop() == 0
    (daemon.folder / "moved").mkdir()
    (daemon.folder / "ledger.backup").rename(daemon.folder / "moved" / "ledger.sqlite")
    daemon.environment["TOCSIN_STATE_DIR"] = "moved"
    daemon.start()
    until(lambda: [one["paused"] for one in daemon.json("jobs")] == [True], "the pause to be remembered")
    assert before
    assert before <= {row["run_id"] for row in daemon.history()}
    assert daemon.stop() == 0


def test_without_the_disk_nothing_is_missed_run_late_or_paused(daemon: Daemon) -> None:
    """What docs/deploy.md says is lost with the ledger."""
    daemon.write('[jobs.tick]\nevery = "1s"\npath = "/tick"\n')
    daemon.start()
    until(lambda: daemon.metric("tocsin_job_runs_total", job_name="tick", outcome="success"), "a run")
    assert daemon.run("pause", "tick").returncode == 0
    assert daemon.stop() == 0
    shutil.rmtree(daemon.folder / "var")
    began = time.time()
    daemon.start()
    rows = until(lambda: [row for row in daemon.history() if row["outcome"]], "a run")
    assert min(datetime.fromisoformat(row["due"]).timestamp() for row in rows) >= int(began)
    assert not [row for row in daemon.history() if row["state"] == "missed"]
    assert daemon.stop() == 0

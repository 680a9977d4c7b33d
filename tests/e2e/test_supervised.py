"""supervisord with the shipped configuration, Tocsin under it, a real endpoint."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import PATIENCE, SECRET, Daemon, Endpoint, Held, fates, free_port, until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EVERY_SECOND = '[jobs.tick]\nevery = "1s"\npath = "/tick"\n'


class Supervised(Daemon):
    """A folder with the shipped supervisord.conf and foreground.conf, and supervisord running in it."""

    arguments: tuple[str, ...] = ("-c", "foreground.conf")
    errors: Path | None = None  # where standard error goes; None: to the log as well

    def start(self, *, stdout: Any = None) -> None:
        assert stdout is None, "supervisord has the output"
        for file in ("supervisord.conf", "foreground.conf"):
            if not (self.folder / file).exists():
                shutil.copy(ROOT / file, self.folder)
        (self.folder / "var" / "log").mkdir(parents=True, exist_ok=True)
        self.environment["PATH"] = f"{BIN}:{self.environment['PATH']}"
        with self.log_file.open("ab") as log, (self.errors or self.log_file).open("ab") as errors:
            self.process = subprocess.Popen(
                [BIN / "supervisord", *self.arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=errors,
            )

    def ctl(self, *words: str) -> str:
        command = [str(BIN / "supervisorctl"), "-c", str(self.folder / "supervisord.conf"), *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout

    def parent(self, *, other_than: int = 0) -> int:
        """The pid of `tocsin run`, as supervisord knows it."""

        def found() -> int:
            text = self.ctl("pid", "tocsin").strip()
            pid = int(text) if text.isdigit() else 0
            return pid if pid != other_than else 0

        return until(found, "supervisord to have started tocsin")


def descendants(pid: int) -> set[int]:
    found = {pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= descendants(int(child))
    return found


def gone(pids: set[int]) -> None:
    until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "the processes to be gone")


@pytest.fixture
def supervised(tmp_path: Path, endpoint: Endpoint) -> Iterator[tuple[Supervised, Endpoint]]:
    one = Supervised(tmp_path, endpoint)
    one.write(EVERY_SECOND)
    one.start()
    yield one, endpoint
    one.stop()


def test_what_supervisorctl_can_do(supervised: tuple[Supervised, Endpoint]) -> None:
    daemon, endpoint = supervised
    until(lambda: endpoint.calls, "a call")
    until(lambda: "RUNNING" in daemon.ctl("status"), "supervisord to trust it")
    parent = daemon.parent()

    daemon.write(EVERY_SECOND.replace("/tick", "/tock"))
    daemon.ctl("signal", "HUP", "tocsin")
    until(lambda: endpoint.calls[-1].path == "/tock", "a call by the new file")
    assert daemon.parent() == parent

    family = descendants(parent)
    assert len(family) == 4
    daemon.ctl("stop", "tocsin")
    gone(family)
    daemon.said("tocsin has stopped exit_code=0")
    calls = len(endpoint.calls)
    daemon.ctl("start", "tocsin")
    until(lambda: len(endpoint.calls) > calls, "calls after the start")
    daemon.said("tick: success")


def test_on_a_server_the_log_is_a_file_and_only_stop_ends_it(tmp_path: Path, endpoint: Endpoint) -> None:
    daemon = Supervised(tmp_path, endpoint)
    daemon.arguments = ("-n", "-c", "supervisord.conf")
    daemon.write(EVERY_SECOND)
    daemon.start()
    try:
        log = tmp_path / "var" / "log" / "tocsin.log"
        until(lambda: log.exists() and "tick: success" in log.read_text(), "a run in the file")
        socket = (tmp_path / "var" / "supervisor.sock").stat()
        assert stat.S_ISSOCK(socket.st_mode)
        assert stat.S_IMODE(socket.st_mode) == 0o700
        until(lambda: "RUNNING" in daemon.ctl("status"), "supervisord to trust it")
        parent = daemon.parent()
        os.kill(parent, signal.SIGTERM)  # by somebody else: exit 0, and still it comes back
        until(lambda: log.read_text().count("tocsin starts") == 2, "a second start")
        until(lambda: "tick: success" in log.read_text().rpartition("tocsin starts")[2], "a run of the new one")
        assert daemon.parent() != parent
    finally:
        daemon.stop()
    assert "tick: success" not in daemon.log()  # the program's lines are in the file alone
    assert log.read_text().rstrip().endswith("tocsin has stopped exit_code=0")


def test_standard_output_is_json_alone_and_supervisord_speaks_on_standard_error(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    daemon = Supervised(tmp_path, endpoint)
    daemon.errors = tmp_path / "errors.log"
    daemon.environment["TOCSIN_LOG_FORMAT"] = "json"
    daemon.write(EVERY_SECOND)
    daemon.start()
    try:
        daemon.said("tick: success")
        os.kill(daemon.parent(), signal.SIGKILL)
        until(lambda: "exited: tocsin" in daemon.errors.read_text(), "supervisord to say so")  # type: ignore[union-attr]
        until(lambda: daemon.log().count("tocsin starts") == 2, "a second start")
    finally:
        daemon.stop()
    for line in daemon.log().splitlines():
        assert json.loads(line)["level"], line


def test_logs_are_followed_across_a_rotation_and_filtered_by_job(tmp_path: Path, endpoint: Endpoint) -> None:
    daemon = Supervised(tmp_path, endpoint)
    daemon.arguments = ("-n", "-c", "supervisord.conf")
    daemon.write(EVERY_SECOND + EVERY_SECOND.replace("tick", "ticker"))
    said = daemon.run("logs")
    assert said.returncode == 1
    assert "that names a log file; under systemd: journalctl -u tocsin" in said.stderr
    changed(daemon, ("stdout_logfile_maxbytes=10MB", "stdout_logfile_maxbytes=4KB"))
    said = daemon.run("logs")
    assert said.returncode == 1
    assert f"there is no log file {tmp_path}/var/log/tocsin.log" in said.stderr
    daemon.start()
    shown = tmp_path / "shown.log"
    try:
        log = tmp_path / "var" / "log" / "tocsin.log"
        until(lambda: log.exists() and "tick: success" in log.read_text(), "a run in the file")
        with shown.open("wb") as output:
            follower = subprocess.Popen(
                [BIN / "tocsin", "logs", "tick", "-f", "-n", "0"], cwd=tmp_path, env=daemon.environment, stdout=output
            )
        try:
            until(lambda: "tick: success" in shown.read_text(), "the first line that is followed")
            until(lambda: (tmp_path / "var/log/tocsin.log.2").exists(), "the log to be rotated twice")
            before = shown.read_text().count("tick: success")
            until(lambda: shown.read_text().count("tick: success") > before + 1, "lines after that")
        finally:
            follower.terminate()
            assert follower.wait(PATIENCE) == -signal.SIGTERM
        lines = shown.read_text().splitlines()
        assert not [line for line in lines if "ticker" in line]
        ids = [line.rpartition("run_id=")[2] for line in lines if "tick: success" in line]
        runs = [row["run_id"] for row in daemon.history("tick", "--limit", "1000") if row["outcome"] == "success"]
        first = runs.index(ids[0])
        assert ids == runs[first : first + len(ids)], "no line is lost, and none comes twice"
        (line,) = daemon.run("logs", "ticker", "-n", "1").stdout.splitlines()
        assert "ticker" in line
    finally:
        daemon.stop()


def changed(daemon: Supervised, *changes: tuple[str, str]) -> None:
    """The shipped supervisord.conf with some values made small, so that the test need not wait a minute."""
    text = (ROOT / "supervisord.conf").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (daemon.folder / "supervisord.conf").write_text(text)


def test_a_bad_job_file_ends_as_fatal(tmp_path: Path, endpoint: Endpoint) -> None:
    daemon = Supervised(tmp_path, endpoint)
    daemon.arguments = ("-n", "-c", "supervisord.conf")
    daemon.write(EVERY_SECOND.replace("1s", "soon"))
    changed(daemon, ("startretries=10", "startretries=1"))
    daemon.start()
    try:
        until(lambda: "FATAL" in daemon.ctl("status"), "supervisord to give up")
        log = (tmp_path / "var" / "log" / "tocsin.log").read_text()
        assert log.count("[jobs.tick] every") == 2  # the first start and one retry
        daemon.write(EVERY_SECOND)
        daemon.ctl("start", "tocsin")
        until(lambda: endpoint.calls, "a call after the repair")
    finally:
        daemon.stop()


def test_no_line_is_lost_when_the_log_is_rotated(tmp_path: Path, endpoint: Endpoint) -> None:
    daemon = Supervised(tmp_path, endpoint)
    daemon.arguments = ("-n", "-c", "supervisord.conf")
    daemon.write(EVERY_SECOND + "".join(f'[jobs.t{n}]\nevery = "1s"\npath = "/t"\n' for n in range(20)))
    changed(daemon, ("stdout_logfile_maxbytes=10MB", "stdout_logfile_maxbytes=8KB"), ("backups=10", "backups=1000"))
    daemon.start()
    folder = tmp_path / "var" / "log"
    try:
        until(lambda: len(list(folder.glob("tocsin.log.*"))) >= 5, "five rotations")
    finally:
        daemon.stop()
    lines = "".join(file.read_text() for file in folder.glob("tocsin.log*")).splitlines()
    logged = {line.rpartition("run_id=")[2] for line in lines if ": success" in line}
    assert logged == {row["run_id"] for row in daemon.history() if row["outcome"] == "success"}


def test_a_killed_parent_is_started_again(supervised: tuple[Supervised, Endpoint]) -> None:
    daemon, endpoint = supervised
    until(lambda: endpoint.calls, "a call")
    parent = daemon.parent()
    family = descendants(parent)
    os.kill(parent, signal.SIGKILL)
    gone(family)
    daemon.parent(other_than=parent)
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 1, "calls of the new one")
    due = [call.headers["x-tocsin-scheduled-at"] for call in endpoint.calls]
    assert len(due) == len(set(due))


def test_a_killed_supervisord_leaves_nothing_behind(supervised: tuple[Supervised, Endpoint]) -> None:
    daemon, endpoint = supervised
    until(lambda: endpoint.calls, "a call")
    family = descendants(daemon.parent())
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    daemon.start()
    gone(family)
    calls = len(endpoint.calls)
    until(lambda: len(endpoint.calls) > calls + 1, "calls under the new supervisord")
    due = [call.headers["x-tocsin-scheduled-at"] for call in endpoint.calls]
    assert len(due) == len(set(due))
    rows = fates([row for row in daemon.history() if row["outcome"]], "tick")
    assert all(len(fate) == 1 for fate in rows.values())


def make_run(folder: Path, output: Path, **variables: str) -> "subprocess.Popen[bytes]":
    """What `make run` does once the environment is there, without API_BASE_URL: the demo, in this terminal."""
    for name in ("examples", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("var", ".env", "__pycache__"))
    for name in ("supervisord.conf", "foreground.conf", "tocsin.toml"):
        shutil.copy(ROOT / name, folder)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOCSIN_", "API_BASE_URL", "CRON_SECRET", "SUPERVISOR_"))
    }
    environment |= {"TOCSIN_LISTEN": f"127.0.0.1:{free_port()}", "DEMO_LISTEN": f"127.0.0.1:{free_port()}"}
    with output.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, folder / "scripts" / "run.py"],
            cwd=folder,
            env=environment | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def test_make_run_shows_fires_and_leaves_no_process(tmp_path: Path) -> None:
    output = tmp_path / "output"
    process = make_run(tmp_path, output)
    try:
        until(lambda: output.read_text().count("sla-check: success") >= 2, "two fires in the terminal")
        assert "/metrics" in output.read_text()
        family = descendants(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches the whole foreground group
        process.wait(PATIENCE)
    gone(family)


def test_ctrl_c_twice_under_make_run_ends_calls_at_once(tmp_path: Path, endpoint: Endpoint) -> None:
    held = Held(endpoint)
    (tmp_path / "every-second.toml").write_text('[target]\nbase_url = "${API_BASE_URL}"\n' + EVERY_SECOND)
    output = tmp_path / "output"
    process = make_run(
        tmp_path, output, API_BASE_URL=endpoint.url, CRON_SECRET=SECRET, TOCSIN_CONFIG="every-second.toml"
    )
    try:
        until(held.came.is_set, "a call")
        os.killpg(process.pid, signal.SIGINT)
        until(lambda: "stopping" in output.read_text(), "the drain to begin")
        os.killpg(process.pid, signal.SIGINT)
        until(lambda: "tick: cancelled" in output.read_text(), "the call to be ended")
    finally:
        held.go.set()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE)

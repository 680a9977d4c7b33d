"""The three supervisord configurations, read by supervisord's own parser."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from supervisor.datatypes import RestartUnconditionally  # type: ignore[import-untyped]
from supervisor.options import ClientOptions, ServerOptions  # type: ignore[import-untyped]

from tocsin.jobfile.tables import DaemonTable

ROOT = Path(__file__).parents[2]
SERVER, FOREGROUND, DEMO = "supervisord.conf", "foreground.conf", "examples/demo/supervisord.conf"
ALL = (SERVER, FOREGROUND, DEMO)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files in a folder of their own, away from the working folder."""
    for name in ALL:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "var" / "log").mkdir(parents=True)
    monkeypatch.setenv("DEMO_LISTEN", "127.0.0.1:9912")
    monkeypatch.chdir("/")
    return tmp_path


def read(file: Path) -> Any:
    options = ServerOptions()
    options.realize(["-c", str(file)])
    return options


def program(options: Any, name: str = "tocsin") -> Any:
    (found,) = [one for group in options.process_group_configs for one in group.process_configs if one.name == name]
    return found


@pytest.mark.parametrize("name", ALL)
def test_the_parent_is_stopped_gently_and_brought_back_always(site: Path, name: str) -> None:
    tocsin = program(read(site / name))
    assert tocsin.command == "tocsin run"
    assert Path(tocsin.directory) == site
    assert tocsin.stopsignal == signal.SIGTERM
    assert tocsin.stopwaitsecs > DaemonTable.model_fields["drain"].default + 10  # and its children's last moments
    assert (tocsin.killasgroup, tocsin.stopasgroup) == (True, False)
    assert (tocsin.startsecs, tocsin.startretries) == (5, 10)
    assert (tocsin.autostart, tocsin.autorestart) == (True, RestartUnconditionally)
    assert (tocsin.redirect_stderr, tocsin.stderr_logfile) == (True, None)


@pytest.mark.parametrize("name", ALL)
def test_only_the_owner_may_command_and_no_port_is_open(site: Path, name: str) -> None:
    (server,) = read(site / name).server_configs
    assert server["section"] == "unix_http_server"
    assert Path(server["file"]) == site / "var" / "supervisor.sock"
    assert server["chmod"] == 0o700


def test_supervisorctl_finds_the_socket(site: Path) -> None:
    options = ClientOptions()
    options.realize(["-c", str(site / SERVER), "status"])
    assert options.serverurl == f"unix://{site}/var/supervisor.sock"


def test_on_a_server_the_logs_are_files_that_rotate(site: Path) -> None:
    options = read(site / SERVER)
    tocsin = program(options)
    assert not options.nodaemon
    assert Path(options.logfile) == site / "var" / "log" / "supervisord.log"
    assert Path(tocsin.stdout_logfile) == site / "var" / "log" / "tocsin.log"
    assert tocsin.stdout_logfile_maxbytes == 10 * 1024**2
    assert tocsin.stdout_logfile_backups == 10


@pytest.mark.parametrize("name", [FOREGROUND, DEMO])
def test_in_the_foreground_the_log_is_standard_output(site: Path, name: str) -> None:
    options = read(site / name)
    assert options.nodaemon
    assert (options.logfile, options.silent) == ("/dev/stderr", True)  # standard output has Tocsin's lines alone
    for one in [one for group in options.process_group_configs for one in group.process_configs]:
        assert (one.stdout_logfile, one.stdout_logfile_maxbytes) == ("/dev/stdout", 0)


def test_the_demo_has_its_own_job_file_and_comes_first(site: Path) -> None:
    options = read(site / DEMO)
    demo = program(options, "demo")
    assert program(options).environment == {"TOCSIN_CONFIG": f"{site}/examples/demo/tocsin.toml"}
    assert demo.command == f"tocsin demo --listen 127.0.0.1:9912 --database {site}/examples/demo/var/demo.sqlite"
    assert demo.priority < program(options).priority
    assert [one.name for group in read(site / FOREGROUND).process_group_configs for one in group.process_configs] == [
        "tocsin"
    ]


@pytest.mark.parametrize("name", ALL)
def test_nothing_secret_stands_in_a_file_that_all_may_read(name: str) -> None:
    settings = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith(";")]
    assert not any("SECRET" in line for line in settings)

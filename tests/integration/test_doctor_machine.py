"""What `tocsin doctor` finds on this machine: state folder, ledger, daemon, address, limits, supervisord."""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

from doctor_rig import JOB, App, Site, health
from harness import PATIENCE, TOCSIN, Daemon, Endpoint, until
from tocsin import config
from tocsin.doctor import state
from tocsin.doctor.state import State
from tocsin.ledger.schema import VERSION
from tocsin.ledger.sqlite import FILE, SqliteLedger
from tocsin.parent.state_folder import StateFolder

pytestmark = pytest.mark.usefixtures("nothing_is_secret_yet")

NOBODY = 65534  # a user without rights

# ---- the state folder, the ledger, the daemon


@pytest.mark.parametrize(
    ("state_dir", "words"),
    [("a-file", "is not a folder"), ("a-file/var", "is not a folder"), ("/proc/tocsin", "cannot be written")],
)
def test_a_state_folder_of_no_use(site: Site, state_dir: str, words: str) -> None:
    (site.folder / "a-file").write_text("")
    site.environment["TOCSIN_STATE_DIR"] = state_dir
    finding = site.only("state.folder")
    assert finding["status"] == "FAIL"
    assert words in finding["detail"]


def test_a_folder_without_a_daemon(site: Site) -> None:
    finding = site.only("state.daemon")
    assert finding["status"] == "warning"
    assert finding["detail"] == "no daemon is running, so no job is called"
    assert finding["advice"] == "run: tocsin run"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_state_folder_of_another_user(site: Site) -> None:
    with tempfile.TemporaryDirectory() as outside:  # where another user can come
        Path(outside).chmod(0o755)
        site.environment["TOCSIN_STATE_DIR"] = f"{outside}/var"
        (Path(outside) / "var").mkdir(mode=0o700)
        assert site.only("state.folder")["status"] == "ok"
        settings = config.load(site.file, site.environment)
        os.seteuid(NOBODY)
        try:
            found = list(state.check(settings, settings.jobs, State()))
        finally:
            os.seteuid(0)
    assert [(one.check, one.status) for one in found] == [
        ("state.folder", "FAIL"),  # it cannot write
        ("state.disk", "ok"),
        ("state.folder", "FAIL"),  # nor look at what is in it
    ]


def ledger_of(site: Site) -> Path:
    site.state.mkdir()
    SqliteLedger(site.state, "one", 1.0).close()
    return site.state / FILE


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_sound_ledger(site: Site, version: int) -> None:
    """Also one that the next start will bring up to date."""
    with contextlib.closing(sqlite3.connect(ledger_of(site))) as db:
        db.execute(f"PRAGMA user_version = {version}")
    assert site.only("state.ledger")["status"] == "ok"


@pytest.mark.parametrize("break_it", ["head", "page", "newer", "folder"])
def test_a_ledger_of_no_use(site: Site, break_it: str) -> None:
    file = ledger_of(site)
    if break_it == "newer":
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    elif break_it == "folder":
        file.unlink()
        file.mkdir()
    else:
        content = bytearray(file.read_bytes())
        where = 0 if break_it == "head" else 2 * 4096
        content[where : where + 200] = b"\xff" * 200
        file.write_bytes(content)
    assert site.only("state.ledger")["status"] == "FAIL"


def test_a_daemon_that_holds_the_folder_and_does_not_answer(site: Site) -> None:
    site.state.mkdir()
    held = StateFolder(site.state)
    try:
        assert site.only("state.control")["status"] == "FAIL"
        assert f"process {os.getpid()}" in site.output
    finally:
        held.close()


def test_a_daemon_whose_jobs_fail_and_whose_file_has_changed(daemon: Daemon, endpoint: Endpoint) -> None:
    app = App()
    endpoint.answer = lambda call: (500, {}, b"") if call.headers.get("x-tocsin-job") == "broken" else app(call)
    jobs = "".join(
        f'[jobs.{name}]\nschedule = "@yearly"\npath = "/{name}"\nretries = 0\n' for name in ("broken", "lazy", "once")
    )
    daemon.write(jobs)
    daemon.start()
    until(lambda: health(daemon), "the exporter")
    daemon.child("job broken")
    for _ in range(3):
        fired = daemon.run("fire", "broken")
        assert (fired.returncode, fired.stderr) == (1, "")  # it ran, and was not refused
    assert daemon.run("pause", "lazy").returncode == 0
    daemon.write(jobs.replace("/once", "/twice"))
    result = daemon.run("doctor", "--json")
    assert result.returncode == 1
    found = {(one["check"], one["subject"]): one for one in json.loads(result.stdout)}
    assert found["state.job", "broken"]["status"] == "FAIL"
    assert found["state.job", "broken"]["detail"].startswith("3 × http_error; it has never succeeded: 500")
    assert found["state.job", "lazy"]["advice"] == "tocsin resume lazy"
    assert found["state.reload", "tocsin.toml"]["detail"] == "the daemon runs with an older one (once)"
    assert found["state.job", "once"]["status"] == "ok"


# ---- the exporter's address, the machine, supervisord


def test_a_port_that_somebody_else_has(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site.environment["TOCSIN_LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        finding = site.only("exporter.listen")
    assert finding["status"] == "FAIL"
    assert "in use" in finding["detail"]


def test_a_port_that_the_exporter_of_another_daemon_has(daemon: Daemon, tmp_path: Path) -> None:
    daemon.write(JOB)
    daemon.start()
    until(lambda: health(daemon), "the exporter")
    (tmp_path / "second").mkdir()
    second = Daemon(tmp_path / "second")
    second.write(JOB)
    second.start()
    second.child("exporter")
    second.environment["TOCSIN_LISTEN"] = daemon.environment["TOCSIN_LISTEN"]
    found = [json.loads(one.run("doctor", "--json").stdout) for one in (daemon, second)]
    second.cleanup()
    (first,), (other, _) = ([one for one in listed if one["check"] == "exporter.listen"] for listed in found)
    assert (first["status"], first["detail"]) == ("ok", "the daemon's exporter answers")
    assert other["status"] == "warning"
    told = f"the daemon listens on 127.0.0.1:{second.port} instead; here it could not: Address already in use"
    assert other["detail"] == told


def test_an_address_that_is_not_here(site: Site) -> None:
    site.environment["TOCSIN_LISTEN"] = "192.0.2.1:9911"
    assert site.only("exporter.listen")["status"] == "FAIL"


def test_too_few_descriptors(site: Site) -> None:
    site.write("".join(f'[jobs.job-{n}]\nschedule = "@daily"\npath = "/x"\nenabled = true\n' for n in range(60)))
    result = subprocess.run(
        ["sh", "-c", 'ulimit -n 128 && exec "$0" doctor job-1 --json', TOCSIN],
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 1
    (finding,) = [one for one in json.loads(result.stdout) if one["check"] == "machine.limits"]
    assert finding["status"] == "FAIL"
    assert finding["detail"] == "60 jobs need 184 open files, and the hard limit is 128, enough for 32 jobs"


def test_no_line_of_a_broken_supervisord_file_is_shown(site: Site) -> None:
    (site.folder / "supervisord.conf").write_text('environment=CRON_SECRET="TOP-SECRET-VALUE"\n[program:tocsin]\n')
    found = site.only("supervisord.file")
    assert found["status"] == "FAIL"
    assert "is not a supervisord file (line 1)" in str(found)
    assert "TOP-SECRET" not in str(found)


def test_supervisord_kills_before_the_drain_is_over(site: Site) -> None:
    (site.folder / "supervisord.conf").write_text("[program:tocsin]\ncommand=tocsin run\nstopwaitsecs=20\n")
    found = {one["check"]: one for one in site.doctor()}
    assert site.code == 1
    assert found["supervisord.stopwaitsecs"]["status"] == "FAIL"
    assert found["supervisord.autorestart"]["status"] == "warning"
    shipped = Path(__file__).parents[2] / "supervisord.conf"
    assert site.only("supervisord.program", "--supervisord", str(shipped))["status"] == "ok"

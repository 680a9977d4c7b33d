"""The image that the Dockerfile describes: what is in it, and that it runs as its user."""

import http.client
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from container import AS_ROOT, PATIENCE, ROOT, Image, members, stopped
from harness import free_port

SECRET = "a-secret-of-the-container-tests"
SYSTEM = ("apt-get ", "groupadd ", "useradd ", "rm -rf /var/lib/apt/lists")


def wait_for(image: Image, check: list[str], process: subprocess.Popen[str], **environment: str) -> None:
    """Until the check, run inside the image, ends with 0."""
    deadline = time.monotonic() + PATIENCE
    while (ended := image.ends(*check, **environment))[0] != 0:
        assert process.poll() is None, "it ended early; its output stands below"
        assert time.monotonic() < deadline, f"the check never passed: {ended[1]}"
        time.sleep(0.2)


def test_what_only_the_image_can_do_is_what_it_should_be(image: Image) -> None:
    assert all(step.strip().startswith(SYSTEM) for step in image.system), image.system
    assert any(re.search(r"apt-get install .*\btini\b", step) for step in image.system)
    assert any(f"useradd --uid {image.user} " in step for step in image.system)
    assert image.user >= 1000


def test_the_image_holds_no_build_tools_and_no_repository(image: Image) -> None:
    names = {path.name for path in (image.root / "srv" / "tocsin").iterdir()}
    assert names == {"venv", "var", "supervisord.conf", "foreground.conf", "tocsin.toml"}
    packages = {path.name for path in image.root.glob("srv/tocsin/venv/lib/python3*/site-packages/*")}
    assert {"tocsin", "supervisor"} <= packages
    assert not {"pip", "hatchling", "pytest"} & packages


def test_the_app_and_the_daemon_run_as_an_unprivileged_user(image: Image) -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    app_port, port = free_port(), free_port()
    app_service = compose["services"]["app"]
    entry = image.command["ENTRYPOINT"]
    assert shutil.which(entry[0]), f"{entry[0]} is missing; `make test` installs it"
    app = image.start(
        *entry, *(word.replace("0.0.0.0:3000", f"127.0.0.1:{app_port}") for word in app_service["command"]),
        CRON_SECRET=SECRET,
    )  # fmt: skip
    try:
        kind, *check = app_service["healthcheck"]["test"]
        assert kind == "CMD"
        wait_for(image, [word.replace(":3000", f":{app_port}") for word in check], app)
        given = {
            "API_BASE_URL": f"http://127.0.0.1:{app_port}",
            "CRON_SECRET": SECRET,
            "LOG_LEVEL": "info",
            "TOCSIN_LISTEN": "127.0.0.1:${PORT}",  # as docs/deploy.md has it
            "PORT": str(port),
        }
        assert image.ends(*image.command["HEALTHCHECK"], **given)[0] != 0  # nothing runs yet
        daemon = image.start(*entry, *image.command["CMD"], **given)
        try:
            wait_for(image, image.command["HEALTHCHECK"], daemon, **given)
            for listen in (str(port), "${PORT:-1}", f"${{UNSET:-{port}}}"):
                ended = image.ends(*image.command["HEALTHCHECK"], **{**given, "TOCSIN_LISTEN": f"127.0.0.1:{listen}"})
                assert ended == (0, ""), listen
            code, said = image.ends("tocsin", "fire", "sla-check", **given)
            assert code == 0, said
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/metrics")
            metrics = connection.getresponse().read().decode()
            connection.close()
            processes = members(daemon.pid)
            owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes}
            commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes}
        finally:
            log = stopped(daemon)
    finally:
        app_log = stopped(app)
    assert re.search(r'^tocsin_job_runs_total\{job_name="sla-check",outcome="success"\} [1-9]', metrics, re.MULTILINE)
    assert owners == {image.user if AS_ROOT else os.geteuid()}
    assert len(processes) >= 6  # tini, supervisord, the parent, ledger, exporter, one job
    assert not any(SECRET.encode() in command for command in commands.values())
    assert "sla-check" in log
    assert SECRET not in log + app_log
    assert daemon.returncode == app.returncode == 0
    left = {path.name for path in (image.root / "srv/tocsin/var").iterdir()}
    assert "supervisor.sock" not in left
    assert any(name.endswith((".db", ".sqlite")) for name in left), left

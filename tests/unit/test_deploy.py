"""The files of deploy/ and compose.yaml, against the hosts' published schema where there is one, else their rules.

The rules are those of the documents named beside each; what a file starts is run in integration/test_hosts.py.
"""

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from tocsin.jobfile.tables import DaemonTable
from tocsin.jobfile.values import parse_duration

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PORT = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)[0]
(VOLUME,) = re.findall(r"^COPY --from=build --chown=10001:10001 \S+ (\S+)$", DOCKERFILE, re.MULTILINE)
SECRETS = {"CRON_SECRET", "TOCSIN_PASSWORD"}
FLY: dict[str, Any] = tomllib.loads((DEPLOY / "fly/fly.toml").read_text())
(RENDER,) = yaml.safe_load((DEPLOY / "render/render.yaml").read_text())["services"]
APP: dict[str, Any] = yaml.safe_load((DEPLOY / "digitalocean/app.yaml").read_text())
(WORKER,) = APP["workers"]
RAILWAY = (DEPLOY / "railway/railway.ts").read_text()
UNIT = (DEPLOY / "systemd/tocsin.service").read_text()


def test_compose_holds_against_its_published_schema() -> None:
    """compose-spec, as the package check-jsonschema carries it (Apache-2.0)."""
    command = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(ROOT / "compose.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def wait() -> int:
    """supervisord's, in seconds, from SIGTERM to SIGKILL."""
    conf = configparser.RawConfigParser()
    conf.read(ROOT / "supervisord.conf")
    return conf.getint("program:tocsin", "stopwaitsecs")


@pytest.mark.parametrize(
    ("grace", "most"),
    [
        pytest.param(FLY["kill_timeout"], 300, id="fly.io/docs/reference/configuration"),
        pytest.param(RENDER["maxShutdownDelaySeconds"], 300, id="render.com/docs/blueprint-spec"),
        pytest.param(
            WORKER["termination"]["grace_period_seconds"], 600, id="docs.digitalocean.com, how-to/configure-termination"
        ),
        pytest.param(int(re.findall(r"drainingSeconds: (\d+)", RAILWAY)[0]), 3600, id="docs.railway.com, deployments"),
        pytest.param(int(re.findall(r"TimeoutStopSec=(\d+)", UNIT)[0]), 3600, id="systemd.service(5)"),
    ],
)
def test_the_host_waits_longer_than_supervisord_and_that_longer_than_the_drain(grace: int, most: int) -> None:
    assert DaemonTable.model_fields["drain"].default < wait() < grace <= most


def test_heroku_kills_after_30_seconds_and_the_documented_drain_is_over_by_then() -> None:
    (drain,) = re.findall(r'^drain = "(\w+)"', (ROOT / "docs/deploy.md").read_text(), re.MULTILINE)
    assert parse_duration(drain) < 30 - 5  # devcenter.heroku.com/articles/dyno-shutdown-behavior


def test_fly_has_the_keys_of_its_reference() -> None:
    assert set(FLY) == {
        *("app", "primary_region", "kill_signal", "kill_timeout", "env", "deploy"),
        *("mounts", "http_service", "restart", "vm"),
    }
    assert FLY["kill_signal"] == "SIGTERM"
    assert FLY["deploy"] == {"strategy": "rolling"}  # canary and bluegreen cannot be used with volumes
    (mount,) = FLY["mounts"]
    assert set(mount) == {"source", "destination", "initial_size", "snapshot_retention"}
    assert re.fullmatch(r"[a-z0-9_]{1,30}", mount["source"])
    assert mount["destination"] == VOLUME
    service = FLY["http_service"]
    assert set(service) == {"internal_port", "force_https", "auto_stop_machines", "auto_start_machines", "checks"}
    assert str(service["internal_port"]) == PORT
    assert (service["auto_stop_machines"], service["auto_start_machines"]) == ("off", False)
    (check,) = service["checks"]
    assert set(check) == {"method", "path", "interval", "timeout", "grace_period"}
    assert check["path"] == "/healthz"
    assert FLY["restart"] == [{"policy": "always"}]
    assert not SECRETS & set(FLY["env"])


def test_render_has_the_keys_of_its_blueprint_specification() -> None:
    assert (RENDER["type"], RENDER["runtime"]) == ("web", "docker")
    assert set(RENDER) == {
        *("type", "name", "runtime", "dockerfilePath", "dockerContext", "region", "plan", "branch"),
        *("autoDeployTrigger", "numInstances", "healthCheckPath", "maxShutdownDelaySeconds", "disk", "envVars"),
    }
    assert RENDER["numInstances"] == 1
    assert RENDER["disk"] == {"name": "tocsin-state", "mountPath": VOLUME, "sizeGB": 1}
    assert RENDER["plan"] != "free"  # which can have no disk
    assert RENDER["healthCheckPath"] == "/healthz"
    variables = {one["key"]: one for one in RENDER["envVars"]}
    assert str(variables["PORT"]["value"]) == PORT
    assert all("value" not in variables[name] for name in SECRETS)
    for one in variables.values():
        assert len(set(one) & {"value", "sync", "generateValue"}) == 1
    assert (ROOT / RENDER["dockerfilePath"]).exists()


def test_digitalocean_has_the_keys_of_its_app_specification() -> None:
    assert set(APP) == {"name", "region", "workers"}
    assert set(WORKER) == {
        *("name", "github", "dockerfile_path", "instance_count", "instance_size_slug", "liveness_health_check"),
        *("termination", "envs"),
    }
    assert set(WORKER["github"]) == {"repo", "branch", "deploy_on_push"}
    for name in (APP["name"], WORKER["name"]):
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,30}[a-z0-9]", name)
    assert WORKER["instance_count"] == 1
    health = WORKER["liveness_health_check"]
    assert (health["http_path"], str(health["port"])) == ("/healthz", PORT)
    bounds = {"initial_delay_seconds": 3600, "period_seconds": 300, "timeout_seconds": 120, "failure_threshold": 50}
    assert all(1 <= health[name] <= most for name, most in bounds.items())
    assert set(health) == {"http_path", "port", *bounds}
    variables = {one["key"]: one for one in WORKER["envs"]}
    assert {name for name, one in variables.items() if one.get("type") == "SECRET"} == SECRETS
    assert {one["scope"] for one in variables.values()} == {"RUN_TIME"}


def test_railway_mounts_the_state_and_never_runs_two() -> None:
    assert f'volumeMounts: {{ "{VOLUME}": state }}' in RAILWAY
    assert f'PORT: "{PORT}"' in RAILWAY
    assert "overlapSeconds: 0" in RAILWAY
    (region,) = re.findall(r'volume\("tocsin-state", { region: "(\S+)"', RAILWAY)
    assert f'replicas: {{ "{region}": 1 }}' in RAILWAY
    assert all(f"{name}: preserve()" in RAILWAY for name in SECRETS)


def test_railway_builds_the_dockerfile() -> None:
    """Cache mounts need its service's id (docs.railway.com/builds/dockerfiles), and VOLUME is refused."""
    assert "--mount" not in DOCKERFILE.replace("`RUN --mount=type=cache`", "")
    assert not re.search(r"^VOLUME", DOCKERFILE, re.MULTILINE)


def test_heroku_installs_what_the_locks_have_a_hash_for_and_then_tocsin(tmp_path: Path) -> None:
    """Its buildpack's `pip install -r requirements.txt`, then bin/post_compile (README and bin/compile there)."""
    for name in ("requirements.lock", "requirements-build.lock", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "daemon", tmp_path / "daemon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(DEPLOY / "heroku", tmp_path, dirs_exist_ok=True)
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    report = tmp_path / "report.json"
    dry = ["pip", "install", "--dry-run", "--no-index", "--require-hashes", "--quiet", "--report", str(report)]
    done = subprocess.run(
        [*dry, "-r", "requirements.txt"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["install"] == []  # all is here already, in the locked versions
    done = subprocess.run(
        ["bin/post_compile"],
        cwd=tmp_path,
        env=environment | {"PIP_TARGET": str(tmp_path / "site"), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (process,) = (tmp_path / "Procfile").read_text().splitlines()
    command = process.split()[-2]
    assert (tmp_path / "site" / "bin" / command).exists()
    assert re.fullmatch(r"3\.1[1-4]\n", (tmp_path / ".python-version").read_text())


def test_debians_section_says_what_ours_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "ours": (ROOT / "supervisord.conf").read_text(),
        "debians": "[supervisord]\n" + (DEPLOY / "supervisor/tocsin.conf").read_text().replace("user=tocsin\n", ""),
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var" / "log").mkdir(parents=True)
    found: dict[str, dict[str, Any]] = {}
    for name, text in texts.items():
        file = tmp_path / f"{name}.conf"
        file.write_text(text.replace("/opt/tocsin", str(tmp_path)).replace("/var/log/supervisor/", f"{tmp_path}/"))
        options = ServerOptions()
        options.realize(["-c", str(file)])
        (program,) = options.process_group_configs[0].process_configs
        found[name] = {key: value for key, value in vars(program).items() if key not in ("options", "stdout_logfile")}
    assert found["debians"].pop("command") == f"{tmp_path}/.venv/bin/{found['ours'].pop('command')}"
    assert found["debians"] == found["ours"]
    assert "user=tocsin\n" in (DEPLOY / "supervisor/tocsin.conf").read_text()

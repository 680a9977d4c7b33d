"""The files of examples/nextjs-ticketing agree with each other, and keep secrets and other registries out."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tocsin import config
from tocsin.jobfile.tables import DaemonTable
from tocsin.jobfile.values import parse_duration

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nextjs-ticketing"
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_the_packages_are_what_was_seen_wherever_they_come_from() -> None:
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    assert not any("resolved" in one for one in packages.values()), "npm asks the registry that is configured"
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())


def test_every_version_is_exact() -> None:
    package = json.loads((EXAMPLE / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"[\d.]+", version) for version in versions.values()), versions


def test_tocsin_and_vercel_call_the_route_that_there_is_equally_often() -> None:
    given = {"API_BASE_URL": "http://127.0.0.1:3000", "CRON_SECRET": "the-secret-of-this-test"}
    (job,) = config.load(EXAMPLE / "tocsin.toml", given).jobs.values()
    (cron,) = json.loads((EXAMPLE / "vercel.json").read_text())["crons"]
    assert job.url == given["API_BASE_URL"] + cron["path"]
    assert job.schedule is not None
    assert job.schedule.expression == cron["schedule"]
    route = (EXAMPLE / "app" / cron["path"].strip("/") / "route.ts").read_text()
    assert {"GET", job.method} <= set(re.findall(r"^export async function ([A-Z]+)\(", route, re.MULTILINE))


def test_every_variable_is_in_the_example_env_and_no_secret_has_a_value() -> None:
    sources = [*EXAMPLE.glob("lib/*.ts"), *EXAMPLE.glob("app/**/*.ts"), EXAMPLE / "middleware.ts"]
    read = {name for file in sources for name in re.findall(r"process\.env\.(\w+)", file.read_text())}
    offered = dict(re.findall(r"^(\w+)=(.*)$", (EXAMPLE / ".env.example").read_text(), re.MULTILINE))
    assert read - {"LOGIN_GUARDS_CRON"} == set(offered) - {"API_BASE_URL", "HOSTNAME"}
    assert {name for name in offered if re.search("SECRET|PASSWORD", name) and offered[name]} == set()


def test_every_service_of_compose_is_confined() -> None:
    for name, table in SERVICES.items():
        assert table["cap_drop"] == ["ALL"], name
        assert table["security_opt"] == ["no-new-privileges:true"], name
    assert SERVICES["database"]["user"] == "postgres"
    assert {"mem_limit", "pids_limit"} <= set(SERVICES["database"])


def test_compose_keeps_the_calls_inside_and_has_no_secret_of_its_own() -> None:
    assert set(SERVICES) == {"app", "tocsin", "database"}
    for name in ("app", "tocsin"):
        given = SERVICES[name]["environment"]
        secrets = {key: value for key, value in given.items() if re.search("SECRET|APP_PASSWORD", key)}
        assert secrets
        assert all(value == f"${{{key}:?set it in .env}}" for key, value in secrets.items())
    assert [port for table in SERVICES.values() for port in table.get("ports", [])] == [
        "127.0.0.1:3000:3000",
        "127.0.0.1:9911:9911",
    ]
    assert {name for name, table in COMPOSE["networks"].items() if table.get("internal")} == {"calls", "data"}
    assert SERVICES["database"]["networks"] == ["data"]
    assert "data" not in SERVICES["tocsin"]["networks"]
    for table in SERVICES.values():
        for source in (one.split(":")[0] for one in table.get("volumes", [])):
            assert source in COMPOSE["volumes"] or (EXAMPLE / source).is_file()
    drain = DaemonTable.model_fields["drain"].default
    assert drain < parse_duration(SERVICES["tocsin"]["stop_grace_period"])


def test_what_is_built_and_what_is_secret_stays_here() -> None:
    ignored = {file: (EXAMPLE / file).read_text().split() for file in (".gitignore", ".dockerignore")}
    assert {"node_modules/", ".next/", ".env"} <= set(ignored[".gitignore"])
    assert {"node_modules", ".next", "**/.env*"} <= set(ignored[".dockerignore"])
    assert re.search(r'^exclude = \["node_modules", "\.next",.*"\.env"', (ROOT / "pyproject.toml").read_text(), re.M)

"""compose.yaml, .dockerignore and the Dockerfile agree with each other and with what they run."""

import configparser
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tocsin.jobfile.tables import DaemonTable
from tocsin.jobfile.values import parse_duration

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def mounts(service: str) -> dict[str, str]:
    """Where in the container -> what is mounted there."""
    return {one.split(":")[1]: one.split(":")[0] for one in SERVICES[service].get("volumes", [])}


def test_the_four_services() -> None:
    assert set(SERVICES) == {"app", "tocsin", "prometheus", "grafana"}


def test_secrets_have_no_default() -> None:
    given = {
        f"{service}.{name}": value
        for service, table in SERVICES.items()
        for name, value in table.get("environment", {}).items()
        if re.search("SECRET|PASSWORD", name)
    }
    assert set(given) == {"app.CRON_SECRET", "tocsin.CRON_SECRET", "grafana.GF_SECURITY_ADMIN_PASSWORD"}
    assert all(re.fullmatch(r"\$\{[A-Z_]+:\?.+\}", value) for value in given.values()), given
    assert given["app.CRON_SECRET"] == given["tocsin.CRON_SECRET"]
    example = (ROOT / ".env.example").read_text()
    for value in given.values():
        assert re.search(rf"^(# )?{value[2:].partition(':')[0]}=$", example, re.MULTILINE), value


def test_every_page_is_for_this_machine_only() -> None:
    ports = [port for table in SERVICES.values() for port in table.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_app_that_the_comment_shows_has_a_way_to_its_database() -> None:
    """An internal network alone would have none."""
    comment = [
        line.strip().removeprefix("#")
        for line in (ROOT / "compose.yaml").read_text().splitlines()
        if line.startswith("  # ")
    ]
    shown = yaml.safe_load("\n".join(line for line in comment if line.startswith("   ")))
    app = shown["app"]
    inner = {name for name, table in COMPOSE["networks"].items() if (table or {}).get("internal")}
    assert "calls" in app["networks"]
    assert set(app["networks"]) - inner
    assert set(app["networks"]) <= set(COMPOSE["networks"])


def test_the_app_and_the_scrape_are_on_networks_without_a_way_out() -> None:
    inner = {name for name, table in COMPOSE["networks"].items() if (table or {}).get("internal")}
    assert inner == {"calls", "metrics"}
    assert SERVICES["app"]["networks"] == ["calls"]
    assert {"calls", "metrics"} < set(SERVICES["tocsin"]["networks"])
    for name, table in SERVICES.items():
        assert set(table["networks"]) <= set(COMPOSE["networks"]), name
        if "ports" in table:  # an internal network publishes nothing
            assert set(table["networks"]) - inner, name


def test_a_stop_leaves_time_to_drain() -> None:
    conf = configparser.RawConfigParser()
    conf.read(ROOT / "supervisord.conf")
    wait = conf.getint("program:tocsin", "stopwaitsecs")
    drain = DaemonTable.model_fields["drain"].default
    assert drain < wait < parse_duration(SERVICES["tocsin"]["stop_grace_period"])


def test_ours_can_write_their_volume_and_nothing_else() -> None:
    (volume,) = re.findall(r"^COPY --from=build --chown=10001:10001 \S+ (\S+)$", DOCKERFILE, re.MULTILINE)
    for name in ("app", "tocsin"):
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]  # supervisord asks Python for a temporary folder
        assert service["cap_drop"] == ["ALL"]
        assert mounts(name)[volume] in COMPOSE["volumes"]
    assert mounts("app")[volume] != mounts("tocsin")[volume]


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_others_wrote_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*[mg]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 200
    (state,) = [source for source in mounts(name).values() if not source.startswith(".")]
    assert state in COMPOSE["volumes"]


def test_ours_has_no_limit_that_many_jobs_would_meet() -> None:
    assert not {"mem_limit", "pids_limit"} & set(SERVICES["tocsin"])


EXAMPLE = ROOT / "examples/nextjs-ticketing"
PLACES = (DOCKERFILE, (EXAMPLE / "Dockerfile").read_text())
IMAGES = [
    *(image for text in PLACES for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE)),
    *(table["image"] for table in SERVICES.values()),
    *(
        table["image"]
        for table in yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"].values()
        if "image" in table
    ),
]


@pytest.mark.parametrize("image", sorted(set(IMAGES) - {"tocsin:local"}))
def test_an_image_has_a_release_for_its_tag(image: str) -> None:
    """As exact as a tag can be; docs/deploy.md says how to pin by digest."""
    assert re.fullmatch(r"[\w./-]+:v?(\d+\.\d+\.\d+|17\.\d+)(-[\w.-]+)?(@sha256:[0-9a-f]{64})?", image)


def test_what_is_mounted_from_here_exists() -> None:
    for name in SERVICES:
        for target, source in mounts(name).items():
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source} for {target}"
            else:
                assert source in COMPOSE["volumes"]


def test_each_service_says_whether_it_is_well() -> None:
    assert {name for name in SERVICES if "healthcheck" not in SERVICES[name]} == {"tocsin"}
    assert "HEALTHCHECK" in DOCKERFILE


def test_prometheus_scrapes_tocsin_under_the_name_that_the_rules_ask_for() -> None:
    config = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert scrape["job_name"] == "tocsin"
    assert scrape["static_configs"] == [{"targets": [f"tocsin:{port}"]}]
    assert 'job="tocsin"' in (ROOT / "grafana/prometheus/rules.yml").read_text()
    assert all((ROOT / "grafana/prometheus" / name).exists() for name in config["rule_files"])


def test_grafana_finds_its_dashboards_where_they_are_mounted() -> None:
    files = list((ROOT / "grafana/provisioning/dashboards").glob("*.y*ml"))
    paths = [
        provider["options"]["path"] for file in files for provider in yaml.safe_load(file.read_text())["providers"]
    ]
    assert paths
    assert set(paths) <= set(mounts("grafana"))


def copied() -> list[str]:
    """What the Dockerfile takes from this folder."""
    lines = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    return [name for names in lines for name in names]


def let_in(name: str) -> bool:
    """.dockerignore's rule: the last pattern that fits the name or a folder above it decides."""
    parts = name.split("/")
    names = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    inside = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern and not line.startswith("#") and any(fnmatch(one, pattern) for one in names):
            inside = line.startswith("!")
    return inside


@pytest.mark.parametrize("name", copied())
def test_what_the_dockerfile_copies_is_let_in(name: str) -> None:
    assert let_in(name)
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", [".env", ".git", "var", ".venv", "examples", "tests", "daemon/.env"])
def test_what_no_image_needs_stays_out(name: str) -> None:
    assert not let_in(name)

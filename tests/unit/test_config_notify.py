"""[notify] of the job file: who is told, and that no fault and no text shows their addresses."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from config_rig import ENVIRONMENT, GOOD, JOB, TARGET, Load, faults
from tocsin.config.notify import MOST, parts
from tocsin.redact import Redactor

TOKEN = "zq7x9KfPw2mVt4Rb8Ys1"
MAIL = f"mailto://me:hunter2@smtp.example.com?to=ops@example.com&from={TOKEN}@example.com"


def test_without_the_table_nobody_is_told(load: Load) -> None:
    assert load(GOOD).notify is None


def test_addresses_from_the_environment(load: Load) -> None:
    loaded = load('[notify]\nurls_env = "URLS"\n' + GOOD, ENVIRONMENT | {"URLS": f"{MAIL}\n\tntfy://{TOKEN} {MAIL}"})
    assert loaded.notify
    assert loaded.notify.urls == (MAIL, f"ntfy://{TOKEN}")
    assert TOKEN not in repr(loaded)
    assert {MAIL, "hunter2", TOKEN, f"ntfy://{TOKEN}"} <= loaded.hidden


def test_addresses_from_a_file_with_comments(load: Load, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text(f"# ours\n{MAIL}\n\n  # theirs\n  ntfy://{TOKEN}\n")
    loaded = load('[notify]\nurls_file = "urls"\n' + GOOD)
    assert loaded.notify
    assert loaded.notify.urls == (MAIL, f"ntfy://{TOKEN}")


@pytest.mark.parametrize(
    ("table", "environment", "why"),
    [
        ("", {}, "[notify]: names nobody to tell: set urls_env, urls_file or heartbeat_url_env"),
        ('gather = "5s"', {}, "[notify]: names nobody to tell: set urls_env, urls_file or heartbeat_url_env"),
        (
            'urls_env = "URLS"',
            {},
            "[notify] urls_env: environment variable URLS is not set (set it, or put it into .env)",
        ),
        ('urls_env = "URLS"', {"URLS": " \n"}, "[notify] urls_env: environment variable URLS holds no address"),
        (
            'urls_env = "URLS"',
            {"URLS": f"ntfy://a {TOKEN}"},
            "[notify] urls_env: address 2 of environment variable URLS is not one of Apprise's, for example mailto://, "
            "slack:// or ntfy://, in plain ASCII",
        ),
        (
            'urls_env = "URLS"\nurls_file = "x"',
            {"URLS": "ntfy://a"},
            "[notify] urls_file: cannot be combined with urls_env: use only one of them",
        ),
        (
            f'urls_env = "{TOKEN}/x"',
            {},
            "[notify] urls_env: must be the name of an environment variable, not the secret itself",
        ),
        (
            'heartbeat_url_env = "BEAT"',
            {"BEAT": f"ftp://{TOKEN}"},
            "[notify] heartbeat_url_env: environment variable BEAT is not a URL: write it in full, for "
            'example "https://app.example.com/path"',
        ),
        ('heartbeat_url_env = "BEAT"', {"BEAT": ""}, "[notify] heartbeat_url_env: environment variable BEAT is empty"),
        (
            'urls_env = "URLS"\ngather = "2h"',
            {"URLS": "ntfy://a"},
            '[notify] gather = "2h": must be less than or equal to 3600',
        ),
        ('url = "ntfy://a"', {}, '[notify] url = "ntfy://a": unknown key'),
    ],
)
def test_faults(load: Load, table: str, environment: dict[str, str], why: str) -> None:
    found = faults(load, f"[notify]\n{table}\n" + GOOD, ENVIRONMENT | environment)
    assert found == [f"tocsin.toml: {why}"]
    assert TOKEN not in "".join(found)


def test_too_many_addresses(load: Load) -> None:
    urls = " ".join(f"ntfy://topic-{number}" for number in range(MOST + 1))
    [why] = faults(load, '[notify]\nurls_env = "URLS"\n' + GOOD, ENVIRONMENT | {"URLS": urls})
    assert f"holds {MOST + 1} addresses; at most {MOST}" in why


def test_a_file_that_is_not_there(load: Load, tmp_path: Path) -> None:
    [why] = faults(load, '[notify]\nurls_file = "gone"\n' + GOOD)
    assert why == f"tocsin.toml: [notify] urls_file: cannot read {tmp_path}/gone: No such file or directory"


def test_without_apprise_the_fault_says_how_to_install_it(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def found(name: str, *more: Any) -> Any:
        return None if name == "apprise" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    [why] = faults(load, '[notify]\nurls_env = "URLS"\n' + GOOD, ENVIRONMENT | {"URLS": MAIL})
    assert why == "tocsin.toml: [notify] urls_env: needs Apprise: pip install 'tocsin[notify]'"
    only = load('[notify]\nheartbeat_url_env = "BEAT"\n' + GOOD, ENVIRONMENT | {"BEAT": "https://hc-ping.com/1"})
    assert only.notify, "a heartbeat needs no Apprise"


def test_a_jobs_ping(load: Load) -> None:
    held = ENVIRONMENT | {"PING": f"https://hc-ping.com/{TOKEN}"}
    loaded = load(GOOD + 'ping_url_env = "PING"\n', held)
    assert loaded.jobs["a"].ping_url == held["PING"]
    assert loaded.notify, "somebody has to ping"
    assert TOKEN in loaded.hidden
    assert TOKEN not in repr(loaded)
    [why] = faults(load, GOOD + 'ping_url_env = "PING"\n')
    assert why.startswith("tocsin.toml: [jobs.a] ping_url_env: environment variable PING is not set")


def test_defaults_for_all_jobs(load: Load) -> None:
    loaded = load("[defaults]\nnotify = false\nnotify_after = 7\n" + TARGET + JOB)
    assert (loaded.jobs["a"].notify, loaded.jobs["a"].notify_after) == (False, 7)


@pytest.mark.parametrize(
    ("url", "hidden", "shown"),
    [
        (MAIL, ["hunter2", "ops@example.com"], ["smtp.example.com"]),
        (f"slack://{TOKEN}/B{TOKEN}/x{TOKEN}", [TOKEN, f"B{TOKEN}", f"x{TOKEN}"], []),
        (f"ntfy://{TOKEN}@ntfy.example.com/alerts", [TOKEN], ["ntfy.example.com", "alerts"]),
        (f"tgram://123456789:{TOKEN}/98765432", [TOKEN], []),
        (
            f"jsons://me:p%40ss@127.0.0.1:8080/hook/{TOKEN}?+X-Key={TOKEN}",
            ["p@ss", "p%40ss", TOKEN],
            ["127.0.0.1", "hook"],
        ),
        (f"https://uptime.betterstack.com/api/v1/heartbeat/{TOKEN}", [TOKEN], ["uptime.betterstack.com", "heartbeat"]),
        ("http://[", [], []),
    ],
)
def test_what_of_an_address_is_hidden(url: str, hidden: list[str], shown: list[str]) -> None:
    redact = Redactor()
    redact.hide(parts(url))
    assert all(one not in redact(f"it was {one} there") for one in [url, *hidden])
    assert all(one in redact(f"it was {one} there") for one in shown)

"""Kubernetes CronJobs in JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.importing import kubernetes, toml
from tocsin.importing.found import Found
from tocsin.jobfile.faults import ConfigError

URL = "http://web.default.svc/api/cron/sla"
SECRET = "aB3dE5gH7jK9mN1pQ3sT5"


def cron_job(command: Any, *, spec: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "call", "image": "alpine", "command": command, **container}]}
    job = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}, **(spec or {})}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "sla-check"}, "spec": job}


def read(*items: Any) -> Found:
    document = items[0] if len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}
    return kubernetes.read(json.dumps(document), "cronjobs.json")


def test_schedule_zone_and_command_are_taken_over() -> None:
    words = ["curl", "-fsS", "-H", "Authorization: Bearer $(CRON_SECRET)", URL]
    found = read(cron_job(words, spec={"timeZone": "Europe/Berlin", "suspend": True}))
    (job,) = found.jobs
    assert (job.name, job.place) == ("sla-check", "sla-check")
    assert job.table == {
        "schedule": "*/5 * * * *",
        "timezone": "Europe/Berlin",
        "enabled": False,
        "method": "GET",
        "url": URL,
        "secret_env": "CRON_SECRET",
        "send_secret": "bearer",
    }
    assert [note.text for note in found.notes if note.kind == "set"] == [
        "CRON_SECRET: to the value that the commands of the container had in their environment"
    ]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"command": ["sh", "-c", f"curl -X POST {URL}"]}, {"method": "POST", "url": URL}),
        ({"command": None, "args": ["-m", "30", URL], "image": "curlimages/curl:8"}, {"url": URL, "timeout": "30s"}),
        ({"command": ["sh", "-c"], "args": [f"sleep 0; curl {URL}"]}, None),
        ({"command": ["curl", f"{URL}?a=$$(B)"]}, {"url": f"{URL}?a=$(B)"}),
        (
            {"command": ["curl", "$(BASE)/x"], "env": [{"name": "BASE", "value": "http://web.default.svc"}]},
            {"url": "http://web.default.svc/x"},
        ),
    ],
)
def test_commands(container: dict[str, Any], expected: dict[str, Any] | None) -> None:
    found = read(cron_job(**container))
    if expected is None:
        assert not found.jobs
    else:
        (job,) = found.jobs
        assert {key: job.table[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (cron_job(["/app/run.sh"]), "does not call curl or wget"),
        (cron_job([]), "has no command"),
        (cron_job(["curl", 5]), "has a command that is not a list of texts"),
        (cron_job(["curl", "\x01A\x02"]), "has control characters in its command"),
        (cron_job(["curl", URL], spec={"schedule": None}), "has no schedule"),
        (cron_job(["curl", URL], spec={"schedule": "61 * * * *"}), "minute '61'"),
        (cron_job(["curl", URL], spec={"timeZone": "Europe/Berln"}), "no such zone"),
        (cron_job(["curl", URL], spec={"jobTemplate": {}}), "runs no container"),
        ({"kind": "Job"}, "is not a CronJob"),
    ],
)
def test_what_cannot_be_taken_over_is_listed(item: Any, why: str) -> None:
    found = read(item, cron_job(["curl", URL]))
    assert len(found.jobs) == 1
    (note,) = [note for note in found.notes if note.kind == "left out"]
    assert why in note.text


def test_no_secret_is_copied() -> None:
    words = ["curl", "-H", f"X-Api-Key: {SECRET}", "-d", "token=$(TOKEN)", URL]
    found = read(cron_job(words, env=[{"name": "TOKEN", "value": SECRET + "x"}]))
    assert found.jobs
    assert SECRET not in toml.job_file([found], with_target=False) + str(found.notes)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["kind", "metadata", "spec", "items"])


@given(st.dictionaries(KEYS, VALUES), st.dictionaries(st.sampled_from(["command", "args", "env", "image"]), VALUES))
def test_whatever_stands_there_only_its_error_is_raised(document: Any, container: Any) -> None:
    for one in (document, {**document, "kind": "CronJob"}, {**cron_job(**{"command": ["curl", URL], **container})}):
        try:
            read(one)
        except ConfigError:
            continue

"""Whatever stands in a job file, it is loaded or its faults are named."""

import json
import tomllib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_rig import ENVIRONMENT, GOOD, outcome
from tocsin import config
from tocsin.jobfile.faults import shown
from tocsin.jobfile.tables import DaemonTable, JobTable, NotifyTable, TargetTable

pytestmark = pytest.mark.slow

scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.text(max_size=8),
    st.sampled_from(
        ["${X}", "${UNSET}", "${X:-d}", "5s", "* * * * *", "/x", "https://x.example/", "1MiB", "bearer", "none"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def table_of(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    keys = sorted({field.alias or name for name, field in model.model_fields.items()} | {"json_", "model_config", ""})
    return st.dictionaries(st.sampled_from(keys), values, max_size=5)


good_job = st.sampled_from(
    [{"schedule": "* * * * *", "path": "/x"}, {"every": "5s", "url": "https://app.example.com/y"}, {}]
)
jobs = st.builds(lambda good, drawn: {**good, **drawn}, good_job, table_of(JobTable))
good_target = st.sampled_from([{"base_url": "https://app.example.com"}, {}])
files = st.fixed_dictionaries(
    {},
    optional={
        "daemon": st.one_of(table_of(DaemonTable), values),
        "notify": st.one_of(table_of(NotifyTable), values),
        "target": st.one_of(
            st.builds(lambda good, drawn: {**good, **drawn}, good_target, table_of(TargetTable)), values
        ),
        "defaults": st.one_of(table_of(JobTable), values),
        "jobs": st.one_of(st.dictionaries(st.sampled_from(["a", "b", "A", ""]), jobs, max_size=2), values),
        "more": values,
    },
)


@given(files, st.sampled_from([ENVIRONMENT, {}, {**ENVIRONMENT, "X": "x", "TOCSIN_LISTEN": "x", "LOG_LEVEL": "X"}]))
def test_any_file_is_loaded_or_its_faults_are_named(
    tmp_path: Path, written: dict[str, Any], environment: dict[str, str]
) -> None:
    """Below the TOML: whatever tables and values a file holds."""
    (tmp_path / "tocsin.toml").write_text("")
    with patch.object(tomllib, "loads", return_value=written):
        found = outcome(lambda: config.load(tmp_path / "tocsin.toml", environment))
    if isinstance(found, list):
        assert found
        assert all(fault.why for fault in found)
    else:
        for one in found.jobs.values():
            assert one.timeout > 0
            assert one.max_reply >= 1
            assert one.body is None or isinstance(one.body, bytes)
            assert one.schedule.next_due(0) > 0


# Faults that have nothing to do with each other: table, key, value, and the key that the fault names.
FAULTS = [
    ("daemon", "listen", "nowhere", "listen"),
    ("daemon", "drain", 5, "drain"),
    ("daemon", "listen_user", "me", "listen_user"),
    ("daemon", "listen_bearer_env", "NOT_SET", "listen_bearer_env"),
    ("daemon", "retention", "${UNSET}", "retention"),
    ("target", "base_url", "app.example.com", "base_url"),
    ("target", "secret_env", "NOT_SET", "secret_env"),
    ("target", "signing_secret_env", "NOT_SET", "signing_secret_env"),
    ("target", "ca_file", "none.pem", "ca_file"),
    ("target", "colour", "red", "colour"),
    ("defaults", "max_reply", "much", "max_reply"),
    ("defaults", "url", "https://app.example.com/", "url"),
    ("jobs.a", "schedule", "0 0 30 2 *", "schedule"),
    ("jobs.a", "timeout", "soon", "timeout"),
    ("jobs.a", "grace", "${UNSET}", "grace"),
    ("jobs.a", "retries", 99, "retries"),
    ("jobs.a", "method", "HEAD", "method"),
    ("jobs.a", "timezone", "Europe/Berln", "timezone"),
    ("jobs.a", "path", "x", "path"),
    ("jobs.a", "secret_env", "NOT_SET", "secret_env"),
    ("jobs.a", "body", 3, "body"),
    ("jobs.a", "totals", {"a": "b..c"}, "totals.a"),
    ("jobs.a", "retry_on", ["5xx", "4xx"], "retry_on.1"),
    ("jobs.a", "schedul", "* * * * *", "schedul"),
    ("jobs.a", "headers", {"Host": "b", "X-A": "c"}, "headers.Host"),
    ("jobs.b", "json", [float("nan")], "json"),
    ("jobs.b", "every", "1500ms", "every"),
    ("jobs.b", "url", "http://app.example.com/", "url"),
    ("jobs.b", "headers", {"X-A": "${UNSET}", "X-B": "a"}, "headers.X-A"),
    ("jobs.b", "expect", {"status": ["2xx", "6xx"]}, "expect.status.1"),
    ("jobs.b", "secret_file", "none", "secret_file"),
    ("jobs.c", "headers", {"X-A": "\n"}, "headers.X-A"),
    ("jobs.c", "expect", {"json": {"a": [1]}}, "expect.json.a"),
    ("jobs.c", "arm", "maybe", "arm"),
]


@given(st.lists(st.sampled_from(FAULTS), min_size=1, unique_by=lambda fault: fault[:2]))
def test_every_fault_is_named_at_once_and_nothing_else(
    tmp_path: Path, planted: list[tuple[str, str, Any, str]]
) -> None:
    """One fault hides no other, also within one job, and brings about no other."""
    (tmp_path / "tocsin.toml").write_text("")
    written: dict[str, Any] = {
        "daemon": {},
        "target": {"base_url": "https://app.example.com"},
        "defaults": {},
        "jobs": {
            "a": {"schedule": "* * * * *", "path": "/a"},
            "b": {"every": "5s", "url": "https://app.example.com/b"},
            "c": {"every": "5s", "path": "/c"},
        },
    }
    for table, key, value, _ in planted:
        outer, _, inner = table.partition(".")
        (written[outer][inner] if inner else written[outer])[key] = value
    with patch.object(tomllib, "loads", return_value=written):
        found = outcome(lambda: config.load(tmp_path / "tocsin.toml", ENVIRONMENT))
    assert isinstance(found, list)
    assert sorted((fault.table, fault.key) for fault in found) == sorted((table, key) for table, _, _, key in planted)


@given(st.binary(max_size=60), st.text(max_size=60))
def test_any_bytes_are_a_job_file_or_a_config_error(tmp_path: Path, raw: bytes, text: str) -> None:
    file = tmp_path / "tocsin.toml"
    for content in (raw, text.encode("utf-8", "replace"), GOOD.encode() + text.encode("utf-8", "replace")):
        file.write_bytes(content)
        assert outcome(lambda: config.load(file, ENVIRONMENT))


def test_the_table_of_bad_keys_speaks_of_values_as_json() -> None:
    assert shown({"a": "ü"}) == json.dumps({"a": "ü"}, ensure_ascii=False)

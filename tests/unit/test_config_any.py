"""Whatever stands in a job file, it is loaded or its faults are named."""

import json
import tomllib
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from config_rig import ENVIRONMENT, GOOD, outcome
from tocsin import config
from tocsin.jobfile.faults import shown
from tocsin.jobfile.tables import DaemonTable, JobTable, TargetTable

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


@given(st.binary(max_size=60), st.text(max_size=60))
def test_any_bytes_are_a_job_file_or_a_config_error(tmp_path: Path, raw: bytes, text: str) -> None:
    file = tmp_path / "tocsin.toml"
    for content in (raw, text.encode("utf-8", "replace"), GOOD.encode() + text.encode("utf-8", "replace")):
        file.write_bytes(content)
        assert outcome(lambda: config.load(file, ENVIRONMENT))


def test_the_table_of_bad_keys_speaks_of_values_as_json() -> None:
    assert shown({"a": "ü"}) == json.dumps({"a": "ü"}, ensure_ascii=False)

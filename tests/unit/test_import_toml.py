"""What is written as TOML is read back as it was."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.importing import toml
from tocsin.importing.found import Found, FoundJob, literal
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.values import JOB_NAME

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # no half surrogate pairs: TOML has none
SCALARS = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3)


@given(st.from_regex(JOB_NAME, fullmatch=True), st.dictionaries(TEXT, VALUES, max_size=5), TEXT)
def test_a_table_is_read_back_as_it_was(name: str, keys: dict[str, Any], source: str) -> None:
    other = f"{name[:50]}-2"
    found = Found(source, [FoundJob(name, "", keys), FoundJob(other, "", {"path": "/x"})])
    written = toml.job_file([found], with_target=True)
    assert tomllib.loads(written) == {"target": toml.TARGET, "jobs": {name: keys, other: {"path": "/x"}}}


@given(TEXT | st.lists(st.sampled_from(["${", "$", "{", "}", "A", ":-", "DOLLAR"])).map("".join))
def test_a_literal_is_filled_in_as_itself(text: str) -> None:
    reader = Reader(Path("tocsin.toml"), {"A": "wrong"})
    assert reader.filled(literal(text), "", "") == text
    assert not reader.faults


@pytest.mark.parametrize("value", [1.5, None, b"x"])
def test_what_has_no_toml_here_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        toml.value(value)

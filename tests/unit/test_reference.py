"""The generated parts of the docs, and the committed schema, are what the code says now."""

from typing import get_args

import lifecycle_tables
import reference
from tocsin.parent.lifecycle import State


def test_the_life_of_a_child_is_told_in_every_state() -> None:
    assert {child.state for child in lifecycle_tables.PROCESS.values()} == set(get_args(State))


def test_they_are_current() -> None:
    made = reference.files()
    assert {file.name for file in made} >= {"job-file.md", "commands.md", "metrics.md", "tocsin.schema.json"}
    for file, text in made.items():
        assert file.read_text() == text, f"{file.name} is old: make docs"

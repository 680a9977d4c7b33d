"""The generated parts of the docs, and the committed schema, are what the code says now."""

import reference


def test_they_are_current() -> None:
    made = reference.files()
    assert {file.name for file in made} >= {"job-file.md", "commands.md", "metrics.md", "tocsin.schema.json"}
    for file, text in made.items():
        assert file.read_text() == text, f"{file.name} is old: make docs"

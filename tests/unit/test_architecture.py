"""The shape of the code: no file is long, and docs/architecture.md names every module in the part of its folder."""

import re
from collections import defaultdict

import pytest

from docs_pages import ROOT
from tocsin.cli import main

PACKAGE = ROOT / "daemon" / "tocsin"
MODULES = sorted(file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py") if file.name != "__init__.py")
LONGEST = 300  # lines: a reader finds a rule by the name of its file
COMMANDS = {f"commands/{name}.py" for name in main.commands}


def named() -> dict[str, set[str]]:
    """The modules that the map of docs/architecture.md names, by folder."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"```text\ndaemon/tocsin/\n(.*?)```", page, re.DOTALL)
    assert block
    folder, found = ".", defaultdict(set)
    for line in block[1].splitlines():
        if begins := re.match(r"  (\w+)/ ", line):
            folder = begins[1]
        found[folder].update(re.findall(r"\b\w+\.py\b", line))
    return found


def test_no_file_is_long() -> None:
    lines = {str(file): len((PACKAGE / file).read_text().splitlines()) for file in MODULES}
    assert {file: many for file, many in lines.items() if many > LONGEST} == {}


@pytest.mark.parametrize("folder", sorted({str(file.parent) for file in MODULES}))
def test_the_map_names_every_module(folder: str) -> None:
    there = {file.name for file in MODULES if str(file.parent) == folder and str(file) not in COMMANDS}
    assert there - named()[folder] == set()


def test_the_map_names_only_what_is_there() -> None:
    there = {file.name for file in MODULES} | {"__init__.py"}
    for folder, names in named().items():
        assert names <= there, f"{folder}: {names - there}"

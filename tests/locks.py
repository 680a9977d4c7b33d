"""The places that install a lock file, and what each lock names: for the tests of locks and set-up."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dist

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock")
HEROKU = ROOT / "deploy" / "heroku" / "requirements.txt"  # its buildpack runs `pip install -r` with no other option


@dataclass(frozen=True)
class Install:
    """One `pip install` of lock files, as a file of this tree has it."""

    place: str
    options: tuple[str, ...]
    locks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place} {'+'.join(self.locks)}"

    def words(self) -> list[str]:
        """What stands after `pip install`."""
        return [*self.options, *(word for lock in self.locks for word in ("-r", str(ROOT / lock)))]


def installs() -> list[Install]:
    """Every one there is in Makefile, Dockerfile, docs, deploy/ and examples/."""
    return [one for file in sorted(_files()) for one in _of(file)]


def _files() -> Iterator[Path]:
    yield from (ROOT / name for name in ("Makefile", "Dockerfile", "README.md", "CONTRIBUTING.md"))
    for folder in ("docs", "deploy", "examples"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and not {"node_modules", ".next", "images"} & set(file.parts):
                yield file


def _of(file: Path) -> Iterator[Install]:
    place = str(file.relative_to(ROOT))
    text = file.read_text(errors="replace")
    if file == HEROKU:
        yield Install(place, (), tuple(re.findall(r"^-r (\S+)$", text, re.MULTILINE)))
        return
    for line in re.sub(r"\\\n", " ", text).splitlines():
        for command in re.split(r"&&|;|\|", line):
            locks = tuple(re.findall(r"-r (\S+\.lock)\b", command))
            if locks and (found := re.search(r"\binstall (.*)", command)):
                options = re.sub(r"-r \S+", "", found[1]).split()
                yield Install(place, tuple(options), locks)


def named(*locks: str) -> dict[str, str]:
    """Name -> version of what these locks name for this Python and system."""
    return {canonicalize_name(one.name): version(one) for lock in locks for one in dist.locked(lock)}


def version(requirement: Requirement) -> str:
    [pin] = requirement.specifier
    assert pin.operator == "==", requirement
    return pin.version


# Debian 12's pip, that of Python 3.11, and the newest. The first one cannot be imported by a Python after 3.11.
PIPS = [*(["23.0.1"] if sys.version_info < (3, 12) else []), "23.2.1", "newest"]

"""The `.env` next to the job file.

It is also the app's file, and Node's dotenv, Next.js, Docker Compose and shells each read it by different rules. Where
they agree, this reader agrees with them. Where they differ, a variable that the job file uses gets a fault or a
warning. No value is changed silently:

- in single quotes it is taken literally;
- in double quotes \\n, \\r, \\t, \\", \\\\ and \\$ are escapes, and a ${reference} is filled in;
- without quotes it ends at a comment (a space and #), \\$ is a dollar sign, and a ${reference} is filled in.
"""

import io
import re
from collections.abc import Container, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tocsin import files
from tocsin.jobfile.faults import REFERENCE, Fault

SIZE = 1024**2  # bytes: thousands of variables; a larger file is not a .env
_LINE = re.compile(
    r"""(?:export[ \t]+)?(?P<name>[^=\#\s'"]+|'[^'\n]+')[ \t]*
    (?:=(?:[ \t]*'(?P<single>[^']*)' | [ \t]*"(?P<double>(?:\\.|[^"\\])*)" | (?P<bare>(?![ \t]*['"])[^\n]*)))?
    [ \t]*(?:\#[^\n]*)?(?=\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_SPECIAL = re.compile(r"\\(?P<escape>.)|(?P<open>\$\{)|\$[A-Za-z_]", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}  # in double quotes
_AGREED = {"n", "r", '"', "$"}  # the ones that Node's dotenv and Next.js read alike
_QUOTE = "put the value in single quotes to keep it unchanged"


@dataclass(slots=True)
class Dotenv:
    """`values` are the certain values. `unknown` are names whose value must be corrected first."""

    values: dict[str, str] = field(default_factory=dict)
    unknown: Set[str] = frozenset()
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    line: int
    quotes: Literal["single", "double", "bare"]
    text: str


def read(job_file: Path, environment: Mapping[str, str], used: Set[str] = frozenset()) -> Dotenv:
    """Read the `.env` next to the job file.

    References in it are filled in from the environment, else from earlier lines. Faults and warnings are only about
    lines that cannot be read and variables that are `used`.
    """
    found = Dotenv()
    file = job_file.parent / ".env"
    try:
        raw = b"" if file.is_dir() else files.read(file, SIZE, "a .env")  # a folder is a virtual environment
        text = io.StringIO(raw.decode("utf-8-sig"), newline=None).getvalue()
    except FileNotFoundError:
        return found
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        found.faults.append(Fault(".env", "", "", "", f"cannot read {file}: {why}"))
        found.unknown = used - environment.keys()
        return found
    entries = list(_entries(text, found.faults))
    unreadable = bool(found.faults)
    wanted = _with_references(entries, used - environment.keys())
    unknown: set[str] = set()
    lines: dict[str, int] = {}
    for entry in entries:
        value, fault, warnings = _value(entry, environment, found.values, unknown)
        unknown.discard(entry.name)
        if entry.name in wanted:
            if fault:
                found.faults.append(Fault(".env", "", f"line {entry.line}", "", f"{entry.name} {fault}"))
            before = found.values.get(entry.name)
            if before not in (None, value):
                warnings.append(f"is also set in line {lines[entry.name]}; this one counts")
            found.warnings += [f".env: line {entry.line}: {entry.name} {warning}" for warning in warnings]
        lines[entry.name] = entry.line
        if value is None:
            unknown.add(entry.name)
            found.values.pop(entry.name, None)
        else:
            found.values[entry.name] = value
    missing = used - environment.keys() - found.values.keys() if unreadable else frozenset()
    found.unknown = (unknown & wanted) | missing
    return found


def _entries(text: str, faults: list[Fault]) -> Iterator[_Entry]:
    """Return the assignments in order, and a fault for every other line."""
    place, line, counted = 0, 1, 0
    while (place := _skipped(text, place)) < len(text):
        line, counted = line + text.count("\n", counted, place), place
        found = _LINE.match(text, place)
        if not found or "\0" in found[0]:
            faults.append(Fault(".env", "", f"line {line}", "", "is not NAME=VALUE (is a quote left open?)"))
            place = (text.find("\n", place) + 1) or len(text)
            continue
        place = found.end()
        if found.lastgroup == "single":
            yield _Entry(found["name"].strip("'"), line, "single", found["single"])
        elif found.lastgroup == "double":
            yield _Entry(found["name"].strip("'"), line, "double", found["double"])
        elif found.lastgroup == "bare":
            yield _Entry(
                found["name"].strip("'"), line, "bare", re.split("[ \t]#", found["bare"], maxsplit=1)[0].strip()
            )


def _skipped(text: str, place: int) -> int:
    """Return the position of the next statement, after white space and comments."""
    while place < len(text) and (text[place].isspace() or text[place] == "#"):
        place = (text.find("\n", place) + 1) or len(text) if text[place] == "#" else place + 1
    return place


def _with_references(entries: list[_Entry], used: Container[str]) -> set[str]:
    """Return the variables that are used, and those that their values refer to (in earlier lines)."""
    wanted: set[str] = set()
    for entry in reversed(entries):
        if entry.name in used or entry.name in wanted:
            wanted.add(entry.name)
            if entry.quotes != "single":
                wanted |= {name for name, _ in REFERENCE.findall(entry.text)}
    return wanted


def _value(
    entry: _Entry, environment: Mapping[str, str], values: Mapping[str, str], unknown: Container[str]
) -> tuple[str | None, str, list[str]]:
    """Return the value (None if it is not certain), its fault, and a warning if other programs read it differently."""
    text, warnings = entry.text, []
    if entry.quotes == "single":
        return text, "", []
    if entry.quotes == "bare" and "#" in text:
        warnings.append("contains a #, where some programs start a comment; put the value in quotes")
    if entry.quotes == "bare" and len(text) > 1 and text[0] == text[-1] == "`":
        warnings.append(f"is in backticks, which only some programs treat as quotes; {_QUOTE}")
    parts: list[str] = []
    end = 0
    for one in _SPECIAL.finditer(text):
        if one.start() < end:
            continue  # inside a reference
        parts.append(text[end : one.start()])
        end = one.end()
        if escape := one["escape"]:
            if entry.quotes == "bare":
                parts.append("$" if escape == "$" else one[0])
            else:
                parts.append(_ESCAPES.get(escape, one[0]))
                if escape not in _AGREED:
                    warnings.append(f"has a backslash in double quotes, which programs read differently; {_QUOTE}")
        elif not one["open"]:
            parts.append(one[0])
            warnings.append(f"has a $ before a word, where some programs expand a variable; {_QUOTE}")
        elif not (reference := REFERENCE.match(text, one.start())):
            return None, f"has a ${{ that is not ${{NAME}} or ${{NAME:-default}}; {_QUOTE}", warnings
        else:
            end = reference.end()
            name, default = reference[1], reference[2]
            if name in unknown and not environment.get(name):
                return None, "", warnings
            held = environment.get(name) or values.get(name) or default
            if default is not None and "${" in default:
                return None, f"has a default of {name} that contains another reference: use plain text", warnings
            if held is None or (not held and default is None):
                state = "empty" if name in environment or name in values else "not set"
                return None, f"refers to ${{{name}}}, which is {state}; set {name}, or {_QUOTE}", warnings
            parts.append(held)
    return "".join(parts) + text[end:], "", list(dict.fromkeys(warnings))

"""Faults of a job file: where, which value, and what would be right."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tocsin.redact import names_a_secret, public

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NAMES_ONE = re.compile(r"(?:.*_(?:env|file)|send_secret)(?:\.[0-9]+)?")  # keys that name the place of a secret
LONGEST = 4000  # characters of a value that are searched: twice the longest address
SHOWN = 80  # characters of a wrong value in an error


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where it is, and what would be right."""

    file: str
    table: str
    key: str
    value: str
    why: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.table and f"[{self.table}]", self.key) if part)
        value = f" = {self.value}" if self.value else ""
        whole = f"{self.file}: {place}{value}: {self.why}" if place else f"{self.file}: {self.why}"
        whole = whole.encode(errors="replace").decode()  # a path may not be UTF-8, but messages and logs must be
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in whole)  # and one line


class ConfigError(Exception):
    """The job file cannot be used. `faults` lists every reason."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def shown(value: Any, key: str = "") -> str:
    """Write a wrong value for an error: as JSON, shortened, and without parts that may be secrets."""
    text = json.dumps(value if key == "schedule" else without_secrets(value, key), default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def without_secrets(value: Any, key: str = "") -> Any:
    """Remove what may be a secret from a value, judged by the name of its key, header or parameter, or by its look."""
    named = names_a_secret(key) and not _NAMES_ONE.fullmatch(key)
    if isinstance(value, dict):
        return {name: without_secrets(one, key if named else str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [without_secrets(one, key) for one in value]
    if not isinstance(value, str):
        return "…" if named and not isinstance(value, bool | None) else value
    text = REFERENCE.sub(_without_default, value[:LONGEST])
    if not named:
        return public(text)
    return re.sub(r"(\$\{[^}]*\})|[^$]+|[$]", lambda one: one[1] or "…", text)


def _without_default(reference: re.Match[str]) -> str:
    name, default = reference[1], reference[2]
    return f"${{{name}:-…}}" if default and names_a_secret(name) else reference[0]

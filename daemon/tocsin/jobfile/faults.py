"""What is wrong with a job file: where it stands, what stands there, and what would be right."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SHOWN = 80  # characters of a wrong value that an error repeats


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, where it stands, and what would be right."""

    file: str
    table: str
    key: str
    value: str
    why: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.table and f"[{self.table}]", self.key) if part)
        value = f" = {self.value}" if self.value else ""
        whole = f"{self.file}: {place}{value}: {self.why}" if place else f"{self.file}: {self.why}"
        whole = whole.encode(errors="replace").decode()  # a path need not be UTF-8, a message and a log must be
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in whole)  # and on one line


class ConfigError(Exception):
    """The job file cannot be used; `faults` lists every reason."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

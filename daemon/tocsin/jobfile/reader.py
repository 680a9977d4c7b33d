"""Reads the tables of a job file, and finds every fault."""

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tocsin.jobfile.faults import REFERENCE, Fault, nearest, shown
from tocsin.jobfile.tables import RENAMED, ExpectTable, Table

SHORTEST_HIDDEN = 4  # characters of a variable's value that errors hide: hiding "1" would garble them

_NOTHING = object()
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/\S*)?")
_T = TypeVar("_T", bound=Table)


class Reader:
    """Reads tables as models, with ${references} filled in, and collects every fault.

    An error shows a value as *written*: a reference instead of the variable's value.
    """

    def __init__(self, file: Path, environment: Mapping[str, str], unknown: Set[str] = frozenset()) -> None:
        """`unknown` are variables whose value is not certain. Their fault is reported elsewhere."""
        self.file = file
        self.environment = environment
        self.unknown = unknown
        self.faults: list[Fault] = []
        self.held: dict[str, str] = {}  # the value of a variable -> the reference to it
        self._unfilled: list[str] = []  # keys of the current table whose references could not be filled in

    def fault(self, table: str, key: str, why: str, value: Any = _NOTHING) -> None:
        secret = isinstance(value, str) and value in self.held
        written = "" if value is _NOTHING or secret else shown(value, key)
        for held, reference in self.held.items():
            why = why.replace(held, reference)
        self.faults.append(Fault(self.file.name, table, key, written, why))

    def filled(self, value: Any, table: str, key: str) -> Any:
        """Fill in the ${references} of a value. A variable that is not set is a fault."""
        if isinstance(value, dict):
            return {k: self.filled(v, table, f"{key}.{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v, table, f"{key}.{n}") for n, v in enumerate(value)]
        if not isinstance(value, str):
            return value

        def faulty(why: str) -> None:
            self._unfilled.append(key)
            self.fault(table, key, why, value)

        def fill(found: re.Match[str]) -> str:
            name, default = found[1], found[2]
            held = self.environment.get(name)
            if name in self.unknown:
                self._unfilled.append(key)
                return found[0]
            if held and len(held) >= SHORTEST_HIDDEN:
                self.held[held] = f"${{{name}}}"
            if held and not _is_text(held):
                faulty(f"environment variable {name} is not UTF-8")
                return ""
            if default is not None and "${" in default:
                faulty(f"the default of {name} is plain text and cannot hold another reference")
            if default is not None:
                return held or default
            if held:
                return held
            state = "empty" if held == "" else "not set"
            faulty(f"environment variable {name} is {state} (set it, or put it into .env)")
            return found[0]

        return REFERENCE.sub(fill, value)

    def read(self, kind: type[_T], written: dict[str, Any], table: str) -> tuple[_T, frozenset[str]]:
        """Return the table as its model, and its faulty keys. In the model these have their defaults, so that the rest
        can be checked too."""
        self._unfilled = []
        filled = {key: self.filled(value, table, key) for key, value in written.items()}
        unfilled = tuple(self._unfilled)
        faulty = {key for key in filled if any(_is_within(one, key) for one in unfilled)}
        try:
            model = kind.model_validate(filled)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                place = tuple(step for step in one["loc"] if step != "[key]")  # the name of an entry, not its value
                key = ".".join(map(str, place))
                faulty.add(str(place[0]))
                if any(_is_within(key, known) for known in unfilled):
                    continue
                mistaken = key.endswith("_env")  # the value may be the secret itself
                value = _NOTHING if mistaken or place != one["loc"] else _at(written, place)
                why = _without_scheme(key, value, filled.get(key)) or _why(one, kind)
                self.fault(table, key, why, value)
        else:
            if not faulty:
                return model, frozenset()
        return kind.model_validate({key: one for key, one in filled.items() if key not in faulty}), frozenset(faulty)

    def model(self, kind: type[_T], written: dict[str, Any], table: str) -> _T | None:
        """Return the table as its model, or None after adding its faults."""
        model, faulty = self.read(kind, written, table)
        return None if faulty else model


def _is_within(key: str, outer: str) -> bool:
    """Whether a dotted key is `outer` or an entry of it."""
    return key == outer or key.startswith(f"{outer}.")


def _without_scheme(key: str, written: Any, filled: Any) -> str:
    """Suggest a value if a URL is a variable that holds only a host, else ""."""
    name = REFERENCE.fullmatch(written) if isinstance(written, str) and key in ("base_url", "url") else None
    if not name or not _HOST.fullmatch(str(filled)):
        return ""
    return f"environment variable {name[1]} has no https:// in front: for example {name[1]}=https://app.example.com"


def _is_text(value: str) -> bool:
    """Whether the value can be UTF-8: an environment variable may hold any bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why(error: Any, kind: type[Table]) -> str:
    """Write pydantic's error in our own words."""
    match error["type"]:
        case "extra_forbidden":
            within: type[Table] = ExpectTable if len(error["loc"]) > 1 else kind  # the only nested table
            known = [field.alias or name for name, field in within.model_fields.items()]
            key = str(error["loc"][-1])
            if RENAMED.get(key) in known:
                return f"{key} is now called {RENAMED[key]}"
            return f"unknown key{nearest(key, known)}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "literal_error":
            return f"must be {error['ctx']['expected']}"
        case "string_type":
            return "must be text, in quotes"
        case "dict_type" | "model_type":
            return "must be a table: { … }"
        case "list_type":
            return "must be a list: [ … ]"
        case "int_parsing":
            return "must be a whole number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_too_short" | "string_too_long" | "too_long" as kind_of_length:
            least, most = error["ctx"].get("min_length"), error["ctx"].get("max_length")
            what = "entries" if kind_of_length == "too_long" else "characters"
            return f"must have at most {most} {what}" if most else f"must have at least {least} {what}"
    message: str = error["msg"]
    return message.replace("Input should be", "must be")


def _at(written: Any, place: tuple[int | str, ...]) -> Any:
    """Return the value at a place in the file, or of the nearest place around it."""
    for step in place:
        try:
            written = written[step]
        except (KeyError, IndexError, TypeError):
            return written if not isinstance(written, dict) else _NOTHING
    return written

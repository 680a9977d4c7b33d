"""Reads the tables of a job file, and finds every fault on the way."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tocsin.jobfile.faults import Fault, nearest, shown
from tocsin.jobfile.tables import ExpectTable, Table

SHORTEST_HIDDEN = 4  # characters of a variable that no error repeats: hiding "1" would garble them

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NOTHING = object()
_T = TypeVar("_T", bound=Table)


class Reader:
    """Reads tables as models, with ${references} filled in, and collects every fault on the way.

    An error shows what is *written*; what a variable holds is replaced by the reference to it.
    """

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        self.file = file
        self.environment = environment
        self.faults: list[Fault] = []
        self.held: dict[str, str] = {}  # what a variable holds -> the reference to it

    def fault(self, table: str, key: str, why: str, value: Any = _NOTHING) -> None:
        written = "" if value is _NOTHING else shown(value)
        for held, reference in self.held.items():
            why = why.replace(held, reference)
        self.faults.append(Fault(self.file.name, table, key, written, why))

    def filled(self, value: Any, table: str, key: str) -> Any:
        """The value with its ${references} filled in; one that is not set is a fault."""
        if isinstance(value, dict):
            return {k: self.filled(v, table, f"{key}.{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v, table, key) for v in value]
        if not isinstance(value, str):
            return value

        def fill(found: re.Match[str]) -> str:
            name, default = found[1], found[2]
            held = self.environment.get(name)
            if held and len(held) >= SHORTEST_HIDDEN:
                self.held[held] = found[0]
            if held and not _is_text(held):
                self.fault(table, key, f"environment variable {name} is not UTF-8", value)
                return ""
            if default is not None and "${" in default:
                self.fault(table, key, f"the default of {name} is plain text, and holds no other reference", value)
            if default is not None:
                return held or default
            if held:
                return held
            state = "empty" if held == "" else "not set"
            self.fault(table, key, f"environment variable {name} is {state} (set it, or put it into .env)", value)
            return found[0]

        return REFERENCE.sub(fill, value)

    def model(self, kind: type[_T], written: dict[str, Any], table: str) -> _T | None:
        """The table as its model, or None after adding its faults."""
        before = len(self.faults)
        filled = {key: self.filled(value, table, key) for key, value in written.items()}
        unset = {fault.key.partition(".")[0] for fault in self.faults[before:]}
        try:
            model = kind.model_validate(filled)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                if (key := ".".join(map(str, one["loc"]))) and one["loc"][0] not in unset:
                    mistaken = key.endswith("_env")  # the secret itself may stand there
                    self.fault(table, key, _why(one, kind), _NOTHING if mistaken else _at(written, one["loc"]))
            return None
        return None if unset else model


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: what the environment holds need not be text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why(error: Any, kind: type[Table]) -> str:
    """pydantic's error in our words."""
    match error["type"]:
        case "extra_forbidden":
            within: type[Table] = ExpectTable if len(error["loc"]) > 1 else kind  # the one table in a table
            known = [field.alias or name for name, field in within.model_fields.items()]
            return f"unknown key{nearest(str(error['loc'][-1]), known)}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "literal_error":
            return f"must be {error['ctx']['expected']}"
        case "string_type":
            return "must be text, in quotes"
        case "dict_type" | "model_type":
            return "must be a table, as { … }"
        case "list_type":
            return "must be a list, as [ … ]"
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
    """What the file holds at a place, or the nearest thing around it."""
    for step in place:
        try:
            written = written[step]
        except (KeyError, IndexError, TypeError):
            return written if not isinstance(written, dict) else _NOTHING
    return written

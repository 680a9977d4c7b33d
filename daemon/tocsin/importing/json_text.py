"""Reads JSON strictly: no key twice, no extensions of JSON, and every fault is a ConfigError."""

import json
from typing import Any

from tocsin.importing.found import fault
from tocsin.jobfile.faults import ConfigError


def parse(text: str, source: str) -> Any:
    """Parse the JSON. Raises ConfigError."""
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is not text
    except json.JSONDecodeError as error:
        comment = text[error.pos : error.pos + 2] in ("//", "/*")
        why = f"is not JSON: {error}{'; JSON has no comments' if comment else ''}"
    except UnicodeEncodeError:
        why = "has half a surrogate pair, which is not text"
    except RecursionError:
        why = "is nested too deeply"
    except ValueError as error:
        why = f"is not JSON: {error}"[:200]
    else:
        return document
    raise ConfigError([fault(source, "", "", why)])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice[:40])} is in one object twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")

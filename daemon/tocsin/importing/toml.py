"""Writes job tables as TOML 1.0, which the standard library only reads. These few types need no other library."""

import json
import re
from collections.abc import Iterable
from typing import Any

from tocsin.importing.found import Found

TARGET = {"base_url": "${API_BASE_URL}", "secret_env": "CRON_SECRET"}

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def job_file(found: Iterable[Found], *, with_target: bool) -> str:
    """Return the tables of all jobs, after a comment with their origin. Optionally begins with a [target]."""
    found = list(found)
    parts = []
    if with_target:
        sent = next((one.send_secret for one in found if one.send_secret), "")
        parts.append(table("target", TARGET | ({"send_secret": sent} if sent else {})))
    for one in found:
        tables = [table(f"jobs.{job.name}", job.table) for job in one.jobs]
        if tables:
            parts.append(f"# From {''.join(c if c.isprintable() else '?' for c in one.source)}, by tocsin import")
            parts.append("\n".join(tables))
    return "\n".join(parts)


def table(name: str, keys: dict[str, Any]) -> str:
    """Return a table with one key on each line. Nested tables are inline."""
    head = ".".join(_key(part) for part in name.split(".", 1))
    return "\n".join([f"[{head}]", *(f"{_key(key)} = {value(one)}" for key, one in keys.items())]) + "\n"


def value(one: Any) -> str:
    """Write text, whole numbers, booleans, and lists and tables of them."""
    match one:
        case bool():
            return str(one).lower()
        case int():
            return str(one)
        case str():
            # TOML has JSON's escapes, but does not allow a bare DEL (toml.io/en/v1.0.0#string)
            return json.dumps(one, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(value, one))}]"
        case dict():
            return f"{{ {', '.join(f'{_key(key)} = {value(of)}' for key, of in one.items())} }}" if one else "{}"
    raise TypeError(f"no TOML for {type(one).__name__}")


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else value(text)

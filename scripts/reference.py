"""Writes the parts of the docs that the code says better, and the job file's schema.

make docs

In docs/*.md such a part stands between `<!-- NAME: written by make docs -->` and `<!-- end of NAME -->`.
"""

# ruff: noqa: T201 (it is a command: it prints)

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import lifecycle_tables
from tocsin.cli import main as tocsin
from tocsin.config.loader import DAEMON_VARIABLES
from tocsin.exporter.metrics import Metrics
from tocsin.exporter.state import KnownJob
from tocsin.ipc.exporter import ConfigLoaded, JobStatus, NotifierState
from tocsin.jobfile.schema import OF_A_JOB, schema

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
WIDTH = 100  # characters of a command's help
PART = re.compile(r"(<!-- ([\w-]+): written by make docs -->\n)(.*?)(<!-- end of \2 -->)", re.DOTALL)
OPEN_LABELS = {"field", "schedule", "timezone", "method", "host", "version", "python", "hash"}  # any value
OTHER = {key: f"this or `{other}`" for pair in (OF_A_JOB[:2], OF_A_JOB[2:]) for key, other in (pair, pair[::-1])}


def files() -> dict[Path, str]:
    """What every generated file should hold."""
    parts = {
        "daemon": keys(schema()["properties"]["daemon"], DAEMON_VARIABLES),
        "target": keys(schema()["properties"]["target"]),
        "notify": keys(schema()["properties"]["notify"]),
        "job": keys(next(iter(schema()["properties"]["jobs"]["patternProperties"].values()))),
        "commands": commands(),
        "metrics-of-jobs": metrics(of_jobs=True),
        "metrics-of-the-daemon": metrics(of_jobs=False),
        "life-of-a-process": _table(*lifecycle_tables.processes()),
        "life-of-a-slot": _table(*lifecycle_tables.slots()),
    }
    found = {}
    for file in sorted(DOCS.glob("*.md")):
        text = file.read_text()
        written = PART.sub(lambda part: f"{part[1]}\n{parts.pop(part[2])}\n{part[4]}", text)
        if PART.search(text):
            found[file] = written
    if parts:
        raise ValueError(f"no page has a place for {', '.join(parts)}")
    found[ROOT / "tocsin.schema.json"] = json.dumps(schema(), indent=2) + "\n"
    return found


# ---- the job file


def keys(table: dict[str, Any], variables: dict[str, str] | None = None) -> str:
    by_key = {key: variable for variable, key in (variables or {}).items()}
    rows = []
    for key, one in _flat(table["properties"]):
        text = one["description"]
        if key in by_key:
            text += f" The variable `{by_key[key]}` wins over it."
        default = f"`{json.dumps(one['default'])}`" if "default" in one else OTHER.get(key, "")
        rows.append([f"`{key}`", value_in_words(one), default, text])
    return _table(["key", "value", "default", "what it is"], rows)


def _flat(properties: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, one in properties.items():
        if "properties" in one:
            yield from _flat(one["properties"], f"{where}{key}.")
        else:
            yield where + key, one


def value_in_words(one: dict[str, Any]) -> str:
    match one:
        case {"anyOf": [{"enum": values}, _]}:
            return " ".join(f"`{json.dumps(value)}`" for value in values)
        case {"title": str(title)}:
            return title
        case {"type": "array", "items": items}:
            return f"list of {value_in_words(items)}"
        case {"type": ["boolean", _]}:
            return "`true` `false`"
        case {"type": ["integer", _], "minimum": least, "maximum": most}:
            return f"{least} to {most}"
        case {"type": "string", "maxLength": most}:
            return f"text, at most {most} characters"
        case {"type": "string"}:
            return "text"
    return "anything"


# ---- the commands


def commands() -> str:
    group = click.Context(tocsin, info_name="tocsin", **{**tocsin.context_settings, "terminal_width": WIDTH})
    found = [_help(tocsin, group)]
    for name in sorted(tocsin.commands):
        command = tocsin.commands[name]
        context = click.Context(command, info_name=name, parent=group, terminal_width=WIDTH)
        found.append(f"## tocsin {name}\n\n{_help(command, context)}")
        for inner, one in command.commands.items() if isinstance(command, click.Group) else ():
            within = click.Context(one, info_name=inner, parent=context, terminal_width=WIDTH)
            found.append(f"## tocsin {name} {inner}\n\n{_help(one, within)}")
    return "\n".join(found)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```\n"


# ---- the metrics


def metrics(*, of_jobs: bool) -> str:
    told = Metrics()
    job = JobStatus(
        *("a", "@hourly", "UTC", "every hour", "POST", "https://app.example/x", "app.example"),
        enabled=True,
        description="",
        timeout=300.0,
        grace=60.0,
        fields=("unassigned",),
        state="sleeping",
        counts={},
    )
    told.hear(ConfigLoaded("hash", 0.0), None, 0.0)
    told.hear(NotifierState(), None, 0.0)
    told.hear(job, KnownJob(job), 0.0)
    rows = []
    for family in told.registry.collect():
        if family.name.startswith("tocsin_job_") != of_jobs:
            continue
        labels: dict[str, dict[str, None]] = {}
        bounds = []
        for sample in family.samples:
            for label, value in sample.labels.items():
                labels.setdefault(label, {})[value] = None
            bounds += [float(sample.labels["le"])] if sample.labels.get("le", "+Inf") != "+Inf" else []
        shown = [
            f"`{label}`" if label in OPEN_LABELS else f"`{label}`: " + ", ".join(f"`{value}`" for value in values)
            for label, values in labels.items()
            if label not in ("job_name", "le")
        ]
        meaning = family.documentation.rstrip(".")
        if bounds:
            meaning += f". Buckets from {min(bounds):g} to {max(bounds):g} s"
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append([f"`{name}`", family.type, ", ".join(shown), meaning])
    return _table(["metric", "type", "labels", "meaning"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("  ", " ") for line in lines)


def main() -> None:
    for file, text in files().items():
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

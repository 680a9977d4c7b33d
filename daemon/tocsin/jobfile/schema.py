"""The job file's JSON Schema, made from the models of `tables.py`, for editors and for docs/job-file.md.

It is draft 7 and has no `$ref`: Taplo, which editors use for TOML, does not know newer drafts, and ignores keys next to
a reference. A schema checks one key at a time. `tocsin check` also checks files, variables and schedules.
"""

from typing import Any

from tocsin.jobfile.faults import REFERENCE
from tocsin.jobfile.tables import DaemonTable, JobTable, NotifyTable, Table, TargetTable
from tocsin.jobfile.values import JOB_NAME

Schema = dict[str, Any]

OF_A_JOB = ("schedule", "every", "path", "url")  # keys that are not allowed in [defaults]
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SIZES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}


def schema() -> Schema:
    """Return the schema of the whole file. Every property has a description, and its default as written in TOML."""
    job = _table(JobTable)
    defaults = {key: value for key, value in job["properties"].items() if key not in OF_A_JOB}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "tocsin.toml, the job file of Tocsin",
        **_object(
            {
                "daemon": {"description": "The daemon itself.", **_table(DaemonTable)},
                "target": {
                    "description": "The app that the jobs call, and the secret it asks for.",
                    **_table(TargetTable),
                },
                "notify": {
                    "description": "Messages to people, and signs of life, without a monitoring system.",
                    **_table(NotifyTable),
                },
                "defaults": {
                    "description": "Keys of a job, for all jobs that do not say otherwise.",
                    **_object(defaults),
                },
                "jobs": {
                    "description": "One table for each job: [jobs.sla-check].",
                    "type": "object",
                    "additionalProperties": False,
                    "patternProperties": {
                        f"^{JOB_NAME.pattern}$": {
                            "description": "One job: when, and what to call.",
                            **job,
                            "oneOf": [{"required": [when, what]} for when in OF_A_JOB[:2] for what in OF_A_JOB[2:]],
                        }
                    },
                },
            }
        ),
    }


def _object(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _table(model: type[Table]) -> Schema:
    made = model.model_json_schema()
    return _object({key: _key(key, value, made.get("$defs", {})) for key, value in made["properties"].items()})


def _key(key: str, made: Schema, tables: Schema) -> Schema:
    """Return the schema of one key: pydantic's, without pydantic's own additions."""
    found = {"description": made["description"]} if "description" in made else {}
    if name := made.pop("$ref", "").rpartition("/")[2]:  # the one table in a table
        inner = {key: _key(key, value, tables) for key, value in tables[name]["properties"].items()}
        return {**found, **_object(inner)}
    if "anyOf" in made:  # or null, which TOML does not have
        made |= next(one for one in made.pop("anyOf") if one["type"] != "null")
    if made.get("title") == key.replace("_", " ").title():
        del made["title"]
    default = _written(made.pop("default", None), made.get("title", ""))
    found |= {"default": default} if default not in (None, "", [], {}) else {}
    return _with_reference(found | made, found)


def _with_reference(made: Schema, said: Schema) -> Schema:
    """Also allow a text with a ${reference}, which depends on the environment."""
    match made:
        case {"enum": values}:
            plain = {key: value for key, value in made.items() if key not in ("enum", "type")}
            # The branches repeat the description of the key, because Taplo completes from them.
            branches = [{**said, "enum": values}, {**said, "type": "string", "pattern": REFERENCE.pattern}]
            return {**plain, "anyOf": branches}
        case {"type": "string", "pattern": pattern}:
            return {**made, "pattern": f"{pattern}|{REFERENCE.pattern}"}
        case {"type": "integer" | "boolean" as kind}:
            return {**made, "type": [kind, "string"], "pattern": REFERENCE.pattern}
        case {"type": "array", "items": items}:
            return {**made, "items": _with_reference(items, {})}
        case {"type": "object", "additionalProperties": dict(values)}:
            return {**made, "additionalProperties": _with_reference(values, {})}
    return made


def _written(default: Any, title: str) -> Any:
    """Write a default as in a job file: "60s", not 60.0."""
    match title:
        case "duration" if default:
            return _in_units(default, _UNITS)
        case "size" if default:
            return _in_units(default, _SIZES)
        case "address":
            return "{}:{}".format(*default)
    return default


def _in_units(number: float, units: dict[str, int]) -> str:
    """Write a number in the largest unit of which it is a whole multiple."""
    return next(f"{number / factor:.0f}{unit}" for unit, factor in units.items() if number % factor == 0)

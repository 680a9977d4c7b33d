"""The labels of jobs: people group jobs by them, and they are labels of the metrics."""

import re
from typing import Annotated

from pydantic import AfterValidator

from tocsin.jobfile.values import table_as

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,39}")  # Prometheus's rule
# Labels that the metrics already have, or that Prometheus adds.
OWN_LABELS = frozenset({"job_name", "schedule", "timezone", "method", "host", "job", "instance", "le", "quantile"})
MAX_LABELS = 8  # of a job
MAX_LABEL_VALUE = 100  # characters


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError("is not a name for a label: use letters, digits and _ (at most 40, no digit and no __ first)")
    if name in OWN_LABELS:
        raise ValueError("is a label that the metrics have already")
    return name


def _label_value(value: str) -> str:
    if not value or len(value) > MAX_LABEL_VALUE or not value.isprintable():
        raise ValueError(f"must be printable text of 1 to {MAX_LABEL_VALUE} characters")
    return value


def _few_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MAX_LABELS:
        raise ValueError(f"has {len(labels)} names, with those of [defaults]; at most {MAX_LABELS}")
    return labels


Labels = Annotated[
    dict[Annotated[str, AfterValidator(_label)], Annotated[str, AfterValidator(_label_value)]],
    AfterValidator(_few_labels),
    table_as(
        "table of texts",
        f"^(?!(?:{'|'.join(sorted(OWN_LABELS))})$){_LABEL.pattern}$",
        {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_VALUE},
        maxProperties=MAX_LABELS,
    ),
]

"""docs/metrics.md names the metrics there are, with their types and label values."""

import re
from pathlib import Path

from exporter_rig import Told, job, run, world

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(tocsin_\w+)` \| (\w+) \|(.*?)\| ", re.MULTILINE)
OPEN = {"field", "schedule", "timezone", "method", "host", "version", "python", "hash"}  # values of the job's or ours


def test_docs_and_registry_name_the_same() -> None:
    told = Told(*world(job()), run(reported={"unassigned": 1.0}))
    real: dict[str, tuple[str, dict[str, set[str]]]] = {}
    for family in told.metrics.registry.collect():
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label not in ("job_name", "le"):
                    labels.setdefault(label, set()).add(value)
        name = family.name + ("_total" if family.type == "counter" else "")
        real[name] = family.type, labels
    documented = {name: (kind, labels) for name, kind, labels in ROW.findall(DOCS.read_text())}
    assert {name: kind for name, (kind, _) in documented.items()} == {name: kind for name, (kind, _) in real.items()}
    for name, (_, text) in documented.items():
        named = re.findall(r"`(\w+)`", text)
        for label, values in real[name][1].items():
            assert label in named, (name, label)
            if label not in OPEN and ":" in text:
                assert set(named) == {label, *values}, name

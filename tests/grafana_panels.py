"""Grafana's own libraries, run on the dashboards: their types, and what their panels make of the answers.

Grafana itself is not used (its server is AGPL); `@grafana/schema` and `@grafana/data` are Apache-licensed. They are for
the tests only: tests/grafana/package-lock.json pins them at the version of compose.yaml.
"""

import fcntl
import json
import subprocess
from typing import Any

import node_packages
from grafana_files import ROOT, panels

FOLDER = ROOT / "tests/grafana"
CACHE = ROOT / ".cache/grafana"
PATIENCE = 120.0  # seconds: tsc takes four on an idle machine

Answers = dict[str, dict[str, Any]]  # panel id -> ref id -> the `result` of Prometheus


def packages() -> dict[str, str]:
    """The packages that are asked for, with their versions."""
    found: dict[str, str] = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
    return found


def install() -> None:
    node_packages.install(FOLDER)
    CACHE.mkdir(parents=True, exist_ok=True)


def type_faults(charts: list[dict[str, Any]]) -> list[str]:
    """What `tsc` says against these panels, by Grafana's schema: one text for each fault, with the panel's title."""
    install()
    file = FOLDER / "panels.gen.ts"
    lines = ['import type { Panel } from "./types.ts";']
    for at, chart in enumerate(charts):
        lines.append(f"export const panel{at}: Panel<{json.dumps(chart['type'])}> = {json.dumps(chart)};")
    with (CACHE / "types").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file.write_text("\n".join(lines))
        try:
            done = subprocess.run(
                [FOLDER / "node_modules/.bin/tsc", "-p", "tsconfig.json", "--pretty", "false"],
                cwd=FOLDER,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        finally:
            file.unlink()
    said = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert bool(said) == (done.returncode != 0), done.stdout + done.stderr
    return [_with_title(line, charts) for line in said]


def _with_title(line: str, charts: list[dict[str, Any]]) -> str:
    place, _, fault = line.partition(": error ")
    assert place.startswith("panels.gen.ts("), line  # else the types themselves are wrong
    number = int(place.split("(")[1].split(",")[0])
    return f"{charts[number - 2]['title']}: {fault}"


def drawn(dashboard: dict[str, Any], states: dict[str, Answers]) -> dict[str, Any]:
    """For each state what @grafana/data makes of every panel: its tiles, cells and series with text and colour."""
    install()
    given = json.dumps({"dashboard": dashboard, "states": states})
    found: dict[str, Any] = json.loads(_run(["node", "panels.cjs"], given=given))
    return found


def charts(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in panels(dashboard) if panel["type"] != "row"]


def _run(words: list[str], given: str = "", patience: float = PATIENCE) -> str:
    done = subprocess.run(words, cwd=FOLDER, input=given, capture_output=True, text=True, timeout=patience, check=False)
    assert done.returncode == 0, f"{' '.join(words)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout

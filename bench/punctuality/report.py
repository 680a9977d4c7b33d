"""Put the figures of a run into docs/performance.md and draw docs/images/performance.svg.

    python -m punctuality.report bench/results/FILE.json          (make report RESULTS=… does it)

With --print the tables go to the terminal and no file is touched.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from punctuality.peer import REAL, REPOSITORY
from punctuality.plot import plot
from punctuality.stats import Lateness
from punctuality.summary import Row, ms, row, rows, targets

BEGIN, END = "<!-- results: written by make report -->", "<!-- end of results -->"
PAGE, PICTURE = REPOSITORY / "docs/performance.md", REPOSITORY / "docs/images/performance.svg"
SAID = {True: "yes", False: "**no**", None: "–"}


def table(head: list[str], lines: list[list[str]], numbers_from: int = 1) -> str:
    rule = ["---" if n < numbers_from else "---:" for n in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines]) + "\n"


def figures(late: Lateness | None) -> list[str]:
    if late is None:
        return ["–"] * 3
    return ["–" if value is None else ms(value) for value in (late.p50, late.p99, late.max)]


def memory(size: int) -> str:
    return f"{size / 1e6:,.0f}" if size >= 10e6 else f"{size / 1e6:.1f}"


def table_of(found: list[Row]) -> str:
    head = ["", "p50", "p99", "max", "first p50", "p99", "max", "CPU s", "asleep", "after", "missed", "twice"]
    ordered = sorted(found, key=lambda one: one.warm.p99 if one.warm.p99 is not None else 1e9)
    return table(
        head,
        [
            [
                f"**{one.tool}**" if one.tool.startswith("tocsin") else one.tool,
                *figures(one.warm),
                *figures(one.cold),
                "–" if one.cpu is None else f"{one.cpu:.2f}",
                memory(one.asleep),
                memory(one.after),
                str(one.missed),
                str(one.duplicates),
            ]
            for one in ordered
        ],
    )


def sink_line(run: Mapping[str, Any]) -> str:
    """How much of the processors the sink took, and how late it got to requests that had arrived."""
    thousand = [result for result in run["results"] if result["jobs"] == 1000]
    used = {
        result["tool"]: statistics.median(fire["sink_cpu"] for fire in result["fires"][1:] if "sink_cpu" in fire)
        for result in thousand
    }
    if not used:
        return ""
    most = max(used, key=lambda tool: used[tool])
    text = (
        f"For a thousand requests the sink used {statistics.median(used.values()) * 1e3:.0f} ms of one core "
        f"(the median of the tools; the most, {used[most] * 1e3:.0f} ms, with {most})."
    )
    for result in thousand:
        there, answered = row(result).warm.p99, row(result, "seen").warm.p99
        if result["tool"] == "floor-single" and there and answered:
            text += (
                f" When one C process throws a thousand requests at it, 99 % of them are there after {ms(there)} ms, "
                f"and it has read and answered as many after {ms(answered)} ms."
            )
    return text + "\n"


def text_of(run: Mapping[str, Any]) -> str:
    found = rows(run)
    parts = ["### Targets\n"]
    lines = [[one.what, one.wanted, one.measured, SAID[one.held]] for one in targets(found)]
    parts.append(table(["", "target", "measured", "held"], lines, numbers_from=4))
    for jobs in sorted({one.jobs for one in found}, reverse=True):
        for real, path in ((True, "the real path"), (False, "plain")):
            if some := [one for one in found if one.jobs == jobs and one.tool.endswith(REAL) == real]:
                parts.append(f"### {jobs:,} job{'s' if jobs > 1 else ''}, {path}\n")
                parts.append(table_of(some))
    if line := sink_line(run):
        parts.append(line)
    if run["absent"]:
        parts.append("### Not measured\n")
        parts.append(
            "\n".join(f"- {name}: {' '.join(reason.split())}" for name, reason in run["absent"].items()) + "\n"
        )
    parts.append("### The tools\n")
    about = {result["tool"]: result["about"] for result in run["results"]}
    parts.append("\n".join(f"- {name}: {words}" for name, words in about.items()) + "\n")
    parts.append("### The machine\n")
    machine = [
        [name, value] for name, value in {**run["machine"], "command": f'`make bench ARGS="{run["command"]}"`'}.items()
    ]
    parts.append(table(["", ""], machine, numbers_from=2))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="punctuality.report")
    parser.add_argument("results", type=Path)
    parser.add_argument("--print", action="store_true", help="to the terminal, and touch no file")
    chosen = parser.parse_args()
    run = json.loads(chosen.results.read_text())
    text = text_of(run)
    if chosen.print:
        print(text)
        return
    found = rows(run)
    most = max(one.jobs for one in found)
    drawn = [one for one in found if one.jobs == most]
    PICTURE.write_text(plot([one for one in drawn if one.tool.endswith(REAL)] or drawn))  # the headline
    text = f"![Lateness of {most:,} requests due at the same instant, by tool](images/{PICTURE.name})\n\n{text}"
    page = PAGE.read_text()
    if BEGIN not in page or END not in page:
        sys.exit(f"{PAGE} has no place for results: {BEGIN} … {END}")
    head, rest = page.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
    print(f"{PAGE}\n{PICTURE}")


if __name__ == "__main__":
    main()

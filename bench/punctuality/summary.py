"""From the JSON of a run to one row for each tool and size, and to the targets. Pure: no file is read here."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from punctuality.peer import REAL
from punctuality.stats import Lateness, together

FLOORS = ("floor", "floor-single")
OURS = ("tocsin", "tocsin" + REAL, "tocsin-tls")  # the last: in older results
CLOCK = "arrived"  # the kernel's stamp; "seen" is when the sink's process got to it
GB = 1e9
MB = 0.1  # GB: less is shown in MB


@dataclass(frozen=True)
class Row:
    """One tool with so many jobs. Lateness in seconds, memory in bytes, `cpu` in seconds per thousand fires."""

    tool: str
    jobs: int
    cold: Lateness | None  # None: the first fire was not seen
    warm: Lateness
    cpu: float | None
    asleep: int
    after: int
    missed: int
    duplicates: int


@dataclass(frozen=True)
class Target:
    what: str
    wanted: str
    measured: str
    held: bool | None  # None: something was not measured


def row(result: Mapping[str, Any], clock: str = CLOCK) -> Row:
    jobs, fires = result["jobs"], result["fires"]
    late = [Lateness(**fire[clock]) for fire in fires]
    cpu = [fire["cpu"] for fire in fires[1:] if "cpu" in fire]
    return Row(
        result["tool"],
        jobs,
        late[0] if result["cold"] else None,
        together(late[1:], jobs),
        statistics.median(cpu) / jobs * 1000 if cpu else None,
        result["asleep"],
        result["after"],
        sum(fire["missed"] for fire in fires),
        sum(fire["duplicates"] for fire in fires),
    )


def rows(run: Mapping[str, Any]) -> list[Row]:
    return [row(result) for result in run["results"]]


def ms(seconds: float) -> str:
    """Milliseconds with three digits that mean something."""
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def milliseconds(value: float) -> str:
    return f"{ms(value)} ms"


def ratio(
    what: str,
    most: float,
    wanted: str,
    ours: float | None,
    theirs: tuple[float | None, str],
    shown: Callable[[float], str] = milliseconds,
) -> Target:
    """Ours may be `most` times theirs."""
    value, whose = theirs
    if ours is None or not value:
        return Target(what, wanted, "not measured", None)
    measured = f"{shown(ours)} against {shown(value)} ({whose}): {ours / value:.2f}×"
    return Target(what, wanted, measured, ours / value <= most)


def below(what: str, most: float, value: float | None) -> Target:
    """`most` is in GB."""

    def shown(gigabytes: float) -> str:
        return f"{gigabytes:g} GB" if most >= MB else f"{gigabytes * 1000:.0f} MB"

    wanted = f"under {shown(most)}"
    if value is None:
        return Target(what, wanted, "not measured", None)
    return Target(what, wanted, shown(round(value / GB, 3)), value < most * GB)


def targets(found: Iterable[Row]) -> list[Target]:
    """The promises, each with what was measured. A peer is what is neither Tocsin nor a floor."""
    known = {(one.tool, one.jobs): one for one in found}

    def p99(tool: str, jobs: int = 1000) -> float | None:
        one = known.get((tool, jobs))
        return one.warm.p99 if one else None

    def p50(tool: str, jobs: int) -> float | None:
        one = known.get((tool, jobs))
        return one.warm.p50 if one else None

    def cold(tool: str) -> float | None:
        one = known.get((tool, 1000))
        return one.cold.p99 if one and one.cold else None

    def cpu(tool: str, jobs: int = 1000) -> float | None:
        one = known.get((tool, jobs))
        return one.cpu if one else None

    def best(figure: Callable[[str], float | None], real: bool = False) -> tuple[float | None, str]:
        """Of the peers on the same path."""
        peers = [tool for tool, jobs in known if jobs == 1000 and tool not in FLOORS + OURS]
        on_path = [tool for tool in peers if tool.endswith(REAL) == real]
        values = [(value, tool) for tool in on_path if (value := figure(tool)) is not None]
        return min(values, default=(None, "no peer"))

    def memory(when: Callable[[Row], int], tool: str, jobs: int = 1000) -> float | None:
        one = known.get((tool, jobs))
        return when(one) if one else None

    ours, node = "tocsin" + REAL, "node-cron" + REAL
    thousand, real, of_all = "1,000 jobs", "1,000 jobs, the real path", "memory of the whole tree (PSS)"
    against = "p99 against the best peer's p99"
    return [
        ratio(f"{real}, warm: {against}", 1 / 20, "at most a twentieth", p99(ours), best(p99, real=True)),
        ratio(f"{real}: the first fire's p99 against a warm one's", 3, "within 3×", cold(ours), (p99(ours), "warm")),
        ratio(
            f"{real}: CPU per thousand fires against node-cron", 0.6, "at most 0.6×",
            cpu(ours), (cpu(node), node), seconds,
        ),
        below(f"{real}: {of_all}, after fires", 1.5, memory(lambda one: one.after, ours)),
        ratio("1 job: p50 against the C floor", 2, "within 2×", p50("tocsin", 1), (p50("floor", 1), "floor")),
        ratio(f"{thousand}, warm: {against}", 0.2, "at most a fifth", p99("tocsin"), best(p99)),
        ratio(f"{thousand}, first fire: {against}", 0.5, "at most a half", cold("tocsin"), best(cold)),
        ratio(f"{thousand}: p99 against the C floor", 2.5, "within 2.5×", p99("tocsin"), (p99("floor"), "floor")),
        below(f"{thousand}: {of_all}, asleep", 0.7, memory(lambda one: one.asleep, "tocsin")),
        below(f"{thousand}: {of_all}, after fires", 1.0, memory(lambda one: one.after, "tocsin")),
        below(f"1 job: {of_all}, asleep", 0.065, memory(lambda one: one.asleep, "tocsin", 1)),
        ratio(
            "CPU per fire, 1,000 jobs against 100", 1.3, "within 1.3×",
            cpu("tocsin"), (cpu("tocsin", 100), "100 jobs"), seconds,
        ),
    ]  # fmt: skip

"""Run the benchmark: make bench, or with bench/ in PYTHONPATH: python -m punctuality --help."""

import argparse
import json
import platform
import resource
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from punctuality.machine import machine
from punctuality.measure import NotReady, measure
from punctuality.peer import Absent, Peer
from punctuality.peers import apscheduler, celery, floor, node_cron, tocsin, with_curl
from punctuality.sink import Broken, Sink
from punctuality.stats import Lateness, together

BENCH = Path(__file__).parents[1]
PEERS: list[Peer] = [
    tocsin.REAL_PATH,
    node_cron.NODE_CRON_REAL,
    node_cron.CRONER_REAL,
    apscheduler.APSCHEDULER_REAL,
    floor.PROCESSES,
    floor.SINGLE,
    tocsin.PLAIN,
    node_cron.NODE_CRON,
    node_cron.CRONER,
    apscheduler.APSCHEDULER,
    with_curl.SUPERCRONIC,
    with_curl.YACRON,
    with_curl.CRON,
    celery.CELERY,
]
KNOWN = [peer.name for peer in PEERS]
SIZES = [1, 100, 1000]
ALONE = (6, 11)  # period and instants of one job where seconds are known: one value an instant, so more of them
ONLY = {  # what these are there to show needs no more; --sizes measures others
    "floor-single": [1000],
    **{peer.name: [1000] for peer in PEERS if peer.real or not peer.seconds},  # the latter: five minutes each
    "tocsin-real": [1, 1000],
}
QUICK = {
    "floor": [1, 1000],
    "floor-single": [1000],
    "tocsin": SIZES,
    "tocsin-real": [1000],
    "node-cron-real": [1000],
    "node-cron": [1000],
    "croner": [1000],
    "apscheduler": [1000],
}


class Run(NamedTuple):
    peer: Peer
    jobs: int
    fires: int
    period: int

    @property
    def seconds(self) -> float:
        """How long it will take, about: what is left of a minute is enough for a start, less than that is not."""
        return self.period * (self.fires + (0.3 if self.period == 60 else 1.2))


def names(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in KNOWN:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(KNOWN)}")
    return chosen


def sizes(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="punctuality", description="Who calls on time? See docs/performance.md.")
    parser.add_argument("--quick", action="store_true", help="the main comparison alone, with a period of 15 s")
    parser.add_argument("--tools", type=names, metavar="A,B", help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--sizes", type=sizes, metavar="N,N", help="how many jobs; default: 1,100,1000")
    parser.add_argument("--fires", type=int, default=4, metavar="N", help="instants: one cold, the rest warm (4)")
    parser.add_argument("--period", type=int, metavar="S", help="seconds between them where a tool knows seconds (20)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: bench/results/DATE-MACHINE.json")
    chosen = parser.parse_args()
    chosen.period = chosen.period or (15 if chosen.quick else 20)
    if 60 % chosen.period:
        parser.error("--period must divide 60")
    if chosen.fires < 2:
        parser.error("--fires must be at least 2: one cold, one warm")
    return chosen


def runs(chosen: argparse.Namespace) -> Iterator[Run]:
    """What there is to do, tool by tool."""
    for peer in PEERS:
        if peer.name not in (chosen.tools or (QUICK if chosen.quick else KNOWN)):
            continue
        for jobs in chosen.sizes or (QUICK if chosen.quick else ONLY).get(peer.name, SIZES):
            if not peer.seconds:
                yield Run(peer, jobs, chosen.fires, 60)
            elif jobs == 1:
                yield Run(peer, jobs, ALONE[1], ALONE[0])
            else:
                yield Run(peer, jobs, chosen.fires, chosen.period)


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value * 1e3:.3g}" if value < 1 else f"{value * 1e3:.0f}"


def line(result: dict[str, Any]) -> str:
    """A run in one line, for who watches: milliseconds (p50/p99/max), seconds, megabytes."""
    fires, jobs = result["fires"], result["jobs"]
    text = f"{result['tool']:16}{jobs:5}"
    for name, some in (("cold", fires[:1]), ("warm", fires[1:])):
        for clock in ("arrived", "seen"):
            late = together([Lateness(**fire[clock]) for fire in some], jobs)
            text += f"  {name} {clock} {'/'.join(map(milliseconds, (late.p50, late.p99, late.max)))}"
        cpu = [fire["cpu"] for fire in some if "cpu" in fire]
        text += f" cpu {sum(cpu) / len(cpu) / jobs * 1000:.2f}" if cpu else ""
    text += f"  missed {sum(f['missed'] for f in fires)} twice {sum(f['duplicates'] for f in fires)}"
    text += f"  PSS {result['asleep'] / 1e6:.1f}/{result['after'] / 1e6:.1f} MB  up in {result['ready_after']:.1f} s"
    text += "".join(
        f"  {result['sink'][trouble]} {trouble}"
        for trouble in ("refused", "broken", "unstamped")
        if result["sink"][trouble]
    )
    return text + (
        ""
        if result["cold"]
        else "  (it fired before it was looked at, so its first fire is unknown: give it a longer --period)"
    )


def run_all(chosen: argparse.Namespace, cache: Path, out: Path) -> None:
    """Measure one after the other; the file is written anew after each, so that a stopped run is not lost."""
    found: dict[str, Any] = {"machine": machine(), "command": shlex.join(sys.argv[1:]), "absent": {}, "results": []}
    plan = list(runs(chosen))
    print(f"About {sum(run.seconds for run in plan) / 60:.0f} minutes. Leave the machine alone.")
    for run in plan:
        name = run.peer.name
        if name in found["absent"]:
            continue
        try:
            run.peer.setup(cache)
            with Sink(cache) as sink:
                result = measure(run.peer, sink, cache, run.jobs, run.fires, run.period)
        except Absent as reason:
            found["absent"][name] = str(reason)
            print(f"{name}: absent: {reason}", flush=True)
        except NotReady as reason:
            found["absent"][f"{name} with {run.jobs} jobs"] = str(reason)
            print(f"{name:16}{run.jobs:5}  {reason}", flush=True)
        else:
            found["results"].append(result)
            print(line(result), flush=True)
        out.write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    cache = BENCH / ".cache"
    cache.mkdir(exist_ok=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    out = chosen.out or BENCH / "results" / f"{time.strftime('%Y-%m-%d')}-{platform.node()}.json"
    out.parent.mkdir(exist_ok=True)
    try:
        run_all(chosen, cache, out)
    except Broken as reason:
        sys.exit(str(reason))
    print(out)


if __name__ == "__main__":
    main()

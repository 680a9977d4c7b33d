"""Run the benchmark: python -m punctuality --help (with bench/ in PYTHONPATH), or make bench."""

import argparse
import json
import platform
import resource
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from punctuality.machine import machine
from punctuality.measure import NotReady, measure
from punctuality.peer import Absent, Peer
from punctuality.peers import floor, node_cron, tocsin
from punctuality.sink import Sink
from punctuality.stats import Lateness, together

HERE = Path(__file__).parent
PEERS: list[Peer] = [floor.PROCESSES, floor.SINGLE, tocsin.PLAIN, tocsin.TLS, node_cron.NODE_CRON, node_cron.CRONER]


def names(text: str) -> list[str]:
    known = [peer.name for peer in PEERS]
    chosen = known if text == "all" else text.split(",")
    for name in chosen:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return chosen


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="punctuality", description="Who calls on time?")
    parser.add_argument("--tools", type=names, default=names("all"), metavar="A,B", help="default: all")
    parser.add_argument("--sizes", type=lambda t: [int(n) for n in t.split(",")], default=[1, 100, 1000], metavar="N,N")
    parser.add_argument("--fires", type=int, default=4, help="instants for each tool and size, the first is cold")
    parser.add_argument("--period", type=int, default=20, help="seconds between them, a divisor of 60")
    parser.add_argument("--out", type=Path, help="the JSON file; default: bench/results/DATE-MACHINE.json")
    return parser.parse_args()


def milliseconds(value: float | None) -> str:
    return "     –" if value is None else f"{value * 1e3:6.1f}" if value < 0.1 else f"{value * 1e3:6.0f}"


def line(result: dict[str, Any]) -> str:
    """A run in one line, for who watches."""
    fires, jobs = result["fires"], result["jobs"]
    rows = [("cold", fires[:1]), ("warm", fires[1:])]
    text = f"{result['tool']:13}{jobs:5}"
    for name, some in rows:
        for clock in ("arrived", "seen"):
            late = together([Lateness(**fire[clock]) for fire in some], jobs)
            text += f" {name} {clock} {milliseconds(late.p50)} {milliseconds(late.p99)} {milliseconds(late.max)}"
        cpu = [fire["cpu"] for fire in some if "cpu" in fire]
        text += f" cpu {sum(cpu) / len(cpu) / jobs * 1000:.2f}" if cpu else ""
    text += f" missed {sum(f['missed'] for f in fires)} dup {sum(f['duplicates'] for f in fires)}"
    return text + f" PSS {result['asleep'] / 1e6:.0f} {result['after'] / 1e6:.0f} MB up {result['ready_after']:.1f} s"


def main() -> None:
    chosen = options()
    cache = HERE.parent / ".cache"
    cache.mkdir(exist_ok=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found: dict[str, Any] = {"machine": machine(), "command": shlex.join(sys.argv[1:]), "absent": {}, "results": []}
    out = chosen.out or HERE.parent / "results" / f"{time.strftime('%Y-%m-%d')}-{platform.node()}.json"
    out.parent.mkdir(exist_ok=True)
    for peer in [peer for peer in PEERS if peer.name in chosen.tools]:
        try:
            peer.setup(cache)
        except Absent as reason:
            found["absent"][peer.name] = str(reason)
            print(f"{peer.name}: absent: {reason}")
            continue
        for jobs in chosen.sizes:
            with Sink(cache) as sink:
                period = 5 if jobs == 1 else chosen.period
                fires = 13 if jobs == 1 else chosen.fires
                try:
                    result = measure(peer, sink, cache, jobs, fires, period)
                except NotReady as reason:
                    print(f"{peer.name} {jobs}: {reason}")
                    found["absent"][f"{peer.name} with {jobs} jobs"] = str(reason)
                    continue
            found["results"].append(result)
            print(line(result), flush=True)
            out.write_text(json.dumps(found, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()

"""Several nodes on one PostgreSQL while they and the server are killed, stopped, cut off; then the books are compared.

    python bench/cluster.py [--seconds 120] [--nodes 3] [--jobs 30] [--seed 1] [--pooled] [--clocks]
                            [--without RULE] [--faults kill,stop,…] [--length 0.5,7] [--keep FOLDER]

Every node is `tocsin run` with real children, its own state folder, and its own wire to a PostgreSQL server of the
bench's own (Debian's package). Faults come one or two at a time, drawn by the seed. What the target wrote down is
compared with the ledger's rows, and with what triggers in the database saw. It prints the totals and exits 1 where a
promise was broken. `--without` switches a safety rule of the nodes off: then it must exit 1, where the faults are what
the rule is for:

    --without until --faults stop --length 5,8            a node is stopped between grant and call
    --without contact --faults outage --length 4,6        the first one back from an outage gives up the others
    --without fence --faults stop,silence --length 4,7    one that was given up writes all the same
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the server that the tests start

from clustered.account import Fault, judge
from clustered.nodes import Node, wait_for, write_jobs
from clustered.observer import Observer
from clustered.target import Target
from harness import until
from postgres_rig import PASSWORD, USER, Pooler, Server, Wire

FAULTS = {  # kind -> how often, in relation to the others
    "kill": 4, "stop": 4, "stop part": 3, "silence": 3, "leave": 2, "restart": 2, "outage": 1, "kill all": 1,
}  # fmt: skip
OF_ALL = ("restart", "outage", "kill all")
REST = (2.0, 6.0)  # seconds between one fault's end and the next
CLOCKS = (0.0, 2.0, -1.0, 1.0, -2.0)  # seconds that the nodes' clocks are off
SLOW = 1.4  # seconds that the calls of a fifth of the jobs take, so that some are under way at every fault
READY = 60.0  # seconds until every job has an owner, at the begin and after the last fault
QUIET = 10.0  # seconds after that in which every job must run


class Bench:
    def __init__(self, options: argparse.Namespace, folder: Path, server: Server) -> None:
        self.options, self.folder, self.server = options, folder, server
        self.chance = random.Random(options.seed)
        self.target = Target(SLOW)
        self.jobs = {f"j{number}" for number in range(options.jobs)}
        self.observer = Observer(server.url)
        self.pooler: Pooler | None = None
        self.nodes: list[Node] = []
        self.faults: list[Fault] = []
        self.ended: list[tuple[str, int]] = []
        self.idle: list[str] = []

    def prepare(self) -> None:
        self.server.make()
        self.server.start()
        self.server.do(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA tocsin AUTHORIZATION {USER}")
        self.pooler = Pooler(self.server, size=8) if self.options.pooled else None
        job_file = self.folder / "tocsin.toml"
        write_jobs(job_file, self.target.port, self.options.jobs, self.options.jobs // 5)
        for number in range(self.options.nodes):
            wire = Wire(self.pooler.port if self.pooler else self.server.port)
            clock = CLOCKS[number % len(CLOCKS)] if self.options.clocks else 0.0
            url = self.server.url_of(USER, wire.port)
            name = f"n{number + 1}"
            self.nodes.append(Node(name, self.folder / name, job_file, wire, url, clock, self.options.without))

    def run(self) -> float:
        """Until the nodes are told to stop; when that was."""
        self.nodes[0].start()
        until(lambda: self.server.psql("SELECT 1 FROM tocsin.nodes").stdout.strip(), "the first node", READY)
        self.observer.set_up()
        self.observer.count(USER)
        for node in self.nodes[1:]:
            node.start()
        self.ready("at the begin")
        end = time.monotonic() + self.options.seconds
        while time.monotonic() < end:
            self.strike()
            self.rest(self.chance.uniform(*REST))
        self.ready("after the last fault")
        self.rest(QUIET)
        owners = set(self.observer.owned().values())
        self.idle = [node.name for node in self.nodes if node.name not in owners]
        return time.time()

    def ready(self, when: str) -> None:
        """Until every job has an owner, and every node some jobs."""
        end = time.monotonic() + READY
        while time.monotonic() < end:
            owned = self.observer.owned()
            if owned.keys() == self.jobs and len(set(owned.values())) == len(self.nodes):
                break
            self.rest(0.5)
        if missing := self.jobs - self.observer.owned().keys():
            print(f"without an owner {when}: {len(missing)} jobs, as {sorted(missing)[:5]}")

    def rest(self, seconds: float) -> None:
        self.ended += wait_for(seconds, self.nodes)

    def strike(self) -> None:
        kinds = {kind: often for kind, often in FAULTS.items() if kind in self.options.faults}
        (kind,) = self.chance.choices(list(kinds), list(kinds.values()))
        nodes = self.chance.sample(self.nodes, min(len(self.nodes), self.chance.choice((1, 1, 2))))
        length = self.chance.uniform(*self.options.length)
        if kind in OF_ALL:
            nodes = []
        began = time.time()
        self.begin(kind, nodes)
        self.rest(length)
        self.heal(kind, nodes)
        names = [node.name for node in nodes] or [""]
        self.faults += [Fault(kind, name, began, time.time()) for name in names]
        if self.options.verbose:
            print(f"{began:.1f} {kind} {' '.join(names)} {length:.1f} s", flush=True)

    def begin(self, kind: str, nodes: list[Node]) -> None:
        if kind == "restart":
            self.server.end(signal.SIGQUIT)
            self.server.start()
        elif kind == "outage":
            self.server.end(signal.SIGQUIT)
        elif kind == "kill all":
            for node in self.nodes:
                node.kill()
        for node in nodes:
            if kind == "kill":
                node.kill()
            elif kind == "stop":
                node.stop()
            elif kind == "stop part":
                node.stop(self.chance.choice(("ledger", "job", "exporter")))
            elif kind == "silence":
                node.wire.silent.set()
            elif kind == "leave":
                self.ended.append((node.name, node.end()))

    def heal(self, kind: str, nodes: list[Node]) -> None:
        if kind == "outage":
            self.server.start()
        for node in self.nodes if kind == "kill all" else nodes:
            if kind in ("kill", "kill all", "leave"):
                node.start()
            elif kind in ("stop", "stop part"):
                node.go_on()
            elif kind == "silence":
                node.wire.silent.clear()

    def finish(self) -> None:
        self.ended += [(node.name, node.end()) for node in self.nodes]

    def close(self) -> None:
        for node in self.nodes:
            node.go_on()
            node.kill()
            node.wire.close()
        if self.pooler:
            self.pooler.remove()


def report(bench: Bench, end: float) -> bool:
    verdict = judge(bench.target.calls, bench.observer.read(), bench.faults, bench.jobs, end)
    verdict.wrong["nodes that own no job at the end"] = bench.idle
    options = bench.options
    kinds = {kind: sum(fault.kind == kind for fault in bench.faults) for kind in FAULTS}
    print(
        f"{options.nodes} nodes, {options.jobs} jobs of every second, {options.seconds} s, seed {options.seed}"
        f"{', through PgBouncer' * options.pooled}{', clocks off by +2 and -1 s' * options.clocks}"
        f"{f', WITHOUT {options.without}' if options.without else ''}"
    )
    print("faults: " + ", ".join(f"{kind} {many}" for kind, many in kinds.items() if many))
    print(f"connections at most: {bench.observer.most}; exit codes: {sorted({code for _, code in bench.ended})}")
    for line in verdict.said:
        print(line)
    for rule, cases in verdict.wrong.items():
        print(f"{rule:42} {len(cases)}{f'   {cases[0]}' if cases else ''}")
    return verdict.is_good


def _range(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pooled", action="store_true", help="PgBouncer in transaction mode between")
    parser.add_argument("--clocks", action="store_true", help="the clocks of the nodes differ")
    parser.add_argument("--without", default="", metavar="RULE", help="until, contact or fence, switched off")
    parser.add_argument("--faults", default=list(FAULTS), type=lambda text: text.split(","))
    parser.add_argument("--length", default=(0.5, 7.0), type=_range, metavar="FROM,TO", help="seconds of a fault")
    parser.add_argument("--keep", type=Path, help="a folder for logs, which stays")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    server = Server()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(options, folder, server)
        try:
            bench.prepare()
            end = bench.run()
            bench.finish()
            good = report(bench, end)
        finally:
            bench.close()
            server.remove()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

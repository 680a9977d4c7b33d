"""Several real daemons on one PostgreSQL server, and the account of every slot afterwards."""

import subprocess
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import Daemon, Endpoint, fates, until
from postgres_rig import PASSWORD, USER, Server

PATIENT = 120.0  # seconds until a test gives up: three daemons start, and leases end, on a busy machine


def each_second(*names: str) -> str:
    return "".join(f'[jobs.{name}]\nschedule = "* * * * * *"\npath = "/{name}"\n' for name in names)


class Cluster:
    """Nodes by name. Each has a folder of its own in `folder`."""

    def __init__(self, folder: Path, server: Server, endpoint: Endpoint) -> None:
        self.folder, self.server, self.endpoint = folder, server, endpoint
        self.nodes: dict[str, Daemon] = {}
        server.do(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA tocsin AUTHORIZATION {USER}")

    def start(self, name: str, jobs: str, port: int = 0, folder: str = "", more: str = "") -> Daemon:
        place = self.folder / (folder or name)
        place.mkdir(exist_ok=True)
        daemon = self.nodes[folder or name] = Daemon(place, self.endpoint)
        daemon.environment["DATABASE_URL"] = self.server.url_of(USER, port)
        daemon.write(jobs, f'ledger = "${{DATABASE_URL}}"\nnode = "{name}"\n{more}')
        daemon.start()
        return daemon

    def owners(self) -> dict[str, str]:
        """The node of each job; "" where it has none."""
        asked = (
            "SELECT job || '=' || coalesce((SELECT node FROM tocsin.nodes WHERE session || ':' || epoch = owner), '')"
            " FROM tocsin.jobs ORDER BY job"
        )
        found = self.server.psql(asked)
        lines = found.stdout.splitlines() if found.returncode == 0 else []  # there may be no tables yet, or no server
        return {job: node for job, _, node in (line.partition("=") for line in lines)}

    def settled(self, jobs: Iterable[str], nodes: set[str]) -> dict[str, str]:
        """Wait until these nodes, and no others, own the jobs; who owns which."""

        def shared() -> dict[str, str] | None:
            found = {job: node for job, node in self.owners().items() if job in set(jobs)}
            return found if set(found) == set(jobs) and set(found.values()) == nodes else None

        return until(shared, f"{', '.join(nodes)} to own the jobs", PATIENT)

    def runs(self, job: str) -> int:
        done = f"SELECT count(*) FROM tocsin.slots WHERE job = '{job}' AND outcome = 'success'"
        return int(self.server.do(done))

    def run_on(self, jobs: Iterable[str], more: int = 2) -> None:
        """Wait until each job has run some more times."""
        names = list(jobs)
        before = {job: self.runs(job) for job in names}
        until(
            lambda: all(self.runs(job) >= before[job] + more for job in names), f"runs of {', '.join(names)}", PATIENT
        )

    def rows(self) -> list[dict[str, Any]]:
        return next(iter(self.nodes.values())).history()

    def stop(self) -> None:
        for daemon in self.nodes.values():
            if daemon.process and daemon.process.poll() is None:
                assert daemon.stop() == 0

    def account(self, jobs: Iterable[str]) -> None:
        """No slot was called twice, none that was called has no row, and each has one."""
        rows = self.rows()
        for job in jobs:
            called = Counter(call.headers["idempotency-key"] for call in self.endpoint.of(job))
            assert [key for key, count in called.items() if count > 1] == []
            assert called.keys() - {row["run_id"] for row in rows} == set()
            found = fates(rows, job)
            assert [due for due, fate in found.items() if len(fate) > 1] == []
            own = [row for row in rows if row["job"] == job and row["trigger"] != "manual"]
            covered = sum(row["count"] for row in own)
            first, last = min(seconds(row["due"]) for row in own), max(seconds(row["last"]) for row in own)
            assert covered == last - first + 1, f"a slot of {job} has no row"

    def cleanup(self) -> None:
        for daemon in self.nodes.values():
            pids = [daemon.pid, *daemon.children().values()] if daemon.process and daemon.process.poll() is None else []
            subprocess.run(["kill", "-CONT", *map(str, pids)], check=False, capture_output=True)
            daemon.cleanup()


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())

"""Tocsin from this checkout, as it is deployed: supervisord, the SQLite ledger, the exporter on."""

import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

from punctuality.peer import ON_THE_REAL_PATH, REAL, REPOSITORY, Absent, Command, Plan
from tocsin import __version__

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Tocsin:
    seconds = True

    def __init__(self, real: bool) -> None:
        self.name, self.real = "tocsin" + REAL * real, real
        self.about = (
            f"Tocsin {__version__} under supervisord with the shipped configuration: SQLite ledger, exporter on"
            + ON_THE_REAL_PATH * real
        )

    def setup(self, cache: Path) -> None:  # noqa: ARG002
        for program in ("tocsin", "supervisord"):
            if not (BIN / program).exists():
                raise Absent(f"{program} is not beside {sys.executable}: run through make bench")

    def commands(self, plan: Plan) -> list[Command]:
        port = free_port()
        (plan.folder / "var/log").mkdir(parents=True)
        shipped = (REPOSITORY / "supervisord.conf").read_text()
        # Two descriptors a job: the file's own comment says to raise it.
        conf = shipped.replace("minfds=1024", "minfds=8192")
        (plan.folder / "supervisord.conf").write_text(conf)
        jobs = "".join(
            f'[jobs.job-{n}]\nschedule = "{plan.expression}"\npath = "/job/{n}"\nmethod = "POST"\n'
            f'expect.json = {{ success = true }}\ntotals = {{ unassigned = "unassignedCount" }}\n'
            for n in range(plan.jobs)
        )
        authority = f'ca_file = "{plan.authority}"\n' if self.real else ""
        (plan.folder / "tocsin.toml").write_text(
            f'[daemon]\nlisten = "127.0.0.1:{port}"\n'
            f'[target]\nbase_url = "{plan.url}"\nsecret_env = "CRON_SECRET"\n{authority}{jobs}'
        )

        def ready(_: str) -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as reply:
                    return bool(reply.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        environment = {"CRON_SECRET": plan.secret, "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin"}
        return [Command([str(BIN / "supervisord"), "-n", "-c", "supervisord.conf"], environment, ready)]


PLAIN = Tocsin(real=False)
REAL_PATH = Tocsin(real=True)

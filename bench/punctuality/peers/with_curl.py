"""Schedulers that run a command: each job is one curl."""

import json
import os
import subprocess
from pathlib import Path

from punctuality.install import needs, once, python
from punctuality.peer import Absent, Command, Plan, said


def curl(plan: Plan, job: int) -> list[str]:
    return [
        needs("curl", "curl"), "-fsS", "-o", "/dev/null", "-X", "POST",
        "-H", f"x-cron-secret: {plan.secret}", f"{plan.url}/job/{job}",
    ]  # fmt: skip


def line(plan: Plan, job: int) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in curl(plan, job))


class Yacron:
    name = "yacron"
    about = "yacron 0.19.0, each job a `curl` (started without a shell)"
    real = False
    seconds = False

    def setup(self, cache: Path) -> None:
        needs("curl", "curl")
        python(cache, self.name)

    def commands(self, plan: Plan) -> list[Command]:
        jobs = [
            f"  - name: job-{n}\n    schedule: '* * * * *'\n    command:\n"
            + "".join(f"      - {json.dumps(word)}\n" for word in curl(plan, n))
            for n in range(plan.jobs)
        ]
        (plan.folder / "yacron.yaml").write_text("jobs:\n" + "".join(jobs))
        return [
            Command([str(plan.cache / self.name / ".venv/bin/yacron"), "-c", "yacron.yaml"], ready=said("Starting"))
        ]


class Supercronic:
    name = "supercronic"
    module = "github.com/aptible/supercronic@v0.2.48"
    about = "supercronic 0.2.48, each job a `curl` (through `sh`)"
    real = False
    seconds = True

    def setup(self, cache: Path) -> None:
        needs("curl", "curl")
        folder = cache / self.name
        environment = {**os.environ, "GOBIN": str(folder)}
        once(folder, [], ["go", "install", self.module], environment=environment)

    def commands(self, plan: Plan) -> list[Command]:
        # Seven fields are how it reads seconds: seconds first, the year last.
        expression = plan.expression + (" *" if plan.period != 60 else "")
        (plan.folder / "crontab").write_text("".join(f"{expression} {line(plan, n)}\n" for n in range(plan.jobs)))
        return [Command([str(plan.cache / self.name / "supercronic"), "crontab"], ready=said("read crontab"))]


class Cron:
    """Debian's cron reads /etc/crontab, /etc/cron.d and the users' crontabs, and only as root.

    It is started in a mount namespace of its own, in which /etc/cron.d holds our file alone, and /etc/crontab, the
    users' crontabs and /run (its pid file) are empty: the system's own cron and tables are not touched, and nothing
    is left behind.
    """

    name = "cron"
    real = False
    seconds = False

    @property
    def about(self) -> str:
        words = ["dpkg-query", "-W", "-f", "${Version}", "cron"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return f"Debian's cron {done.stdout}, each job a `curl` (through `sh`)"

    def setup(self, cache: Path) -> None:  # noqa: ARG002
        for program, package in (("cron", "cron"), ("curl", "curl"), ("unshare", "util-linux")):
            needs(program, package)
        if os.geteuid() != 0:
            raise Absent("cron runs jobs of /etc/cron.d only when it is root")
        tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            raise Absent(f"no mount namespace: {tried.stderr.strip()}")

    def commands(self, plan: Plan) -> list[Command]:
        table = plan.folder / "cron.d" / "bench"
        table.parent.mkdir()
        table.write_text('MAILTO=""\n' + "".join(f"* * * * * root {line(plan, n)}\n" for n in range(plan.jobs)))
        (plan.folder / "empty").touch()
        script = (
            "set -e; mount --bind cron.d /etc/cron.d; mount --bind empty /etc/crontab; "
            "mount -t tmpfs none /var/spool/cron/crontabs; mount -t tmpfs none /run; "
            f"echo ready; exec {needs('cron', 'cron')} -f"
        )
        return [Command(["unshare", "--mount", "sh", "-c", script])]


YACRON, SUPERCRONIC, CRON = Yacron(), Supercronic(), Cron()

"""Makes a Config of the tables of a job file. If the file was read before, makes only what changed."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tocsin.config import access as exporter_access
from tocsin.config import jobs, secrets
from tocsin.config import ledger as ledgers
from tocsin.config import notify as notifying
from tocsin.config.dotenv import Dotenv
from tocsin.config.jobs import Defaults
from tocsin.config.model import Config, Job
from tocsin.config.notify import Notify
from tocsin.config.placeholders import placeholder
from tocsin.config.secrets import Secret, SecretError
from tocsin.config.target import Target
from tocsin.config.tls import TlsFiles, system_fault
from tocsin.jobfile.faults import nearest
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import DaemonTable, JobTable

MAX_LABEL_NAMES = 16  # of all jobs together: tocsin_job_info has each of them for every job
DAEMON_VARIABLES = {  # environment variable -> key of [daemon]; the environment takes precedence
    "TOCSIN_STATE_DIR": "state_dir",
    "TOCSIN_LISTEN": "listen",
    "TOCSIN_LISTEN_HOSTS": "listen_hosts",
    "TOCSIN_LEDGER": "ledger",
    "TOCSIN_NODE": "node",
    "LOG_LEVEL": "log_level",
    "TOCSIN_LOG_FORMAT": "log_format",
}

TABLES = ("daemon", "target", "notify", "defaults", "jobs")


@dataclass
class Known:
    """The jobs of the last load, so that a reload makes only those that changed. It then takes a third of the time.

    A job depends on its table and on what it was `read_with`: file, defaults, target and environment. The files that it
    names are read again each time. `jobs` holds, for each name, the job and the repr of its table, in which 1 and true
    differ and keys have an order.
    """

    read_with: object = None
    jobs: dict[str, tuple[str, Job]] = field(default_factory=dict)


class Loader(Reader):
    """Turns the tables of one job file into a Config."""

    def __init__(
        self, file: Path, written: dict[str, Any], environment: Mapping[str, str], known: Known, beside: Dotenv
    ) -> None:
        """`environment` includes the variables of the `.env`. `beside` describes that file."""
        super().__init__(file, environment, beside.unknown)
        self.faults += beside.faults
        self.known = known
        self.read_with: object = None
        self.read_jobs: dict[str, tuple[str, Job]] = {}
        self.warnings: list[str] = list(beside.warnings)
        self.written = written
        self.adopted: dict[str, Any] = {}  # tables of the files in `jobs_from`

    def config(self, digest: Any) -> Config | None:
        for name in self.written.keys() - set(TABLES):
            self.fault("", name, f"is not a table of the job file{nearest(name, TABLES)}")
        daemon, faulty = self.daemon()
        target = Target(self, self.table("target"))
        if why := system_fault():
            self.fault("environment SSL_CERT_FILE", "", why)
        defaults = self.defaults({"keep_replies": daemon.keep_replies})
        self.read_with = self.file, repr(defaults), target.table, self.environment
        if self.read_with != self.known.read_with:
            self.known = Known()
        made = {}
        for name, table in self.table("jobs").items():
            if job := self.job(name, table, defaults, target):
                made[name] = job
        named = self.table("daemon").get("jobs_from")
        if daemon.jobs_from:
            made |= self.jobs_from(daemon, defaults, target)
        if not (self.written.get("jobs") or self.adopted or (named and self.faults)):  # they may be in a faulty file
            self.fault("jobs", "", "has no job; add a table such as [jobs.sla-check]")
        access = exporter_access.read(daemon, faulty, self)
        ledger = ledgers.read(daemon, faulty, self, self.warnings)
        notify = self.notify(pings=any(job.ping_url for job in made.values()))
        names = sorted({name for job in made.values() for name, _ in job.labels})
        if len(names) > MAX_LABEL_NAMES:
            why = f"have {len(names)} names in all ({', '.join(names[:5])}, …); at most {MAX_LABEL_NAMES}"
            self.fault("", "labels", f"{why}, since each is a label of tocsin_job_info")
        if self.faults:
            return None
        of_jobs = (job.secret for job in made.values())
        self.judge_secrets({one for one in (*of_jobs, access.bearer, access.password) if one})
        if warning := exporter_access.warning(daemon.listen, access):
            self.warnings.append(warning)
        public = {name: (job.schedule.expression, job.schedule.timezone, job.url) for name, job in made.items()}
        settings = daemon.model_dump(mode="json") | {"ledger": str(ledger or "sqlite")}
        settings["notify"] = repr(notify)
        digest.update(json.dumps([public, settings, self.adopted], sort_keys=True).encode())
        return Config(
            file=self.file,
            state_dir=self.file.parent / daemon.state_dir,
            listen=daemon.listen,
            access=access,
            ledger=ledger or "sqlite",
            node=daemon.node or os.uname().nodename,
            log_level=daemon.log_level,
            log_format=daemon.log_format,
            drain=daemon.drain,
            retention=daemon.retention,
            replies_retention=daemon.replies_retention,
            jobs=made,
            hash=digest.hexdigest()[:12],
            warnings=tuple(self.warnings),
            notify=notify,
        )

    # ---- tables

    def table(self, name: str) -> dict[str, Any]:
        """Return a table of the file. If it is not a table, adds a fault and treats it as empty."""
        table = self.written.get(name, {})
        if isinstance(table, dict):
            return table
        self.fault(name, "", "must be a table", table)
        self.written[name] = {}
        return {}

    def daemon(self) -> tuple[DaemonTable, frozenset[str]]:
        """Return the table, and its faulty keys."""
        written = dict(self.table("daemon"))
        wrong: set[str] = set()
        if ledgers.holds_password(written.get("ledger")):
            del written["ledger"]
            wrong.add("ledger")
            self.fault(
                "daemon",
                "ledger",
                "holds a password, which does not belong into a job file: write the address as ${DATABASE_URL}, or set"
                " ledger_password_env or ledger_password_file",
            )
        for variable, key in DAEMON_VARIABLES.items():
            value: str | list[str]
            if value := self.environment.get(variable, ""):
                if key == "log_level":
                    value = {"warn": "warning"}.get(value.lower(), value.lower())  # Node's word
                if key == "listen_hosts":
                    value = value.replace(",", " ").split()
                if key == "ledger" and isinstance(value, str):
                    self.held[value] = f"${variable}"  # faults never repeat it: it may contain a password
                written.pop(key, None)
                if self.model(DaemonTable, {key: value}, f"environment {variable}"):
                    written[key] = value
                else:
                    wrong.add(key)
        daemon, faulty = self.read(DaemonTable, written, "daemon")
        return daemon, faulty | wrong

    def notify(self, *, pings: bool) -> Notify | None:
        return notifying.read(self, self.table("notify") if "notify" in self.written else None, pings=pings)

    def defaults(self, before: dict[str, Any]) -> Defaults:
        """Return `before` with the keys of [defaults]. Reports faulty ones here, once, and leaves them out."""
        written = self.table("defaults")
        _, faulty = self.read(JobTable, written, "defaults")
        misplaced = [key for key in ("schedule", "every", "path", "url") if key in written]
        for key in misplaced:
            self.fault("defaults", key, "belongs to a job, not to all of them", written[key])
        faulty |= set(misplaced)
        right = {key: value for key, value in written.items() if key not in faulty}
        return Defaults(before | right, faulty - set(misplaced))

    def job(self, name: str, written: Any, defaults: Defaults, target: Target) -> Job | None:
        """Return the known job, or make it. None after adding its faults."""
        now = repr(written)
        before, job = self.known.jobs.get(name, ("", None))
        if job is None or before != now or not still_holds(job, target):
            job = jobs.job(name, written, defaults, target, self)
        if job:
            self.read_jobs[name] = now, job
        return job

    def jobs_from(self, daemon: DaemonTable, defaults: Defaults, target: Target) -> dict[str, Job]:
        """Return the jobs of the files in `jobs_from`. Their faults name these files."""
        from tocsin.importing import found  # imported only if there are such files
        from tocsin.importing import jobs_from as adopted

        made = {}
        own = self.written.get("jobs")
        taken = set(own) if isinstance(own, dict) else set()
        named = dict(zip(daemon.jobs_from, self.table("daemon")["jobs_from"], strict=True))
        for one in adopted.jobs(self.file.parent, named, taken, self.faults, self.warnings):
            self.adopted[one.name] = one.table
            before = len(self.faults)
            job = self.job(one.name, one.table, defaults, target)
            for index, fault in enumerate(self.faults[before:], before):
                if fault.table == f"jobs.{one.name}":
                    self.faults[index] = found.fault_of(fault, one.where)
            if job:
                made[one.name] = replace(job, source=one.source)
        return made

    def judge_secrets(self, used: Iterable[Secret]) -> None:
        for one in sorted(used, key=lambda s: s.source):
            if what := placeholder(one.value):
                self.warnings.append(
                    f"the secret from {one.source} is {what}, the same for everyone who copied it; "
                    "make one with: openssl rand -hex 32"
                )
            elif len(one.value) < secrets.SHORT:
                self.warnings.append(
                    f"the secret from {one.source} has fewer than {secrets.SHORT} characters, so it can be guessed; "
                    "make one with: openssl rand -hex 32"
                )


def still_holds(job: Job, target: Target) -> bool:
    """Whether the files of a job are unchanged."""
    if job.tls not in (TlsFiles(), target.tls):
        return False
    try:
        return job.secret is None or job.secret.reread() == job.secret
    except SecretError:
        return False

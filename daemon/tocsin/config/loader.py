"""The tables of a job file into a Config; of a file that was read before, only what changed."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tocsin.config import access as exporter_access
from tocsin.config import secrets
from tocsin.config.model import Config, Job
from tocsin.config.secrets import Secret, SecretError
from tocsin.config.tls import TlsError, TlsFiles, system_fault
from tocsin.jobfile.faults import nearest
from tocsin.jobfile.reader import REFERENCE, Reader
from tocsin.jobfile.tables import JOB_NAME, DaemonTable, JobTable, TargetTable, parse_duration
from tocsin.jobfile.urls import is_public, origin
from tocsin.redact import is_unlike_words, looks_random, names_a_secret
from tocsin.schedule import Schedule, ScheduleError

DAEMON_VARIABLES = {  # environment variable -> key of [daemon]; the environment wins
    "TOCSIN_STATE_DIR": "state_dir",
    "TOCSIN_LISTEN": "listen",
    "TOCSIN_LEDGER": "ledger",
    "TOCSIN_NODE": "node",
    "LOG_LEVEL": "log_level",
    "TOCSIN_LOG_FORMAT": "log_format",
}

ONE_OF = (("secret_env", "secret_file"), ("json", "body"))  # a job's own word on one ends what the defaults say of both


@dataclass
class Known:
    """The jobs of the last load, so that the next one makes only those that changed: a reload takes a third.

    A job is made of its table and of what it was `read_with`: file, defaults, target and environment. What its files
    hold is looked at again each time. `jobs` holds for each name the job's table as its repr, in which 1 is not true
    and keys have an order, and the job.
    """

    read_with: object = None
    jobs: dict[str, tuple[str, Job]] = field(default_factory=dict)


class Loader(Reader):
    """Turns the tables of one job file into a Config."""

    def __init__(self, file: Path, written: dict[str, Any], environment: Mapping[str, str], known: Known) -> None:
        super().__init__(file, environment)
        self.known = known
        self.read_with: object = None
        self.read: dict[str, tuple[str, Job]] = {}
        self.warnings: list[str] = []
        self.written = written
        self.tls_files: TlsFiles | None = None  # of the target
        self.adopted: dict[str, Any] = {}  # tables of the files that the daemon's table names

    def config(self, digest: Any) -> Config | None:
        for name in self.written.keys() - {"daemon", "target", "defaults", "jobs"}:
            self.fault(
                "", name, f"is not a table of the job file{nearest(name, ['daemon', 'target', 'defaults', 'jobs'])}"
            )
        daemon = self.daemon()
        target = self.model(TargetTable, self.table("target"), "target")
        if why := system_fault():
            self.fault("environment SSL_CERT_FILE", "", why)
        defaults = self.defaults()
        self.read_with = self.file, repr(defaults), target, self.environment
        if self.read_with != self.known.read_with:
            self.known = Known()
        jobs = {}
        for name, table in self.table("jobs").items():
            if job := self.job(name, table, defaults, target):
                jobs[name] = job
        if daemon and daemon.jobs_from:
            jobs |= self.jobs_from(daemon, defaults, target)
        named = "jobs_from" in self.table("daemon") if daemon else self.faults  # then they may be in files with faults
        if not (self.written.get("jobs") or self.adopted or (named and self.faults)):
            self.fault("jobs", "", "has no job; add a table such as [jobs.sla-check]")
        access = exporter_access.read(daemon, self) if daemon else None
        if self.faults or daemon is None or access is None:
            return None
        of_jobs = (job.secret for job in jobs.values())
        self.judge_secrets({one for one in (*of_jobs, access.bearer, access.password) if one})
        if warning := exporter_access.warning(daemon.listen, access):
            self.warnings.append(warning)
        public = {name: (job.schedule.expression, job.schedule.timezone, job.url) for name, job in jobs.items()}
        digest.update(json.dumps([public, daemon.model_dump(mode="json"), self.adopted], sort_keys=True).encode())
        return Config(
            file=self.file,
            state_dir=self.file.parent / daemon.state_dir,
            listen=daemon.listen,
            access=access,
            ledger=daemon.ledger,
            node=daemon.node or os.uname().nodename,
            log_level=daemon.log_level,
            log_format=daemon.log_format,
            drain=daemon.drain,
            keep=daemon.keep,
            jobs=jobs,
            hash=digest.hexdigest()[:12],
            warnings=tuple(self.warnings),
        )

    # ---- tables

    def table(self, name: str) -> dict[str, Any]:
        table = self.written.get(name, {})
        if isinstance(table, dict):
            return table
        self.fault(name, "", "must be a table", table)
        return {}

    def daemon(self) -> DaemonTable | None:
        written = dict(self.table("daemon"))
        for variable, key in DAEMON_VARIABLES.items():
            if value := self.environment.get(variable):
                if key == "log_level":
                    value = {"warn": "warning"}.get(value.lower(), value.lower())  # Node's word for it
                one = self.model(DaemonTable, {key: value}, f"environment {variable}")
                written.pop(key, None)
                if one:
                    written[key] = value
        daemon = self.model(DaemonTable, written, "daemon")
        if daemon and daemon.ledger != "sqlite":
            self.fault("daemon", "ledger", 'must be "sqlite" in this version (PostgreSQL is not there yet)')
        return daemon

    def defaults(self) -> dict[str, Any]:
        """The keys of [defaults] that hold; a faulty one is reported here, once, and left out."""
        written = self.table("defaults")
        before = len(self.faults)
        self.model(JobTable, written, "defaults")
        for key in ("schedule", "every", "path", "url"):
            if key in written:
                self.fault("defaults", key, "belongs to a job, not to all of them", written[key])
        faulty = {fault.key.split(".")[0] for fault in self.faults[before:]}
        return {key: value for key, value in written.items() if key not in faulty}

    def job(self, name: str, written: Any, defaults: dict[str, Any], target: TargetTable | None) -> Job | None:
        """As it is known, or made anew; None after adding its faults."""
        now = repr(written)
        before, job = self.known.jobs.get(name, ("", None))
        if job is None or before != now or not self.still_holds(job, target):
            job = self.made(name, written, defaults, target)
        if job:
            self.read[name] = now, job
        return job

    def still_holds(self, job: Job, target: TargetTable | None) -> bool:
        """Whether the files of a job hold what they held."""
        if target and job.tls not in (TlsFiles(), self.tls(target)):
            return False
        try:
            return job.secret is None or job.secret.reread() == job.secret
        except SecretError:
            return False

    def made(self, name: str, written: Any, defaults: dict[str, Any], target: TargetTable | None) -> Job | None:
        table = f"jobs.{name[:70]}"
        before = len(self.faults)
        if not JOB_NAME.fullmatch(name):
            self.fault(table, "", "a job's name has a-z, 0-9, '.', '_' and '-', a letter or digit first, at most 63")
        if not isinstance(written, dict):
            self.fault("jobs", name[:70], "must be a table", written)
            return None
        beside = {other for pair in ONE_OF for key in pair if key in written for other in pair}
        whole = {**{key: value for key, value in defaults.items() if key not in beside}, **written}
        if isinstance(own := written.get("expect"), dict) and "expect" in defaults:
            whole["expect"] = {**defaults["expect"], **own}  # two keys of a job, if in one table
        model = self.model(JobTable, whole, table)
        if model is None:
            return None
        schedule = self.schedule(model, whole, table)
        url, secret = self.url_and_secret(model, target, table)
        sent = {key: whole[key] for key in ("url", "path", "headers", "json", "body") if key in whole}
        if model.path:
            sent["base_url"] = self.table("target").get("base_url")
        signing_secret = self.signing_secret(url, target)
        headers = dict(model.headers)
        body = self.body(model, headers, table)
        if body is None and "content_type" in written:
            self.fault(table, "content_type", "has no body to be the type of", written["content_type"])
        if len(self.faults) > before or schedule is None:
            return None
        return Job(
            name=name,
            description=model.description,
            enabled=model.enabled,
            schedule=schedule,
            method=model.method,
            url=url,
            headers=tuple(headers.items()),
            body=body,
            secret=secret,
            timeout=model.timeout,
            connect_timeout=model.connect_timeout,
            grace=model.grace,
            arm=model.arm,
            catch_up=model.catch_up,
            retries=model.retries,
            retry_on=tuple(model.retry_on),
            delivery=model.delivery,
            expect_status=tuple(model.expect.status),
            expect_json=tuple(model.expect.json_.items()),
            expect_html=model.expect.html,
            totals=tuple(model.totals.items()),
            max_reply=model.max_reply,
            memory_limit=model.memory_limit,
            tls=self.tls(target) if target and origin(url) == origin(target.base_url) else TlsFiles(),
            signing_secret=signing_secret,
            hidden=tuple(sorted(set(self.hidden_in(sent)), key=len, reverse=True)),
        )

    def jobs_from(self, daemon: DaemonTable, defaults: dict[str, Any], target: TargetTable | None) -> dict[str, Job]:
        """The jobs of the files that the daemon's table names; their faults name those files."""
        from tocsin.importing import found  # a start without them need not read them
        from tocsin.importing import jobs_from as adopted

        jobs = {}
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
                jobs[one.name] = replace(job, source=one.source)
        return jobs

    def schedule(self, model: JobTable, written: dict[str, Any], table: str) -> Schedule | None:
        if model.schedule and model.every:
            self.fault(table, "every", "stands beside schedule; a job has one of the two", written["every"])
            return None
        if not model.schedule and not model.every:
            self.fault(table, "schedule", 'is missing; write schedule = "* * * * *" or every = "90s", one of the two')
            return None
        expression = model.schedule
        if model.every:
            try:
                seconds = parse_duration(model.every)
            except ValueError as error:
                self.fault(table, "every", str(error), written["every"])
                return None
            if seconds != int(seconds):
                self.fault(table, "every", "must be whole seconds", written["every"])
                return None
            expression = f"@every {int(seconds)}s"
        try:
            return Schedule(expression, model.timezone)
        except ScheduleError as error:
            key = "every" if model.every else "schedule"
            if REFERENCE.search(written[key]):  # the reason quotes pieces of what the variable holds
                self.fault(table, key, "is no schedule with what its variables hold", written[key])
            else:
                self.fault(table, key, str(error))
            return None

    def url_and_secret(self, model: JobTable, target: TargetTable | None, table: str) -> tuple[str, Secret | None]:
        if model.path and model.url:
            self.fault(table, "url", "stands beside path; a job has one of the two")
            return "", None
        if not model.path and not model.url:
            self.fault(table, "path", 'is missing; write path = "/api/…" or url = "https://…", one of the two')
            return "", None
        if target is None:  # its own faults are listed already
            return model.url, None
        if model.path and not target.base_url:
            self.fault("target", "base_url", f"is required by job {table.removeprefix('jobs.')}, which gives a path")
            return "", None
        base = target.base_url.rstrip("/")
        url = model.url or base + model.path
        if urlsplit(url).scheme == "http" and not target.allow_insecure and is_public(urlsplit(url).hostname or ""):
            where, key = ("target", "base_url") if model.path else (table, "url")
            why = "would go in the clear to a public host; use https://, or set allow_insecure = true in [target]"
            if not any(fault.why == why and fault.table == where for fault in self.faults):
                self.fault(where, key, why)
        own = bool(model.secret_env or model.secret_file)
        if model.url and not own and origin(model.url) != origin(base):
            return url, None  # the target's secret is for the target alone
        return url, self.secret(model, target, table)

    def hidden_in(self, written: Any, name: str = "") -> Iterator[str]:
        """What the variables hold that stand in what a job sends, or its part of that name, where it may be a secret:
        it looks like one, or the header, parameter or key that takes it is named like one."""
        if isinstance(written, dict):
            for key, value in written.items():
                yield from self.hidden_in(value, key)
        elif isinstance(written, list):
            for value in written:
                yield from self.hidden_in(value, name)
        elif isinstance(written, str):
            for reference in REFERENCE.finditer(written):
                held = self.environment.get(reference[1], "")
                yield from filter(looks_random, re.split(r"[/?&=\s]", held))
                before = written[max(0, reference.start() - 200) : reference.start()]
                parameter = re.search("(?:^|[?&])([^?&=]+)=$", before)
                if names_a_secret(parameter[1] if parameter else name) and is_unlike_words(held):
                    yield held

    def secret(self, model: JobTable, target: TargetTable, table: str) -> Secret | None:
        sent = model.send_secret or target.send_secret
        if sent == "none":
            return None
        if model.secret_env or model.secret_file:
            where, variable, file = table, model.secret_env, model.secret_file
        else:
            where, variable, file = "target", target.secret_env, target.secret_file
        try:
            if file:
                return secrets.from_file(self.file.parent / file, sent)
            return secrets.from_environment(variable, sent, self.environment)
        except SecretError as error:
            key = "secret_file" if file else "secret_env"
            if not any((f.table, f.key) == (where, key) for f in self.faults):
                self.fault(where, key, str(error))
            return None

    def signing_secret(self, url: str, target: TargetTable | None) -> Secret | None:
        """The target's, for calls of the target alone."""
        if target is None or not target.signing_secret_env or origin(url) != origin(target.base_url):
            return None
        try:
            return secrets.for_signing(target.signing_secret_env, self.environment)
        except SecretError as error:
            if not any((f.table, f.key) == ("target", "signing_secret_env") for f in self.faults):
                self.fault("target", "signing_secret_env", str(error))
            return None

    def tls(self, target: TargetTable) -> TlsFiles:
        """The target's authority and client certificate, read and tried once; for calls of the target alone."""
        if self.tls_files is None:
            ca, cert, key = (
                self.file.parent / name if name else None
                for name in (target.ca_file, target.client_cert, target.client_key)
            )
            self.tls_files = TlsFiles(ca, cert, key)
            try:
                self.tls_files = self.tls_files.read()
            except TlsError as error:
                self.fault("target", error.key, str(error))
        return self.tls_files

    def judge_secrets(self, used: Iterable[Secret]) -> None:
        for one in sorted(used, key=lambda s: s.source):
            if len(one.value) < secrets.SHORT:
                self.warnings.append(
                    f"the secret from {one.source} has fewer than {secrets.SHORT} characters and can be guessed; "
                    "make one with: openssl rand -hex 32"
                )

    def body(self, model: JobTable, headers: dict[str, str], table: str) -> bytes | None:
        named = {name.lower() for name in headers}
        is_json = "json_" in model.model_fields_set
        if is_json and model.body is not None:
            self.fault(table, "body", "stands beside json; a request has one body")
        if not is_json and model.body is None:
            return None
        kind = model.content_type or ("application/json" if is_json else "text/plain; charset=utf-8")
        if "content-type" not in named:
            headers["Content-Type"] = kind
        if not is_json:
            return (model.body or "").encode()
        try:
            return json.dumps(model.json_, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):  # a date, a NaN, a list in a list in a list …
            self.fault(table, "json", "cannot be written as JSON; dates and times go in quotes, nan and inf nowhere")
            return None

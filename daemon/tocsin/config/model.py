"""The contents of the job file, ready for use: a frozen Config of frozen Jobs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tocsin.config.access import Access
from tocsin.config.ledger import Postgres
from tocsin.config.notify import Notify
from tocsin.config.secrets import Secret
from tocsin.config.tls import TlsFiles
from tocsin.ipc.types import Keep
from tocsin.schedule import Schedule

_PRIVATE = ("secret", "signing_secret", "hidden", "source")  # what is not part of a job's fingerprint


@dataclass(frozen=True, slots=True)
class Job:
    """One job, with defaults and environment filled in. Durations are seconds (float), sizes are bytes."""

    name: str
    description: str
    enabled: bool
    schedule: Schedule
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    secret: Secret | None
    timeout: float
    connect_timeout: float
    grace: float
    arm: bool  # connect before the instant, so that only one send is left for it
    catch_up: Literal["last", "all", "none"]
    retries: int
    retry_on: tuple[str, ...]
    delivery: Literal["at-most-once", "at-least-once"]
    alert_after: int  # failures in a row; 0: depends on the schedule
    expect_status: tuple[str, ...]
    expect_json: tuple[tuple[str, Any], ...]
    expect_html: bool
    expect_cached: bool
    totals: tuple[tuple[str, str], ...]
    max_reply: int
    memory_limit: int | None
    tls: TlsFiles
    signing_secret: Secret | None = None
    keep_replies: Keep = "failures"
    labels: tuple[tuple[str, str], ...] = ()  # sorted by name
    hidden: tuple[str, ...] = field(default=(), repr=False)  # texts that may be secrets
    notify: bool = True
    notify_after: int = 0  # failures in a row; 0: as alert_after
    ping_url: str = field(default="", repr=False)
    source: str = field(default="", compare=False)  # the file of daemon.jobs_from that defines it

    @property
    def host(self) -> str:
        """Host and port of the URL, as written."""
        return urlsplit(self.url).netloc

    @property
    def longest_run(self) -> float:
        """Seconds after which a run must be over, including its retries."""
        return self.timeout * (1 + self.retries if "timeout" in self.retry_on else 1)

    @property
    def public_url(self) -> str:
        """The URL to show: without its query, and without parts that may be secrets."""
        start, host, rest = re.split(r"(?<=//)([^/]*)", self.url.partition("?")[0], maxsplit=1)
        labels = ("…" if label in self.hidden else label for label in host.split("."))
        return f"{start}{'.'.join(labels)}{self.without_hidden(rest)}"

    @property
    def fingerprint(self) -> str:
        """The same for two definitions that mean the same, whatever their secrets are: nodes compare their files by
        it."""
        public = {name: getattr(self, name) for name in self.__slots__ if name not in _PRIVATE}
        text = self.without_hidden(repr({**public, "schedule": self.schedule.text}))
        return blake2b(text.encode(), digest_size=6).hexdigest()

    def without_hidden(self, text: str) -> str:
        for value in self.hidden:
            text = text.replace(value, "…")
        return text


@dataclass(frozen=True, slots=True)
class Config:
    """The whole job file. `hash` covers everything except the secrets. `warnings` are for the log."""

    file: Path
    state_dir: Path
    listen: tuple[str, int]
    access: Access
    ledger: Literal["sqlite"] | Postgres
    node: str
    log_level: str
    log_format: str
    drain: float
    retention: float
    replies_retention: float
    jobs: Mapping[str, Job]
    hash: str
    warnings: tuple[str, ...]
    notify: Notify | None = None  # None: nobody is told, and no process is there to do it

    @property
    def enabled_jobs(self) -> dict[str, Job]:
        return {name: job for name, job in self.jobs.items() if job.enabled}

    @property
    def secrets(self) -> Iterable[Secret]:
        of_jobs = {one for job in self.jobs.values() for one in (job.secret, job.signing_secret) if one}
        return of_jobs | set(self.access.secrets)

    @property
    def hidden(self) -> set[str]:
        """Every text that must be hidden."""
        parts = {part for one in self.secrets for part in one.parts()}
        if isinstance(self.ledger, Postgres):
            parts.update(self.ledger.hidden)
        if self.notify:
            parts.update(self.notify.hidden)
        return parts.union(*(job.hidden for job in self.jobs.values()))

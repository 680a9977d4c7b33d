"""Makes a Job of one table of the job file, the defaults for all jobs, and the target.

Each rule is checked if the keys that it needs are right, so that one fault does not hide another.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.config import notify, secrets
from tocsin.config.hiding import hidden_in
from tocsin.config.model import Job
from tocsin.config.secrets import Secret, SecretError
from tocsin.config.target import Target
from tocsin.config.tls import TlsFiles
from tocsin.jobfile.faults import REFERENCE
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import JobTable
from tocsin.jobfile.values import JOB_NAME, parse_duration
from tocsin.schedule import Schedule, ScheduleError

ONE_OF = (("secret_env", "secret_file"), ("json", "body"))  # if a job sets one, the defaults of both do not apply


@dataclass(frozen=True, slots=True)
class Defaults:
    """The right keys of [defaults], and the names of the faulty ones."""

    keys: Mapping[str, Any]
    faulty: frozenset[str]


def job(name: str, written: Any, defaults: Defaults, target: Target, reader: Reader) -> Job | None:
    """Return the job of the table, or None after adding its faults to the reader."""
    before = len(reader.faults)
    if not JOB_NAME.fullmatch(name):
        why = "is not a job name: use a-z, 0-9, '.', '_' and '-', a letter or digit first, at most 63"
        reader.fault(f"jobs.{name[:70]}", "", why)
    if not isinstance(written, dict):
        reader.fault("jobs", name[:70], "must be a table", written)
        return None
    job = _Maker(name, written, defaults, target, reader).job()
    return job if len(reader.faults) == before else None


class _Maker:
    def __init__(self, name: str, written: dict[str, Any], defaults: Defaults, target: Target, reader: Reader) -> None:
        self.name = name
        self.table = f"jobs.{name[:70]}"
        self.target = target
        self.reader = reader
        own = written.keys() | {other for pair in ONE_OF for key in pair if key in written for other in pair}
        self.whole = {**{key: value for key, value in defaults.keys.items() if key not in own}, **written}
        for key in ("expect", "labels"):  # a job's own table is added to that of the defaults
            if isinstance(table := written.get(key), dict) and key in defaults.keys:
                self.whole[key] = {**defaults.keys[key], **table}
        self.model, faulty = reader.read(JobTable, self.whole, self.table)
        self.own_content_type = "content_type" in written
        self.faulty = faulty | (defaults.faulty - own)

    def fault(self, key: str, why: str, *, shown: bool = False) -> None:
        if shown:
            self.reader.fault(self.table, key, why, self.whole[key])
        else:
            self.reader.fault(self.table, key, why)

    def right(self, *keys: str) -> bool:
        return self.faulty.isdisjoint(keys)

    def job(self) -> Job | None:
        model, target = self.model, self.target
        schedule = self.schedule()
        url = self.url()
        owned = bool(url) and target.owns(url)
        secret = self.secret(owned=owned)
        signing_secret = target.signing_secret if owned else None
        tls = target.tls if owned else TlsFiles()
        headers = dict(model.headers)
        body = self.body(headers)
        ping_url = notify.address(model.ping_url_env, self.table, "ping_url_env", self.reader)
        if schedule is None:
            return None
        return Job(
            name=self.name,
            description=model.description,
            enabled=model.enabled,
            schedule=schedule,
            method=model.method,
            url=url,
            labels=tuple(sorted(model.labels.items())),
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
            alert_after=model.alert_after,
            expect_status=tuple(model.expect.status),
            expect_json=tuple(model.expect.json_.items()),
            expect_html=model.expect.html,
            expect_cached=model.expect.cached,
            totals=tuple(model.totals.items()),
            max_reply=model.max_reply,
            memory_limit=model.memory_limit,
            keep_replies=model.keep_replies,
            tls=tls,
            signing_secret=signing_secret,
            notify=model.notify,
            notify_after=model.notify_after,
            ping_url=ping_url,
            hidden=(*self.hidden(), *notify.parts(ping_url)),
        )

    def schedule(self) -> Schedule | None:
        model = self.model
        if model.schedule and model.every:
            self.fault("every", "cannot be combined with schedule: use only one of them", shown=True)
        if not model.schedule and not model.every:
            if self.right("schedule", "every"):
                self.fault("schedule", 'is missing: set schedule = "* * * * *" or every = "90s"')
            return None
        found = None
        if model.every:
            found = self.scheduled("every", f"@every {int(parse_duration(model.every))}s")
        if model.schedule:
            found = self.scheduled("schedule", model.schedule)
        return found

    def scheduled(self, key: str, expression: str) -> Schedule | None:
        try:
            return Schedule(expression, self.model.timezone)
        except ScheduleError as error:
            if REFERENCE.search(self.whole[key]):  # the reason quotes parts of the variable's value
                self.fault(key, "is not a schedule with the values of its variables", shown=True)
            else:
                self.fault(key, str(error))
            return None

    def url(self) -> str:
        """Return the job's URL, or "" if it is not known."""
        model = self.model
        if model.path and model.url:
            self.fault("url", "cannot be combined with path: use only one of them")
            return ""
        if not model.path and not model.url:
            if self.right("path", "url"):
                self.fault("path", 'is missing: set path = "/api/…" or url = "https://…"')
            return ""
        return self.target.url(model, self.table)

    def secret(self, *, owned: bool) -> Secret | None:
        """Return the job's own secret, else the target's if the call goes to the target."""
        model, target = self.model, self.target
        sent = model.send_secret or target.table.send_secret
        if sent == "none" or not self.right("secret_env", "secret_file"):
            return None
        if not model.secret_env and not model.secret_file:
            return target.secret(sent) if owned or model.path else None
        if not model.secret_file and model.secret_env in self.reader.unknown:
            return None
        try:
            if model.secret_file:
                return secrets.from_file(self.reader.file.parent / model.secret_file, sent)
            return secrets.from_environment(model.secret_env, sent, self.reader.environment)
        except SecretError as error:
            self.fault("secret_file" if model.secret_file else "secret_env", str(error))
            return None

    def body(self, headers: dict[str, str]) -> bytes | None:
        """Return the body of the request. Adds its type to the headers."""
        model = self.model
        is_json = "json_" in model.model_fields_set
        if is_json and model.body is not None:
            self.fault("body", "cannot be combined with json: use only one of them")
        if not is_json and model.body is None:
            if self.own_content_type and self.right("content_type", "json", "body"):
                self.fault("content_type", "needs a body: set body or json", shown=True)
            return None
        kind = model.content_type or ("application/json" if is_json else "text/plain; charset=utf-8")
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = kind
        if not is_json:
            return (model.body or "").encode()
        try:
            return json.dumps(model.json_, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):  # a date, a NaN, a list in a list in a list …
            self.fault("json", "cannot be written as JSON: put dates and times in quotes; JSON has no nan and inf")
            return None

    # ---- what must be hidden

    def hidden(self) -> tuple[str, ...]:
        sent: dict[str, Any] = {key: self.whole.get(key) for key in ("url", "path", "headers", "json", "body")}
        if self.model.path:
            sent["base_url"] = self.target.written.get("base_url")
        return tuple(sorted(set(hidden_in(sent, self.reader.environment)), key=len, reverse=True))

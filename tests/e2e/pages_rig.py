"""A site of pages as an operator finds it: a real exporter over a real ledger, with jobs in trouble and without."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from exporter_rig import Exporter, exporter, job, run, world
from ledger_rig import Ledger, skipped
from tocsin.ipc.actions import Acted, Actor
from tocsin.ipc.exporter import JobStatus, Started, ToExporter
from tocsin.ipc.job import Finished, Sleeping
from tocsin.ipc.tried import Parts, Tried
from tocsin.ledger.answers import Answers
from tocsin.ledger.sqlite_reader import SqliteReader

FAILED = "5f0e5b1a-0000-5000-8000-000000000001"  # a run id
DETAIL = "503: upstream is starting (the server is starting, stopping or overloaded)"
REQUEST = f"""POST https://app.example/api/cron/expire-holds
Host: app.example
User-Agent: Tocsin/0.1.0
Accept: application/json, text/plain;q=0.9, */*;q=0.5
X-Tocsin-Job: expire-holds
x-cron-secret: [redacted]
Idempotency-Key: {FAILED}"""
HEAD = "HTTP/1.1 503 Service Unavailable\nContent-Type: application/json\nServer: nginx\nX-Request-Id: 7f3c-4711"
REPLY = '{"error": "upstream is starting", "retry": true}'
NAMES = ("sla-check", "expire-holds", "send-digest", "weekly-report", "archive")


def failed(due: float) -> Finished:
    """A run of two attempts, the first of which was armed."""
    one = Tried("http_error", DETAIL, 503, due + 0.0003, Parts(1840, 412, 21_300, 8_930, 9_120, True), REQUEST, 2, HEAD)
    attempts = (replace(one, reply=REPLY), replace(one, sent=due + 1.2, parts=replace(one.parts, ahead=False)))
    ended = run("expire-holds", "http_error", due, detail=DETAIL, run_id=FAILED, status=503, duration=1.24)
    return replace(ended, attempts=attempts, parts=attempts[1].parts, retries=1, reply=REPLY)


def runs(name: str, last: float, count: int = 60) -> list[Finished]:
    """A minute job's last ones."""
    made = []
    for back in reversed(range(count)):
        due = last - 60 * back
        known: dict[str, Any] = {
            "status": 200,
            "duration": 0.04 + 0.01 * (back % 5),
            "reported": {"unassigned": float(back % 3)},
        }
        parts = Parts(None, 300, None, 8000, 40_000, True)
        made.append(run(name, due=due, run_id=f"{name}-{due:.0f}", parts=parts, **known))
    return made


def told(now: float, jobs: int = 5) -> Iterator[ToExporter]:
    """What the parent tells of them; beyond five they are all well."""
    names = [*NAMES, *(f"job-{number:04}" for number in range(max(0, jobs - len(NAMES))))]
    labels = {"sla-check": (("team", "tickets"),), "send-digest": (("team", "mail"),)}
    statuses = [_status(name, labels.get(name, ()), now) for name in names]
    yield from world(*statuses, now=now)
    minute = now - now % 60
    for number, name in enumerate(names):
        if name == "archive":
            continue
        yield Sleeping(name, minute + 60 + number % 50)
        yield from runs(name, minute - 120, 45 if jobs < 100 else 8)
    yield failed(minute - 60)
    yield replace(skipped(minute - 60, minute - 60, 1, "missed", "the daemon was stopped"), job="weekly-report")
    yield Started("send-digest", now - 3)


def _status(name: str, labels: tuple[tuple[str, str], ...], now: float) -> JobStatus:
    described = {"sla-check": "Unassigns the requests that passed their SLA", "archive": "Once a month"}
    return job(
        name,
        description=described.get(name, ""),
        labels=labels,
        url=f"https://app.example/api/cron/{name}",
        since=now - 86400,
        enabled=name != "archive",
        state="disabled" if name == "archive" else "starting",
    )


def fill(folder: Path, now: float) -> None:
    minute = now - now % 60
    ledger = Ledger(folder)
    before = minute - 60 * 60  # the exporter is told of what comes later
    ledger.put(*(one for name in NAMES[:3] for one in runs(name, before, 20)), failed(minute - 60))
    ann = Actor("ann", "page", "10.0.0.3")
    ledger.put(
        Acted(before, "pause", "weekly-report", ann, "the printer is on strike", before + 900),
        Acted(before + 60, "fire", "expire-holds", ann, run_id=FAILED),
        Acted(before + 90, "reload", "", Actor("SIGHUP", "signal")),
    )
    ledger.put(replace(skipped(before, before + 300, 6, "missed", "the daemon was stopped"), job="weekly-report"))
    ledger.close()


@contextmanager
def site(folder: Path, jobs: int = 5, more: str = "", files: int = 0) -> Iterator[Exporter]:
    """The exporter, and a ledger that answers it. `more` stands in [daemon], `files` limits its descriptors."""
    now = time.time()
    fill(folder, now)
    with exporter(folder / "log", more=more, files=files) as one:
        asked = one.asked.dup()
        answers = Answers(asked, lambda: SqliteReader(folder, "web-1"))
        answers.begin()
        try:
            one.send(*told(now, jobs))
            yield one
        finally:
            answers.stop()
            asked.close()

"""Shows instants, runs and tables for people, or as JSON for programs.

Colours are only for terminals: click drops them elsewhere, and `cli` drops them if NO_COLOR is set.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from tocsin.config import Config, Job
from tocsin.config.secrets import Secret
from tocsin.health import LOOKS, Judged, pause_in_words
from tocsin.ipc.actions import Acted
from tocsin.ipc.exporter import JobStatus
from tocsin.ipc.fates import FATES
from tocsin.ipc.history import Row
from tocsin.ipc.job import Finished
from tocsin.ipc.tried import Tried, parts_in_words
from tocsin.jobfile.faults import ConfigError
from tocsin.linux import private_memory
from tocsin.timestamps import rfc3339
from tocsin.units import duration, size

_INSTANTS = ("due", "last", "started", "finished")  # fields of a ledger's row

NEXT = 3  # fires that `check` shows for each job


def good(text: str) -> str:
    return click.style(text, fg="green")


def doubtful(text: str) -> str:
    return click.style(text, fg="yellow")


def bad(text: str) -> str:
    return click.style(text, fg="red")


def outcome(text: str) -> str:
    """Colour a line by its first word: an outcome, a reason, or "started"."""
    look = FATES.get(text.split(" ")[0])  # type: ignore[call-overload]
    return click.style(text, fg=look.colour if look else "cyan")


def local_and_utc(seconds: float, timezone: str) -> str:
    local = datetime.fromtimestamp(seconds, ZoneInfo(timezone))
    text = local.isoformat(sep=" ", timespec="seconds") + f" {timezone}"
    return f"{rfc3339(seconds)}" if timezone == "UTC" else f"{text}  ({rfc3339(seconds)})"


def secret_in_words(secret: Secret | None) -> str:
    return "no secret is sent" if secret is None else f"secret from {secret.source} as {secret.sent}"


def run_in_words(run: Finished) -> str:
    """Describe a run: its attempts if there were several (the same ones in a row share a line), a line for the run, and
    a line for its detail.
    """
    first = run.retries + 2 - len(run.attempts)  # of the attempts that are known
    lines = []
    several = run.attempts if len(run.attempts) > 1 else ()
    for (what, detail), alike in itertools.groupby(several, lambda one: (one.outcome, one.detail)):
        many = len(list(alike))
        which = f"attempt {first}" if many == 1 else f"attempts {first} to {first + many - 1}"
        lines.append(f"{which}: {outcome(what)}" + (f", {detail}" if detail else ""))
        first += many
    parts = [f"{run.job}: {outcome(run.outcome)}"]
    if run.status is not None:
        parts.append(f"status {run.status}")
    if run.duration is not None:
        parts.append(f"in {duration(run.duration)}")
    parts.extend(f"{name} {number:.12g}" for name, number in run.reported.items())
    parts.append(f"run {run.run_id}")
    return "\n".join(filter(None, [*lines, ", ".join(parts), run.detail]))


def run_with_reply(deliveries: Sequence[Row]) -> str:
    """Show all that the ledger knows of a run. If there are several deliveries, the first comes first."""
    lines = []
    for row in reversed(deliveries):
        took = f"in {duration(row.duration)}" if row.duration is not None else ""
        status = f"status {row.status}" if row.status is not None else ""
        totals = [f"{name} {number:.12g}" for name, number in row.reported.items()]
        what = ", ".join(filter(None, [f"{row.job}: {outcome(row.fate)}", status, took, *totals]))
        lines += [what, f"due {rfc3339(row.due)}, {row.trigger or 'schedule'}, run {row.run_id}", printable(row.detail)]
        if row.started is not None:
            lines.append(f"sent {rfc3339(row.started)}, {duration(row.lateness)} late")
        for number, one in enumerate(row.tried, 1):
            lines += _attempt(one, f"attempt {number}" if row.tries > 1 else "")
        if row.tries > max(1, len(row.tried)):
            lines.append(f"{row.tries} attempts in all")
    return "\n".join(filter(None, lines))


def _attempt(one: Tried, name: str) -> list[str]:
    """Its outcome, if it has a name among others, what its time went to, and what was kept of request and reply."""
    lines = [f"{name}: {outcome(one.outcome)}" + (f", {printable(one.detail)}" if one.detail else "")] if name else []
    if times := ", ".join(f"{what} {duration(took)}" for what, took in parts_in_words(one.parts)):
        lines.append(times)
    if one.request:
        lines += ["request:", *_indented(one.request), f"  ({one.body_size} bytes of body)"]
    if one.head:
        lines += ["reply:", *_indented(one.head)]
    if one.reply:
        lines += ["" if one.head else "reply:", *_indented(one.reply)]
    return lines


def _indented(text: str) -> list[str]:
    return [f"  {printable(line)}" for line in text.splitlines()]


def next_fires(job: Job, now: int) -> Iterator[int]:
    """Return the next instants at which the job is due after `now`, in Unix seconds. None if it is disabled."""
    for _ in range(NEXT if job.enabled else 0):
        now = job.schedule.next_due(now)
        yield now


def check_as_json(config: Config, now: int) -> dict[str, Any]:
    jobs = [
        {
            "name": job.name,
            "enabled": job.enabled,
            "description": job.description,
            "schedule": job.schedule.expression,
            "timezone": job.schedule.timezone,
            "words": job.schedule.words,
            "method": job.method,
            "url": job.public_url,
            "secret": {"source": job.secret.source, "sent": job.secret.sent} if job.secret else None,
            "next_fires": [rfc3339(due) for due in next_fires(job, now)],
        }
        for job in config.jobs.values()
    ]
    return {"file": str(config.file), "faults": [], "warnings": list(config.warnings), "jobs": jobs}


def faults_as_json(file: Path, error: ConfigError) -> dict[str, Any]:
    """Return the same object for a faulty file."""
    return {"file": str(file), "faults": [dataclasses.asdict(one) for one in error.faults], "warnings": [], "jobs": []}


def row_as_json(row: dict[str, Any]) -> dict[str, Any]:
    return row | {key: rfc3339(row[key]) for key in _INSTANTS if row[key] is not None}


def jobs_table(statuses: Sequence[JobStatus], judged: Mapping[str, Judged]) -> str:
    """Return the table, followed by a line for each job whose health needs an explanation."""
    rows, lines = [], []
    for one in statuses:
        word, why = judged[one.name]
        memory = private_memory(one.pid) if one.pid else None
        shown = f"{word}, paused" if one.paused and word != "paused" else word
        next_fire = rfc3339(one.next_fire) if one.next_fire and one.enabled and one.state != "running" else "-"
        if one.paused:
            next_fire = "paused"  # the next slot will be skipped
            if word != "paused":
                lines.append(f"{one.name}: paused {printable(pause_in_words(one))}")
        rows.append([one.name, shown, next_fire, one.last_outcome or "-", str(one.pid or "-"), size(memory), one.words])
        if why and (word != "elsewhere" or not one.node):
            between = " " if word == "paused" else ", "
            lines.append(f"{one.name}: {click.style(word, fg=LOOKS[word].colour)}{between}{printable(why)}")
    head = ["JOB", "HEALTH", "NEXT FIRE", "LAST", "PID", "MEMORY", "SCHEDULE"]
    if any(one.node or one.state == "elsewhere" for one in statuses):  # several nodes share the ledger
        head.insert(1, "NODE")
        for row, one in zip(rows, statuses, strict=True):
            row.insert(1, one.node or "-")
    whole = table(head, rows, coloured=head.index("LAST"))
    return "\n".join([whole, *([""] if lines else []), *lines])


HISTORY = ("JOB", "DUE", "OUTCOME", "STATUS", "LATENESS", "DURATION", "DETAIL")


def action_row(one: Acted) -> dict[str, Any]:
    """Return what somebody did as a row among those of slots."""
    end = f" until {rfc3339(one.until)}" if one.until is not None else ""
    why = f": {one.why}" if one.why else ""
    blank = dict.fromkeys(("status", "lateness", "duration", "outcome", "started", "finished"))
    return blank | {
        "job": one.job or "-", "due": one.at, "last": one.at, "count": 1, "state": "action", "reason": one.what,
        "reported": {}, "detail": f"by {one.by}{end}{why}",
    }  # fmt: skip


def history_table(rows: Sequence[dict[str, Any]], widths: list[int] | None = None) -> str:
    """`widths` as of `table`, where these rows go on with others."""
    shown = []
    for row in rows:
        what = row["outcome"] or (row["reason"] if row["state"] != "started" else "started")
        if row["count"] > 1:
            what = f"{what} × {row['count']}"
        totals = " ".join(f"{name}={number:.12g}" for name, number in row["reported"].items())
        detail = " ".join(part for part in (totals, row["detail"]) if part)
        if row["count"] > 1:
            detail = f"until {rfc3339(row['last'])} {detail}"
        lateness, took = duration(row["lateness"]), duration(row["duration"])
        shown.append([row["job"], rfc3339(row["due"]), what, str(row["status"] or "-"), lateness, took, detail])
    return table(HISTORY, shown, coloured=2, widths=widths)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    coloured: int | None = None,
    widths: list[int] | None = None,
) -> str:
    """Make columns as wide as their widest cell. One of them is coloured by its word. `widths` has those of an earlier
    part of the table, and grows with this one."""
    cells = [[printable(cell) for cell in row] for row in rows]
    least = widths or [0] * len(head)
    least[:] = [max(0, width, *map(len, column)) for width, *column in zip(least, head, *cells, strict=True)]
    widths = least
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip()]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if coloured is not None and row[coloured] != "-":
            padded[coloured] = outcome(padded[coloured])
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)

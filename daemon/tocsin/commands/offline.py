"""The commands that need no daemon: check, history, next."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from tocsin import config, display
from tocsin.commands.common import (
    FAILED,
    USAGE,
    any_job_file_option,
    examples,
    fail,
    job_argument,
    job_file_option,
    loaded,
)
from tocsin.jobfile import tables
from tocsin.jobfile.faults import ConfigError
from tocsin.schedule import Schedule, ScheduleError
from tocsin.timestamps import rfc3339


@click.command(epilog=examples("tocsin check", "tocsin check -c staging.toml", "tocsin check --json"))
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object: jobs, warnings, faults.")
def check(file: Path, as_json: bool) -> None:
    """Check the job file; show each job's next three fires."""
    now = int(datetime.now(UTC).timestamp())
    if as_json:
        try:
            click.echo(json.dumps(display.check_as_json(config.load(file), now), indent=2))
        except ConfigError as error:
            click.echo(json.dumps(display.faults_as_json(file, error), indent=2))
            raise SystemExit(USAGE) from None
        return
    settings = loaded(file)
    for warning in settings.warnings:
        click.echo(f"{display.doubtful('warning:')} {warning}", err=True)
    for job in settings.jobs.values():
        origin = f" (from {job.source})" if job.source else ""
        disabled = "" if job.enabled else display.doubtful(" (disabled)")
        click.echo(f"{job.name}{origin}{disabled}: {job.schedule.words}")
        click.echo(f"  {job.method} {job.public_url}, {display.secret_in_words(job.secret)}")
        for due in display.next_fires(job, now):
            click.echo(f"  next {display.local_and_utc(due, job.schedule.timezone)}")
    fine = display.good("fine")
    click.echo(f"{file}: {fine}, {len(settings.enabled_jobs)} of {len(settings.jobs)} jobs enabled")


@click.command(
    epilog=examples(
        "tocsin history",
        "tocsin history sla-check --since 1h",
        "tocsin history --failed -n 10",
        "tocsin history --json --since 1d",
    )
)
@job_file_option
@job_argument(required=False)
@click.option("--since", metavar="AGO", help='Slots of the last "10m", "2h", "7d".')
@click.option("--failed", is_flag=True, help="Only runs without success, and missed slots.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects.")
def history(file: Path, job: str | None, since: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show slots and what became of them. They are in the ledger; the daemon may run or not."""
    from tocsin.ledger import stores
    from tocsin.ledger.store import Absent, Unreadable

    folder = config.state_dir(file)
    try:
        start = datetime.now(UTC).timestamp() - tables.parse_duration(since) if since is not None else None
    except ValueError as error:
        fail(f"--since {since}: {error}", USAGE)
    try:
        rows = stores.reader(folder).history(job=job, since=start, failed=failed, limit=limit)
    except Absent as error:
        fail(f"there is no ledger yet ({error}); has the daemon run?", FAILED)
    except (OSError, Unreadable) as error:
        why = error.strerror if isinstance(error, OSError) else error
        fail(f"cannot read the ledger in {folder}: {why}", FAILED)
    if not rows and job is not None and job not in loaded(file).jobs:
        fail(f"there is no job {job!r} in {file} and no slot of it in the ledger", USAGE)
    if as_json:
        click.echo(json.dumps([display.row_as_json(row) for row in rows], indent=2))
    else:
        click.echo(display.history_table(rows) if rows else "no slots")


@click.command(
    "next",
    epilog=examples(
        'tocsin next "*/15 9-17 * * MON-FRI" --timezone Europe/Berlin',
        "tocsin next @daily -n 3",
        'tocsin next "30 2 * * *" --timezone Europe/Berlin --after 2026-03-28T00:00:00Z',
    ),
)
@click.argument("expression")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA zone, as Europe/Berlin.")
@click.option("--after", metavar="INSTANT", help="RFC 3339, as 2026-03-29T00:00:00Z; else now.")
@click.option("-n", "--count", default=5, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of instants.")
@any_job_file_option
def next_(expression: str, timezone: str, after: str | None, count: int, as_json: bool) -> None:
    """Show when EXPRESSION is due."""
    try:
        moment = datetime.fromisoformat(after) if after else datetime.now(UTC)
        if moment.tzinfo is None:
            raise ValueError("has no offset; write it as 2026-03-29T00:00:00Z")
    except ValueError as error:
        fail(f"--after {after}: {error}", USAGE)
    try:
        schedule = Schedule(expression, timezone)
    except ScheduleError as error:
        fail(str(error), USAGE)
    instants = []
    try:
        for _ in range(count):
            moment = schedule.next(moment)
            instants.append(moment)
    except ScheduleError as error:
        fail(f"after {moment.isoformat()}: {error}", FAILED)
    if as_json:
        click.echo(json.dumps([rfc3339(one.timestamp()) for one in instants]))
        return
    click.echo(schedule.words)
    for one in instants:
        click.echo(display.local_and_utc(one.timestamp(), timezone))

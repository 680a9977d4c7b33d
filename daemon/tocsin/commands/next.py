"""`tocsin next`: shows when an expression is due."""

import json
from datetime import UTC, datetime

import click

from tocsin import display
from tocsin.commands.common import FAILED, USAGE, any_job_file_option, examples, fail
from tocsin.schedule import Schedule, ScheduleError
from tocsin.timestamps import rfc3339


@click.command(
    "next",
    epilog=examples(
        'tocsin next "*/15 9-17 * * MON-FRI" --timezone Europe/Berlin',
        "tocsin next @daily -n 3",
        'tocsin next "30 2 * * *" --timezone Europe/Berlin --after 2026-03-28T00:00:00Z',
    ),
)
@click.argument("expression")
@click.option("--timezone", default="UTC", show_default=True, help="IANA time zone, for example Europe/Berlin.")
@click.option("--after", metavar="INSTANT", help="Start here, for example 2026-03-29T00:00:00Z. Default: now.")
@click.option(
    "-n", "--count", default=5, show_default=True, type=click.IntRange(1, 10_000), help="Number of fires to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of instants.")
@any_job_file_option
def next_(expression: str, timezone: str, after: str | None, count: int, as_json: bool) -> None:
    """Show when the cron expression EXPRESSION is due."""
    try:
        moment = datetime.fromisoformat(after) if after else datetime.now(UTC)
        if moment.tzinfo is None:
            raise ValueError("has no offset: use for example 2026-03-29T00:00:00Z")
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

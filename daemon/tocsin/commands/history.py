"""`tocsin history`: shows the outcome of each slot."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import click

from tocsin import config, display
from tocsin.commands.common import FAILED, USAGE, examples, fail, job_argument, job_file_option, loaded
from tocsin.ipc.history import OneRun
from tocsin.jobfile import values
from tocsin.jobfile.faults import ConfigError

RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@click.command(
    epilog=examples(
        "tocsin history",
        "tocsin history sla-check --since 1h",
        "tocsin history --failed -n 10",
        "tocsin history --json --since 1d",
        "tocsin history 8ea8a43e-3e36-532b-a535-6ae3331c180e",
    )
)
@job_file_option
@job_argument(required=False)
@click.option("--since", metavar="AGO", help='Show slots of the last, for example, "10m", "2h" or "7d".')
@click.option("--failed", is_flag=True, help="Show only failed runs and missed slots.")
@click.option(
    "-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Show at most this many."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def history(file: Path, job: str | None, since: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show slots and their outcomes. Reads the ledger; the daemon need not run.

    With the id of a run instead of JOB, show everything about this run, including its reply if it was kept.
    """
    from tocsin.exporter import runs
    from tocsin.ledger import stores
    from tocsin.ledger.store import Absent, Unreadable
    from tocsin.redact import redact

    folder, doubt = config.locate(file)
    try:
        start = datetime.now(UTC).timestamp() - values.parse_duration(since) if since is not None else None
    except ValueError as error:
        fail(f"--since {since}: {error}", USAGE)
    try:
        kept = config.ledger_of(file)
    except ConfigError as error:
        fail(str(error), USAGE)
    where = f"in {folder}" if kept == "sqlite" else f"on {kept}"
    if kept != "sqlite":
        redact.hide(kept.hidden)
    try:
        reader = stores.reader(kept, folder)
        if job is not None and RUN_ID.fullmatch(job) and (found := reader.find(OneRun(job)).rows):
            click.echo(json.dumps(runs.run_as_json(found), indent=2) if as_json else display.run_with_reply(found))
            return
        rows = reader.history(job=job, since=start, failed=failed, limit=limit)
    except Absent as error:
        if doubt:
            fail(f"{doubt}\nthere is no ledger in {folder}, which is only a guess", USAGE)
        fail(f"there is no ledger yet ({error}); has the daemon ever been started?", FAILED)
    except (OSError, Unreadable) as error:
        why = error.strerror if isinstance(error, OSError) else error
        fail(f"cannot read the ledger {where}: {why}", FAILED)
    if not rows and job is not None and job not in loaded(file).jobs:
        fail(f"there is no job {job!r} in {file} and no slot of it in the ledger", USAGE)
    if as_json:
        click.echo(json.dumps([display.row_as_json(row) for row in rows], indent=2))
    else:
        click.echo(display.history_table(rows) if rows else "no slots")

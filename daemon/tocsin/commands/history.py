"""`tocsin history`: shows the outcome of each slot."""

import contextlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tocsin import config, display
from tocsin.commands.common import FAILED, USAGE, examples, fail, job_argument, job_file_option, loaded
from tocsin.ipc.history import FAILED as FAILED_FATES
from tocsin.ipc.history import Actions, OneRun
from tocsin.jobfile import values
from tocsin.jobfile.faults import ConfigError

RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@click.command(
    epilog=examples(
        "tocsin history",
        "tocsin history sla-check --since 1h",
        "tocsin history --failed -n 10",
        "tocsin history --json --since 1d",
        "tocsin history --follow",
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
@click.option("--actions", "only_actions", is_flag=True, help="Show only what people did: fire, pause, resume, reload.")
@click.option(
    "-f", "--follow", is_flag=True, help="Then show each slot as it is recorded, but no new actions, until Ctrl-C."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects; with --follow, one in each line.")
def history(
    file: Path,
    job: str | None,
    since: str | None,
    failed: bool,
    limit: int,
    only_actions: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Show slots and their outcomes. Reads the ledger; the daemon need not run.

    What people did is among them (in JSON only with --actions), by whom and why.

    With the id of a run instead of JOB, show everything about this run: its attempts, where their time went, and what
    was kept of requests and replies.
    """
    from tocsin.commands import following
    from tocsin.exporter import runs
    from tocsin.ledger import stores
    from tocsin.ledger.store import Absent, Unreadable
    from tocsin.redact import redact

    if only_actions and follow:
        fail("--actions and --follow cannot be combined: the log has each action as it happens", USAGE)
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
        follower = following.Follower(reader, job) if follow else None
        rows = [] if only_actions else reader.history(job=job, since=start, failed=failed, limit=limit)
        with_actions = only_actions or not (failed or as_json)
        done = reader.actions(Actions(job, start, limit=limit))[:limit] if with_actions else []
    except Absent as error:
        if doubt:
            fail(f"{doubt}\nthere is no ledger in {folder}, which is only a guess", USAGE)
        fail(f"there is no ledger yet ({error}); has the daemon ever been started?", FAILED)
    except (OSError, Unreadable) as error:
        why = error.strerror if isinstance(error, OSError) else error
        fail(f"cannot read the ledger {where}: {why}", FAILED)
    if only_actions and as_json:
        click.echo(json.dumps([runs.action_as_json(one) for one in reversed(done)], indent=2))
        return
    rows = sorted([*rows, *map(display.action_row, done)], key=lambda row: row["due"])[-limit:]
    if not rows and job is not None and job not in loaded(file).jobs:
        fail(f"there is no job {job!r} in {file} and no slot of it in the ledger", USAGE)
    if follower is None:
        nothing = "no actions" if only_actions else "no slots"
        as_list = [display.row_as_json(row) for row in rows]
        click.echo(json.dumps(as_list, indent=2) if as_json else display.history_table(rows) if rows else nothing)
        return
    rows = [row for row in rows if row["state"] != "started"]  # they come when they end
    follower.saw([row for row in rows if row["state"] != "action"])
    widths = [0] * len(display.HISTORY)
    _show(rows, widths, as_json=as_json)
    with contextlib.suppress(KeyboardInterrupt):
        for news in following.followed(follower):
            _show([row for row in news if not failed or _is_failed(row)], widths, as_json=as_json)


def _show(rows: Sequence[dict[str, Any]], widths: list[int], *, as_json: bool) -> None:
    """One line for each row. `widths` are those of the columns so far."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(display.row_as_json(row)))
    elif rows:
        is_first = not any(widths)
        lines = display.history_table(rows, widths).splitlines()
        click.echo("\n".join(lines if is_first else lines[1:]))


def _is_failed(row: dict[str, Any]) -> bool:
    return (row["outcome"] or row["reason"]) in FAILED_FATES

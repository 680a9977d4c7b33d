"""The commands; the only file that wires the rest together."""

import functools
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from tocsin import __version__, channel, config, display, jobfile, log
from tocsin.channel import ChannelClosed
from tocsin.config import Config
from tocsin.faults import ConfigError
from tocsin.instants import rfc3339
from tocsin.messages import (
    Done,
    Finished,
    FireJob,
    JobStatus,
    ListJobs,
    Message,
    PauseJob,
    Refused,
    ReloadConfig,
)
from tocsin.schedule import Schedule, ScheduleError

FAILED, USAGE, HELD, NOT_RUNNING = 1, 2, 3, 4  # exit codes, beside 0

_EXAMPLES = """\b
Examples:
  tocsin check                        is the job file right, and when will it fire?
  tocsin run                          the daemon, in the foreground
  tocsin jobs                         what the running daemon does
  tocsin fire sla-check               one run now
  tocsin history --failed --since 1h  what went wrong
"""


def fail(why: str, code: int) -> NoReturn:
    """Say why on standard error, and exit."""
    for line in why.splitlines():
        click.echo(f"tocsin: {line}", err=True)
    raise SystemExit(code)


def job_file_option(command: Callable[..., None]) -> Callable[..., None]:
    """-c FILE, which every command takes; the command gets the path."""

    @click.option("-c", "--config", "file", metavar="FILE", help="The job file (else TOCSIN_CONFIG, ./tocsin.toml).")
    @functools.wraps(command)
    def wrapped(file: str | None, *args: Any, **kwargs: Any) -> None:
        command(config.find(file), *args, **kwargs)

    return wrapped


def loaded(file: Path) -> Config:
    try:
        return config.load(file)
    except ConfigError as error:
        faults = len(error.faults)
        fail(f"{error}\n{faults} fault{'s' if faults > 1 else ''} in {file}; nothing was done", USAGE)


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tocsin")
def main() -> None:
    """Tocsin rings your endpoints on time, and raises the alarm when they do not answer."""


@main.command()
@job_file_option
def run(file: Path) -> None:
    """Run the daemon in the foreground (what supervisord starts)."""
    settings = loaded(file)
    log.set_up(settings.log_level, settings.log_format)
    # Everything the children need is imported here, before the first fork, so that they share it.
    from tocsin.exporter import main as exporter
    from tocsin.job import main as job
    from tocsin.ledger import main as ledger
    from tocsin.parent import lock, run
    from tocsin.parent.daemon import Programs

    programs = Programs(
        job=job.main,
        ledger=lambda ch, conf, session: ledger.main(ch, conf.state_dir, session, conf.keep),
        exporter=lambda ch, conf: exporter.main(ch, conf.listen, conf.access),
    )
    try:
        code = run.run(settings, lambda: config.load(file), programs)
    except ConfigError as error:
        fail(str(error), USAGE)
    except lock.HeldByAnother as error:
        fail(f"cannot run a second daemon: {error}", HELD)
    except OSError as error:
        fail(f"cannot use the state folder {settings.state_dir}: {error}", FAILED)
    raise SystemExit(code)


@main.command()
@job_file_option
def check(file: Path) -> None:
    """Check the job file; show each job's next three fires."""
    settings = loaded(file)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    now = int(datetime.now(UTC).timestamp())
    for job in settings.jobs.values():
        click.echo(f"{job.name}{'' if job.enabled else ' (disabled)'}: {job.schedule.words}")
        click.echo(f"  {job.method} {job.public_url}, {display.secret_in_words(job.secret)}")
        due = now
        for _ in range(3 if job.enabled else 0):
            due = job.schedule.next_due(due)
            click.echo(f"  next {display.local_and_utc(due, job.schedule.timezone)}")
    click.echo(f"{file}: fine, {len(settings.enabled_jobs)} of {len(settings.jobs)} jobs enabled")


# ---- what the running daemon answers


def ask(file: Path, request: Message) -> list[Message]:
    """What the daemon says to the request, up to the last word."""
    from tocsin.parent.control import NAME

    state_dir = config.state_dir(file)
    try:
        daemon = channel.connect(state_dir, NAME)
    except (FileNotFoundError, ConnectionRefusedError):
        fail(f"the daemon is not running (nothing answers in {state_dir})", NOT_RUNNING)
    except OSError as error:
        fail(f"cannot reach the daemon in {state_dir}: {error.strerror}", NOT_RUNNING)
    answers: list[Message] = []
    try:
        daemon.send(request)
        while not answers or not isinstance(answers[-1], Done | Finished | Refused):
            if message := daemon.receive(wait=True):
                answers.append(message)
    except ChannelClosed:
        fail("the daemon went away before it answered", NOT_RUNNING)
    if isinstance(last := answers[-1], Refused):
        fail(last.why, last.code)
    return answers


@main.command()
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects.")
def jobs(file: Path, as_json: bool) -> None:
    """Show what the running daemon does: state, next fire, last outcome."""
    statuses = [one for one in ask(file, ListJobs()) if isinstance(one, JobStatus)]
    if as_json:
        click.echo(json.dumps([display.status_as_json(one) for one in statuses], indent=2))
    else:
        click.echo(display.jobs_table(statuses))


@main.command()
@job_file_option
@click.argument("job")
def fire(file: Path, job: str) -> None:
    """Run JOB once, now, through the daemon; exit 0 only on success."""
    run = ask(file, FireJob(job))[-1]
    assert isinstance(run, Finished)
    click.echo(display.run_in_words(run))
    if run.outcome != "success":
        raise SystemExit(FAILED)


@main.command()
@job_file_option
@click.argument("job")
def pause(file: Path, job: str) -> None:
    """Let the scheduled slots of JOB pass until `resume`, also across restarts."""
    click.echo(getattr(ask(file, PauseJob(job, True))[-1], "text", ""))


@main.command()
@job_file_option
@click.argument("job")
def resume(file: Path, job: str) -> None:
    """Fire JOB by its schedule again."""
    click.echo(getattr(ask(file, PauseJob(job, False))[-1], "text", ""))


@main.command()
@job_file_option
def reload(file: Path) -> None:
    """Take over the changed job file; unchanged jobs keep their process and their running call."""
    click.echo(getattr(ask(file, ReloadConfig())[-1], "text", ""))


# ---- what needs no daemon


@main.command()
@job_file_option
@click.argument("job", required=False)
@click.option("--since", metavar="AGO", help='Slots of the last "10m", "2h", "7d".')
@click.option("--failed", is_flag=True, help="Only runs without success, and missed slots.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects.")
def history(file: Path, job: str | None, since: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show slots and what became of them, from the ledger; the daemon may run or not."""
    from tocsin.ledger.history import history as read_history

    folder = config.state_dir(file)
    try:
        start = datetime.now(UTC).timestamp() - jobfile.parse_duration(since) if since is not None else None
    except ValueError as error:
        fail(f"--since {since}: {error}", USAGE)
    try:
        rows = read_history(folder, job=job, since=start, failed=failed, limit=limit)
    except FileNotFoundError as error:
        fail(f"there is no ledger yet ({error}); has the daemon run?", FAILED)
    except sqlite3.Error as error:
        fail(f"cannot read the ledger in {folder}: {error}", FAILED)
    if as_json:
        click.echo(json.dumps([display.row_as_json(row) for row in rows], indent=2))
    elif not rows and job is not None and job not in loaded(file).jobs:
        fail(f"there is no job {job!r} in {file} and no slot of it in the ledger", USAGE)
    else:
        click.echo(display.history_table(rows) if rows else "no slots")


@main.command("next")
@click.argument("expression")
@click.option("--timezone", default="UTC", show_default=True, help="An IANA zone, as Europe/Berlin.")
@click.option("--after", metavar="INSTANT", help="RFC 3339, as 2026-03-29T00:00:00Z; else now.")
@click.option("-n", "--count", default=5, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="A JSON list of instants.")
@click.option("-c", "--config", "_file", metavar="FILE", hidden=True, help="Taken, as by every command.")
def next_(expression: str, timezone: str, after: str | None, count: int, as_json: bool, _file: str | None) -> None:
    """Show when EXPRESSION is due.

    \b
    Examples:
      tocsin next "*/15 9-17 * * MON-FRI" --timezone Europe/Berlin
      tocsin next @daily -n 3
    """
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
    for _ in range(count):
        moment = schedule.next(moment)
        instants.append(moment)
    if as_json:
        click.echo(json.dumps([rfc3339(one.timestamp()) for one in instants]))
        return
    click.echo(schedule.words)
    for one in instants:
        click.echo(display.local_and_utc(one.timestamp(), timezone))


@main.command()
@click.option("--listen", default="127.0.0.1:9912", show_default=True, metavar="HOST:PORT")
@click.option("--database", default="var/demo.sqlite", show_default=True, type=click.Path(path_type=Path))
@click.option("-c", "--config", "_file", metavar="FILE", hidden=True, help="Taken, as by every command.")
def demo(listen: str, database: Path, _file: str | None) -> None:
    """Run the bundled ticketing app, whose SLA check Tocsin can call (secret: CRON_SECRET)."""
    from tocsin import demo as app

    try:
        address = jobfile.parse_address(listen)
    except ValueError as error:
        fail(f"--listen {listen}: {error}", USAGE)
    log.set_up(os.environ.get("LOG_LEVEL", "info") or "info")
    app.run(address, database, os.environ.get("CRON_SECRET", ""))


if __name__ == "__main__":
    sys.exit(main())

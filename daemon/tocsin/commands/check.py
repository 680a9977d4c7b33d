"""`tocsin check`: checks the job file, and shows when jobs fire."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from tocsin import config, display
from tocsin.commands.common import USAGE, examples, fail, job_file_option, loaded
from tocsin.jobfile.faults import ConfigError, Fault


@click.command(epilog=examples("tocsin check", "tocsin check -c staging.toml", "tocsin check --json"))
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: jobs, warnings, faults.")
def check(file: Path, as_json: bool) -> None:
    """Check the job file and show each job's next three fires."""
    now = int(datetime.now(UTC).timestamp())
    if as_json:
        try:
            settings = config.load(file)
            if faults := _of_addresses(settings):
                raise ConfigError(faults)
            click.echo(json.dumps(display.check_as_json(settings, now), indent=2))
        except ConfigError as error:
            click.echo(json.dumps(display.faults_as_json(file, error), indent=2))
            raise SystemExit(USAGE) from None
        return
    settings = loaded(file)
    if faults := _of_addresses(settings):
        fail("\n".join(map(str, faults)), USAGE)
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


def _of_addresses(settings: config.Config) -> list[Fault]:
    """What Apprise says against the addresses of [notify]. The daemon itself does not ask it before it writes: it
    takes memory, and that a message cannot be sent must not keep jobs from running."""
    if settings.notify is None or not settings.notify.urls:
        return []
    from tocsin.commands.notify import usable

    name = settings.file.name
    return [Fault(name, "notify", "", "", f"{one.label}: {one.why}") for one in usable(settings.notify) if one.why]

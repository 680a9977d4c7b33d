"""`tocsin doctor`: finds what is wrong, and what to do about it, before a job fails."""

import os
from pathlib import Path

import click

from tocsin import config
from tocsin.commands.common import FAILED, USAGE, examples, fail, job_file_option
from tocsin.jobfile import values
from tocsin.jobfile.faults import ConfigError, nearest
from tocsin.redact import redact


@click.command(epilog=examples("tocsin doctor", "tocsin doctor sla-check --timeout 5s", "tocsin doctor --json"))
@job_file_option
@click.argument("names", metavar="[JOB]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@click.option(
    "--timeout",
    default="30s",
    show_default=True,
    metavar="TIME",
    help="Limit for all requests to the targets together.",
)
@click.option(
    "--probe-auth",
    is_flag=True,
    help="Also call each endpoint with its job's method, without the secret. An open endpoint then runs its job.",
)
@click.option(
    "--supervisord",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="supervisord's configuration. Default: supervisord.conf beside the job file.",
)
def doctor(
    file: Path, names: tuple[str, ...], as_json: bool, timeout: str, probe_auth: bool, supervisord: Path | None
) -> None:
    """Find what is wrong, without running a job.

    Prints one line for each check, with what to do about it, for all jobs or those named. Exits 1 when a check fails,
    and 2 when the job file is wrong.
    Endpoints get only OPTIONS requests and never the secret.
    """
    from tocsin.config.placeholders import WORDS
    from tocsin.doctor import report, settings
    from tocsin.doctor.examine import examine
    from tocsin.doctor.finding import Finding

    def say(found: list[Finding]) -> None:
        text = report.as_json(found) if as_json else report.as_text(found)
        click.echo(text, color=False if "NO_COLOR" in os.environ else None)

    try:
        seconds = values.parse_duration(timeout)
    except ValueError as error:
        fail(f"--timeout {timeout}: {error}", USAGE)
    try:
        loaded = config.load(file)
    except ConfigError as error:
        say(settings.faults(error))
        raise SystemExit(USAGE) from None
    # A secret that is also a word of doctor's output would make that unreadable, and reveal the secret.
    redact.hide(loaded.hidden - WORDS)
    for name in names:
        if name not in loaded.jobs:
            fail(f"there is no job {name!r} in {file}{nearest(name, loaded.jobs)}", USAGE)
    jobs = {name: job for name, job in loaded.jobs.items() if not names or name in names}
    found = examine(loaded, jobs, seconds=seconds, probe_auth=probe_auth, supervisord=supervisord)
    say(found)
    if any(one.status == "FAIL" for one in found):
        raise SystemExit(FAILED)

"""`tocsin pause` and `tocsin resume`: turn a job's schedule off and on."""

import time
from pathlib import Path

import click

from tocsin.commands.acting import actor, why_option
from tocsin.commands.asking import carried_out
from tocsin.commands.common import USAGE, examples, fail, job_argument, job_file_option
from tocsin.ipc.actions import PauseJob
from tocsin.jobfile import ends


@click.command(
    epilog=examples("tocsin pause sla-check", 'tocsin pause sla-check --for 2h --why "deploy"'),
)
@job_file_option
@job_argument()
@click.option(
    "--for", "length", metavar="TIME", help='Resume by itself after so long, for example "30m", "2h" or "1d".'
)
@click.option(
    "--until", "instant", metavar="INSTANT", help='Resume by itself then, for example "2026-11-28T14:00:00Z".'
)
@why_option
def pause(file: Path, job: str, length: str | None, instant: str | None, why: str) -> None:
    """Skip JOB's slots until resumed, or until the pause ends. Survives restarts; a running call is not interrupted.

    Of a paused job it sets another end and reason.
    """
    if length is not None and instant is not None:
        fail("--for and --until cannot be combined: use one of them", USAGE)
    until = None
    try:
        if length is not None:
            until = ends.after(length, time.time())
        elif instant is not None:
            until = ends.at(instant, time.time())
    except ValueError as error:
        fail(f"{'--until' if length is None else '--for'} {length or instant}: {error}", USAGE)
    click.echo(carried_out(file, PauseJob(job, True, until, actor(), why)))


@click.command(epilog=examples("tocsin resume sla-check"))
@job_file_option
@job_argument()
@why_option
def resume(file: Path, job: str, why: str) -> None:
    """Run JOB on its schedule again, after a pause."""
    click.echo(carried_out(file, PauseJob(job, False, None, actor(), why)))

"""`tocsin pause` and `tocsin resume`: a job's schedule, off and on."""

from pathlib import Path

import click

from tocsin.commands.asking import carried_out
from tocsin.commands.common import examples, job_argument, job_file_option
from tocsin.ipc.control import PauseJob


@click.command(epilog=examples("tocsin pause sla-check"))
@job_file_option
@job_argument()
def pause(file: Path, job: str) -> None:
    """Skip JOB's slots until resumed. Survives restarts; a running call is not interrupted."""
    click.echo(carried_out(file, PauseJob(job, True)))


@click.command(epilog=examples("tocsin resume sla-check"))
@job_file_option
@job_argument()
def resume(file: Path, job: str) -> None:
    """Run JOB on its schedule again, after a pause."""
    click.echo(carried_out(file, PauseJob(job, False)))

"""`tocsin fire`: runs a job now."""

from pathlib import Path

import click

from tocsin import display
from tocsin.commands.acting import actor, why_option
from tocsin.commands.asking import ask
from tocsin.commands.common import FAILED, examples, fail, job_argument, job_file_option
from tocsin.ipc.actions import FireJob
from tocsin.ipc.job import Finished


@click.command(epilog=examples("tocsin fire sla-check", "tocsin fire sla-check && echo done"))
@job_file_option
@job_argument()
@why_option
def fire(file: Path, job: str, why: str) -> None:
    """Run JOB once, now, and wait for the result.

    The daemon runs it and records it as `manual`. A run that is about to start comes first. Exits 0 only on success.
    """
    run = ask(file, FireJob(job, actor(), why))[-1]
    if not isinstance(run, Finished):
        fail("the daemon gave no result; see: tocsin history", FAILED)
    click.echo(display.run_in_words(run))
    if run.outcome != "success":
        raise SystemExit(FAILED)

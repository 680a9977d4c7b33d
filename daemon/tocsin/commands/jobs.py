"""`tocsin jobs`: what the running daemon does."""

import json
from pathlib import Path

import click

from tocsin import display
from tocsin.commands.asking import ask
from tocsin.commands.common import examples, job_file_option
from tocsin.ipc import status
from tocsin.ipc.control import ListJobs
from tocsin.ipc.exporter import JobStatus


@click.command(epilog=examples("tocsin jobs", "tocsin jobs --json"))
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def jobs(file: Path, as_json: bool) -> None:
    """Show each job's state, next fire, last outcome and process."""
    statuses = [one for one in ask(file, ListJobs()) if isinstance(one, JobStatus)]
    if as_json:
        click.echo(json.dumps([status.as_json(one) for one in statuses], indent=2))
    else:
        click.echo(display.jobs_table(statuses))

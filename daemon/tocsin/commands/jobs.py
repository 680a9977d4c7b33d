"""`tocsin jobs`: shows what the running daemon does."""

import json
import time
from pathlib import Path

import click

from tocsin import display, health, linux
from tocsin.commands.asking import ask
from tocsin.commands.common import examples, job_file_option
from tocsin.ipc.control import ListJobs


@click.command(epilog=examples("tocsin jobs", "tocsin jobs --json"))
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def jobs(file: Path, as_json: bool) -> None:
    """Show each job's health, next fire, last outcome and process."""
    found = health.answered(ask(file, ListJobs()), time.time())
    if as_json:
        shown = [
            health.as_json(one, found.judged[one.name], linux.private_memory(one.pid) if one.pid else None)
            for one in found.statuses
        ]
        click.echo(json.dumps(shown, indent=2))
    else:
        for trouble in found.troubles:
            for line in str(trouble).splitlines():  # if the job file was refused, one line for each fault
                click.echo(display.bad(display.printable(line)))
        click.echo(display.jobs_table(found.statuses, found.judged))

"""`tocsin reload`: makes the daemon read its job file again."""

from pathlib import Path

import click

from tocsin.commands.acting import actor, why_option
from tocsin.commands.asking import carried_out
from tocsin.commands.common import examples, job_file_option
from tocsin.ipc.actions import ReloadConfig


@click.command(epilog=examples("tocsin check && tocsin reload"))
@job_file_option
@why_option
def reload(file: Path, why: str) -> None:
    """Load the changed job file, and show what changed.

    Jobs that did not change keep their process and their running call. If the file has a fault, nothing changes.
    """
    click.echo(carried_out(file, ReloadConfig(actor(), why)))

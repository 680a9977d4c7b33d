"""`tocsin schema`: prints the job file's JSON Schema, for editors."""

import json

import click

from tocsin.commands.common import any_job_file_option, examples

_COMMENT = "#:schema ./tocsin.schema.json"


@click.command(
    epilog=examples("tocsin schema > tocsin.schema.json")
    + f"\n\nFor editors with Taplo, the first line of tocsin.toml names it: {_COMMENT}"
)
@any_job_file_option
def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    from tocsin.jobfile.schema import schema as of_the_job_file

    click.echo(json.dumps(of_the_job_file(), indent=2))

"""`tocsin import`: turns jobs of other schedulers into tables of the job file, and reports what changes."""

import json
from pathlib import Path

import click

from tocsin.commands.common import FAILED, USAGE, examples, fail, job_file_option
from tocsin.jobfile.faults import ConfigError

KINDS = ("vercel", "crontab", "cron-jobs", "kubernetes")


@click.command(
    "import",
    epilog=examples(
        "tocsin import vercel.json", "crontab -l | tocsin import -", "tocsin import --write vercel.json && tocsin check"
    ),
)
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@job_file_option
@click.option("--from", "kind", type=click.Choice(KINDS), help="Kind of FILE. Default: by its name and content.")
@click.option(
    "--write", is_flag=True, help="Append the tables to the job file, or create it, instead of printing them."
)
@click.option("--json", "as_json", is_flag=True, help="Print jobs and report as JSON instead of TOML and text.")
def import_(file: Path, sources: tuple[str, ...], kind: str | None, write: bool, as_json: bool) -> None:
    """Turn files of other schedulers into job tables.

    FILE is a vercel.json, a crontab whose lines call curl or wget, the JSON list of jobs of a caller that uses
    node-cron, or the CronJobs of Kubernetes as printed by kubectl -o json. - is standard input. The tables go to
    standard output, the report to standard error.
    """
    from tocsin.commands import imported as work  # the daemon does not need it
    from tocsin.importing import found, toml, writing

    try:
        imported = work.read(sources, kind)
        found.number(job for one in imported for job in one.jobs)
        text, tables = writing.read(file)
        with_target = "target" not in tables and any(one.needs_target for one in imported)
        new = toml.job_file(imported, with_target=with_target)
        jobs = sum(len(one.jobs) for one in imported)
        if write and jobs:
            work.write(file, text, tables, new, imported)
    except ConfigError as error:
        fail(f"{error}\nnothing was {'written' if write else 'imported'}", USAGE)
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror}", FAILED)
    extra = work.TARGET_VARIABLES if with_target else ()
    if as_json:
        click.echo(json.dumps(work.as_json(imported, extra, file if write else None), indent=2))
    elif not write:
        click.echo(new, nl=False)
    work.report(imported, extra)
    if write:
        click.echo(f"{jobs} job{'s' * (jobs != 1)} added to {file}; next: tocsin check", err=True)
    if not jobs and any(note.kind == "left out" for one in imported for note in one.notes):
        fail("nothing could be imported", FAILED)

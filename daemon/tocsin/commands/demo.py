"""`tocsin demo`: an app for Tocsin to call."""

import os
from pathlib import Path

import click

from tocsin import log
from tocsin.commands.common import USAGE, any_job_file_option, examples, fail
from tocsin.jobfile import values


@click.command(
    epilog=examples("CRON_SECRET=$(openssl rand -hex 32) tocsin demo", "tocsin demo --listen 127.0.0.1:3000")
)
@click.option("--listen", default="127.0.0.1:9912", show_default=True, metavar="HOST:PORT", help="Address to serve on.")
@click.option(
    "--database", default="var/demo.sqlite", show_default=True, type=click.Path(path_type=Path), help="Its SQLite file."
)
@any_job_file_option
def demo(listen: str, database: Path) -> None:
    """Run the bundled ticketing app.

    Tocsin can call its SLA check; the secret is CRON_SECRET.
    """
    from tocsin import demo as app

    try:
        address = values.parse_address(listen)
    except ValueError as error:
        fail(f"--listen {listen}: {error}", USAGE)
    log.set_up(os.environ.get("LOG_LEVEL", "info") or "info")
    app.run(address, database, os.environ.get("CRON_SECRET", ""))

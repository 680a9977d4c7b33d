"""The `tocsin` command and its subcommands."""

import os
import sys

import click

from tocsin import __version__
from tocsin.commands.check import check
from tocsin.commands.common import Commands, examples
from tocsin.commands.completion import completion
from tocsin.commands.demo import demo
from tocsin.commands.doctor import doctor
from tocsin.commands.fire import fire
from tocsin.commands.history import history
from tocsin.commands.importing import import_
from tocsin.commands.jobs import jobs
from tocsin.commands.ledger import ledger
from tocsin.commands.logs import logs
from tocsin.commands.next import next_
from tocsin.commands.nodes import nodes
from tocsin.commands.notify import notify
from tocsin.commands.pause import pause, resume
from tocsin.commands.reload import reload
from tocsin.commands.run import run
from tocsin.commands.schema import schema

_EXAMPLES = examples(
    "tocsin check                        check the job file, and show when jobs fire",
    "tocsin run                          run the daemon in the foreground",
    "tocsin jobs                         show what the running daemon does",
    "tocsin fire sla-check               run a job now",
    "tocsin history --failed --since 1h  show what went wrong",
    "tocsin doctor                       find what is wrong, and what to do about it",
)


@click.group(
    cls=Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="tocsin")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Tocsin rings your endpoints on time, and raises the alarm when they do not answer."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org; without a terminal there are no colours anyway
        ctx.color = False


for command in (
    import_, check, history, logs, next_, jobs, fire, pause, resume, reload, doctor, ledger, nodes, notify,
    schema, completion, run, demo
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    sys.exit(main())

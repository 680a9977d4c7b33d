"""The `tocsin` command; the only file that wires the processes together."""

import os
import signal
import sys
from pathlib import Path

import click

from tocsin import __version__, config, log
from tocsin.commands import importing, live, offline, setup
from tocsin.commands.common import (
    FAILED,
    HELD,
    USAGE,
    Commands,
    any_job_file_option,
    examples,
    fail,
    job_file_option,
    loaded,
)
from tocsin.commands.doctor import doctor
from tocsin.jobfile import tables
from tocsin.jobfile.faults import ConfigError

_EXAMPLES = examples(
    "tocsin check                        is the job file right, and when will it fire?",
    "tocsin run                          the daemon, in the foreground",
    "tocsin jobs                         what the running daemon does",
    "tocsin fire sla-check               one run now",
    "tocsin history --failed --since 1h  what went wrong",
    "tocsin doctor                       what is wrong, and what to do about it",
)


@click.group(
    cls=Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="tocsin")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Tocsin rings your endpoints on time, and raises the alarm when they do not answer."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org; off a terminal there are none anyway
        ctx.color = False


@main.command(epilog=examples("tocsin run", "tocsin run -c /etc/tocsin/tocsin.toml", "LOG_LEVEL=debug tocsin run"))
@job_file_option
def run(file: Path) -> None:
    """Run the daemon in the foreground (what supervisord starts)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # a reload asked for too early waits, and kills nobody
    known = config.Known()
    settings = loaded(file, known)
    log.set_up(settings.log_level, settings.log_format)
    # Everything the children need is imported here, before the first fork, so that they share it.
    from tocsin.exporter import main as exporter
    from tocsin.job import main as job
    from tocsin.job.warmup import rehearse
    from tocsin.ledger import main as ledger
    from tocsin.ledger import stores
    from tocsin.parent import lock
    from tocsin.parent import main as parent
    from tocsin.parent.daemon import Programs

    programs = Programs(
        job=job.program,
        ledger=lambda ch, conf, session: ledger.main(ch, lambda: stores.opened(conf, session)),
        exporter=lambda ch, conf: exporter.main(ch, conf.listen, conf.access),
        rehearse=rehearse,
    )
    try:
        code = parent.run(settings, lambda: config.load(file, known=known), programs)
    except ConfigError as error:
        fail(str(error), USAGE)
    except lock.HeldByAnother as error:
        fail(f"cannot run a second daemon: {error}", HELD)
    except OSError as error:
        fail(f"cannot use the state folder {settings.state_dir}: {error}", FAILED)
    raise SystemExit(code)


@main.command(epilog=examples("CRON_SECRET=$(openssl rand -hex 32) tocsin demo", "tocsin demo --listen 127.0.0.1:3000"))
@click.option("--listen", default="127.0.0.1:9912", show_default=True, metavar="HOST:PORT", help="Where it serves.")
@click.option(
    "--database", default="var/demo.sqlite", show_default=True, type=click.Path(path_type=Path), help="Its SQLite file."
)
@any_job_file_option
def demo(listen: str, database: Path) -> None:
    """Run the bundled ticketing app. Tocsin can call its SLA check (secret: CRON_SECRET)."""
    from tocsin import demo as app

    try:
        address = tables.parse_address(listen)
    except ValueError as error:
        fail(f"--listen {listen}: {error}", USAGE)
    log.set_up(os.environ.get("LOG_LEVEL", "info") or "info")
    app.run(address, database, os.environ.get("CRON_SECRET", ""))


for command in (
    importing.import_,
    offline.check,
    offline.history,
    offline.next_,
    live.jobs,
    live.fire,
    live.pause,
    live.resume,
    live.reload,
    doctor,
    setup.schema,
    setup.completion,
):
    main.add_command(command)


if __name__ == "__main__":
    sys.exit(main())

"""`tocsin run`: the daemon. Connects the four processes."""

import secrets
import signal
import sysconfig
from pathlib import Path

import click

from tocsin import config, log
from tocsin.commands.common import FAILED, HELD, USAGE, examples, fail, job_file_option, loaded
from tocsin.config import Config
from tocsin.ipc.channel import Channel
from tocsin.ipc.notifier import FromNotifier, ToNotifier
from tocsin.jobfile.faults import ConfigError


def _notifier(channel: Channel[FromNotifier, ToNotifier], settings: Config) -> None:
    """Runs in its process, which alone imports what it needs: most daemons have none."""
    from tocsin.notifier.main import main

    main(channel, settings)


@click.command(epilog=examples("tocsin run", "tocsin run -c /etc/tocsin/tocsin.toml", "LOG_LEVEL=debug tocsin run"))
@job_file_option
def run(file: Path) -> None:
    """Run the daemon in the foreground (what supervisord starts)."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # The parent forks with the interpreter's lock held and without Python's own hooks (linux.bare_fork).
        fail("cannot run on a free-threaded Python, because forking was not tested there: use a regular build", USAGE)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # an early reload waits instead of killing this process
    known = config.Known()
    settings = loaded(file, known)
    log.set_up(settings.log_level, settings.log_format, settings.node)
    # Import everything that the children need before the first fork, so that they share it.
    from tocsin.exporter import main as exporter
    from tocsin.job import program as job
    from tocsin.job.warmup import rehearse
    from tocsin.ledger import main as ledger
    from tocsin.ledger import stores
    from tocsin.ledger.answers import Answers
    from tocsin.parent import listener, state_folder
    from tocsin.parent import main as parent
    from tocsin.parent.programs import Programs

    key = secrets.token_bytes(32)  # signs the forms of the pages, so that they hold when the exporter is started again
    programs = Programs(
        job=job.program,
        ledger=lambda ch, conf, session, asked: ledger.main(
            ch,
            stores.opener(conf, session),
            Answers(asked, lambda: stores.reader(conf.ledger, conf.state_dir, conf.node)),
        ),
        exporter=lambda ch, conf, listener, past: exporter.main(ch, listener, past, conf.listen[0], conf.access, key),
        notifier=_notifier,
        rehearse=rehearse,
    )
    try:
        code = parent.run(settings, lambda: config.load(file, known=known), programs)
    except ConfigError as error:
        fail(str(error), USAGE)
    except state_folder.HeldByAnother as error:
        fail(f"cannot run a second daemon: {error}", HELD)
    except listener.CannotListen as error:
        fail(str(error), HELD if error.held else FAILED)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        fail(f"cannot use the state folder {settings.state_dir}: {named}{error.strerror or error}", FAILED)
    raise SystemExit(code)

"""`tocsin ledger`: what is done with a whole ledger."""

import itertools
from pathlib import Path

import click

from tocsin.commands.common import FAILED, HELD, USAGE, examples, fail, job_file_option, loaded


@click.group(epilog=examples("tocsin ledger copy"))
def ledger() -> None:
    """Move the ledger to PostgreSQL."""


@ledger.command(epilog=examples("supervisorctl stop tocsin", "tocsin ledger copy", "supervisorctl start tocsin"))
@job_file_option
def copy(file: Path) -> None:
    """Copy the ledger in SQLite to PostgreSQL: slots, pauses, baselines and kept replies.

    Stop the daemon, set `ledger` in the job file to the PostgreSQL address, run this, and start the daemon again. All
    is copied or nothing. Afterwards ledger.sqlite is renamed, so that no daemon can continue from it.
    """
    from tocsin.ledger import sqlite, stores
    from tocsin.ledger.store import Absent, Held, Passing, Unusable
    from tocsin.parent.state_folder import HeldByAnother, StateFolder
    from tocsin.redact import redact

    settings = loaded(file)
    redact.hide(settings.hidden)
    if settings.ledger == "sqlite":
        fail(f'`ledger` in {file} is "sqlite": set it to the address of the PostgreSQL server to copy to', USAGE)
    kept = settings.state_dir / sqlite.FILE
    if not kept.exists():
        earlier = sorted(settings.state_dir.glob(f"{sqlite.FILE}.copied*")) if settings.state_dir.is_dir() else []
        said = f" (an earlier copy renamed it to {earlier[-1].name})" if earlier else ""
        fail(f"there is no ledger {kept}{said}", FAILED)
    try:
        state = StateFolder(settings.state_dir, patience=0.0)
    except HeldByAnother as error:
        fail(f"cannot copy the ledger while a daemon uses it: {error}; stop it first", HELD)
    try:
        copied = stores.copy_to_postgres(settings)
        renamed = _free(settings.state_dir)
        kept.rename(renamed)
    except Held as error:
        fail(str(error), HELD)
    except (Absent, Passing, Unusable) as error:
        fail(f"cannot copy the ledger: {error}", FAILED)
    finally:
        state.close()
    done = "was copied before" if copied.already else "is copied"
    click.echo(
        f"the ledger {done} to {settings.ledger}: {copied.jobs} jobs, {copied.slots} rows of slots,"
        f" {copied.replies} replies\n{kept} is now {renamed.name}"
    )


def _free(folder: Path) -> Path:
    """A name that nothing has."""
    from tocsin.ledger.sqlite import FILE

    names = itertools.chain(("copied",), (f"copied.{number}" for number in itertools.count(2)))
    return next(path for name in names if not (path := folder / f"{FILE}.{name}").exists())

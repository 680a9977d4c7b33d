"""Shared by the commands: errors, finding and reading the job file, examples, completion of names."""

import contextlib
import functools
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from tocsin import config, display, files
from tocsin.config import Config, Known
from tocsin.jobfile.faults import ConfigError
from tocsin.jobfile.values import JOB_NAME

FAILED, USAGE, HELD, NOT_RUNNING = 1, 2, 3, 4  # exit codes other than 0

any_job_file_option = click.option(
    "-c",
    "--config",
    metavar="FILE",
    hidden=True,
    expose_value=False,
    help="Accepted and ignored, so that scripts may give it to every command.",
)


def examples(*lines: str) -> str:
    """Return the epilog of a command's --help."""
    return "\n  ".join(("\b\nExamples:", *lines))


def fail(why: str, code: int) -> NoReturn:
    """Print the reason on standard error, and exit."""
    for line in why.splitlines():
        click.echo(f"{display.bad('tocsin:')} {line}", err=True)
    raise SystemExit(code)


def job_file_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option -c FILE, which every command has. The command gets the path."""

    @click.option(
        *("-c", "--config", "file"),
        metavar="FILE",
        type=click.Path(),  # so that the shell completes it
        help="Job file. Default: TOCSIN_CONFIG, else ./tocsin.toml.",
    )
    @functools.wraps(command)
    def wrapped(file: str | None, *args: Any, **kwargs: Any) -> None:
        command(config.find(file), *args, **kwargs)

    return wrapped


def loaded(file: Path, known: Known | None = None) -> Config:
    try:
        return config.load(file, known=known)
    except ConfigError as error:
        faults = len(error.faults)
        fail(f"{error}\n{faults} fault{'s' if faults > 1 else ''} in {file}; nothing was done", USAGE)


def complete_job(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
    """Return the names of jobs with this beginning, for the shell. Works for a file with faults. A file that is not
    TOML has no names, because errors must not appear when somebody presses Tab.
    """
    file = config.find(ctx.params.get("file"))
    jobs: dict[str, str] = {}
    try:
        jobs = {job.name: job.description or job.schedule.words for job in config.load(file).jobs.values()}
    except ConfigError:
        with contextlib.suppress(OSError, ValueError):
            written = tomllib.loads(files.read(file, config.FILE_SIZE, "a job file").decode()).get("jobs")
            jobs = dict.fromkeys(written, "") if isinstance(written, dict) else {}
    return [CompletionItem(name, help=text or None) for name, text in jobs.items() if name.startswith(begun)]


def job_argument(*, required: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The argument for a job's name, which the shell completes."""

    def checked(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
        if name is not None and not JOB_NAME.fullmatch(name):
            fail(f"{name[:70]!a} is not the name of a job (a-z, 0-9, '.', '_' and '-', at most 63)", USAGE)
        return name

    return click.argument("job", required=required, shell_complete=complete_job, callback=checked)


class Commands(click.Group):
    """Reports an error of the system in one line, such as a full disk or a missing folder."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click handles it
            raise
        except OSError as error:
            try:
                if sys.stdout:  # None if it was closed
                    sys.stdout.flush()
            except OSError:  # this is the output that cannot be written; Python would try again at exit, and complain
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            named = f"{error.filename}: " if error.filename else ""
            fail(f"{named}{error.strerror or error}", FAILED)

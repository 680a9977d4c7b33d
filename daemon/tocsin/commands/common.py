"""What the commands share: how they fail, how they find and read the job file."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from tocsin import config
from tocsin.config import Config
from tocsin.faults import ConfigError

FAILED, USAGE, HELD, NOT_RUNNING = 1, 2, 3, 4  # exit codes, beside 0


def fail(why: str, code: int) -> NoReturn:
    """Say why on standard error, and exit."""
    for line in why.splitlines():
        click.echo(f"tocsin: {line}", err=True)
    raise SystemExit(code)


def job_file_option(command: Callable[..., None]) -> Callable[..., None]:
    """-c FILE, which every command takes; the command gets the path."""

    @click.option("-c", "--config", "file", metavar="FILE", help="The job file (else TOCSIN_CONFIG, ./tocsin.toml).")
    @functools.wraps(command)
    def wrapped(file: str | None, *args: Any, **kwargs: Any) -> None:
        command(config.find(file), *args, **kwargs)

    return wrapped


def loaded(file: Path) -> Config:
    try:
        return config.load(file)
    except ConfigError as error:
        faults = len(error.faults)
        fail(f"{error}\n{faults} fault{'s' if faults > 1 else ''} in {file}; nothing was done", USAGE)

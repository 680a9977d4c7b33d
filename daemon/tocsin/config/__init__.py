"""Turns TOML and the environment into a frozen Config of Jobs. Finds and lists every fault at once.

`${NAME}` and `${NAME:-default}` in any string come from the environment or from the `.env` next to the job file. The
environment takes precedence. A fault names file, table, key and the value as *written*, so that the value of a variable
never reaches an error.
"""

import contextlib
import errno
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tocsin import files
from tocsin.config import dotenv
from tocsin.config import ledger as ledgers
from tocsin.config.ledger import Postgres
from tocsin.config.loader import DAEMON_VARIABLES, Known, Loader
from tocsin.config.model import Config, Job
from tocsin.jobfile.faults import ConfigError, Fault
from tocsin.jobfile.reader import Reader
from tocsin.jobfile.tables import DaemonTable, TargetTable

__all__ = ["Config", "Job", "Known", "dotenv", "find", "ledger_of", "load", "locate", "parse", "state_dir"]

CONFIG_VARIABLE = "TOCSIN_CONFIG"
DEFAULT_FILE = "tocsin.toml"
_DAEMON_HEAD = re.compile(r"^\s*\[\s*[\"']?daemon\b", re.MULTILINE)
_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
FILE_SIZE = 8 * 1024**2  # bytes: several thousand jobs; a larger file is not a job file


def find(named: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the job file: that of -c, else of TOCSIN_CONFIG, else `tocsin.toml` in the working folder."""
    try:
        return Path(named or environment.get(CONFIG_VARIABLE) or DEFAULT_FILE).absolute()
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "the working folder is gone", ".") from None


def load(file: Path, environment: Mapping[str, str] = os.environ, known: Known | None = None) -> Config:
    """Read and check the job file. Raises ConfigError with every fault. Changes only `known`."""
    return parse(_read(file), file, environment, known)


def parse(text: bytes, file: Path, environment: Mapping[str, str], known: Known | None = None) -> Config:
    """Do as `load` does, for a text that will become the file."""
    try:
        written = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # also for bad UTF-8, or a number with thousands of digits
        raise ConfigError([Fault(file.name, "", "", "", f"is not TOML: {error}")]) from None
    beside = dotenv.read(file, environment, _words(text))
    held = {**beside.values, **environment}
    loader = Loader(file, written, held, known or Known(), beside)
    config = loader.config(hashlib.sha256(text))
    if loader.faults and known and known.jobs:  # check again with nothing known, for the full list of faults
        loader = Loader(file, written, held, Known(), beside)
        config = loader.config(hashlib.sha256(text))
    if loader.faults or config is None:
        raise ConfigError(loader.faults)
    if known:
        known.read_with, known.jobs = loader.read_with, loader.read_jobs
    return config


def state_dir(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the state folder, even if the job file is faulty: commands must find the running daemon."""
    return locate(file, environment)[0]


def locate(file: Path, environment: Mapping[str, str] = os.environ) -> tuple[Path, str]:
    """Return the state folder, and why it is only a guess: the job file or the .env cannot be read, and may name
    another. "" if it is certain.
    """
    table: Any = {}
    doubts: list[str] = []
    beside = dotenv.read(file, environment, {"TOCSIN_STATE_DIR"})
    held = {**beside.values, **environment}
    doubts += map(str, beside.faults)
    try:
        table = _daemon_table(_read(file).decode("utf-8-sig"))
    except ConfigError as error:
        doubts.append(str(error))
    except (ValueError, RecursionError) as error:
        doubts.append(f"{file.name}: is not TOML: {error}")
    if environment.get("TOCSIN_STATE_DIR"):
        doubts = []  # they do not matter if the environment names the folder
    written = held.get("TOCSIN_STATE_DIR") or (table.get("state_dir") if isinstance(table, dict) else None)
    default = str(DaemonTable.model_fields["state_dir"].default)
    filled: str = Reader(file, held).filled(str(written or default), "daemon", "state_dir")
    if "\0" in filled:  # not a file name; `load` reports it too
        doubts.append(f"{file.name}: [daemon] state_dir: is not a file name")
        filled = default
    return file.parent / filled, "\n".join(doubts)


def ledger_of(file: Path, environment: Mapping[str, str] = os.environ) -> Postgres | Literal["sqlite"]:
    """Return where the ledger is, even if the rest of the job file is faulty. Raises ConfigError if the ledger's own
    keys are."""
    try:
        text = _read(file)
        table = _daemon_table(text.decode("utf-8-sig"))
    except (ConfigError, ValueError, RecursionError):  # `locate` reports it
        text, table = b"", {}
    beside = dotenv.read(file, environment, _words(text))
    loader = Loader(file, {"daemon": table or {}}, {**beside.values, **environment}, Known(), beside)
    daemon, faulty = loader.daemon()
    found = ledgers.read(daemon, faulty, loader, [])
    if faults := [one for one in loader.faults if one.key.startswith("ledger")]:
        raise ConfigError(faults)
    return found or "sqlite"


def _daemon_table(text: str) -> Any:
    """Read [daemon], which usually comes before the jobs: to parse a thousand jobs takes longer than a reload."""
    head, jobs, rest = text.partition("\n[jobs")
    if jobs and not _DAEMON_HEAD.search(rest):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # not the head of a table, but part of a longer text
            return tomllib.loads(head).get("daemon")
    return tomllib.loads(text).get("daemon")


def _words(text: bytes) -> set[str]:
    """Return every text in a job file that may name a variable, and the variables that are used without a name."""
    words = {word.decode() for word in set(_WORD.findall(text))}
    return words | DAEMON_VARIABLES.keys() | {str(TargetTable.model_fields["secret_env"].default)}


def _read(file: Path) -> bytes:
    try:
        return files.read(file, FILE_SIZE, "a job file")
    except OSError as error:
        why = f"cannot read the job file {file}: {error.strerror}"
        raise ConfigError([Fault(file.name, "", "", "", why)]) from None

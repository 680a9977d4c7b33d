"""TOML and environment into a frozen Config of Jobs; every fault is found and listed at once.

`${NAME}` and `${NAME:-default}` in any string come from the environment and from the `.env` beside the job
file; the environment wins. A fault names file, table, key and the value as it is *written*, so that what a
variable holds never reaches an error.
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
FILE_SIZE = 8 * 1024**2  # bytes: several thousand jobs; more is some other file


def find(named: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The job file: as named with -c, else by TOCSIN_CONFIG, else `tocsin.toml` in the working folder."""
    try:
        return Path(named or environment.get(CONFIG_VARIABLE) or DEFAULT_FILE).absolute()
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "the working folder is gone", ".") from None


def load(file: Path, environment: Mapping[str, str] = os.environ, known: Known | None = None) -> Config:
    """Read and check the job file. Raises ConfigError with every fault; changes nothing but what is known."""
    return parse(_read(file), file, environment, known)


def parse(text: bytes, file: Path, environment: Mapping[str, str], known: Known | None = None) -> Config:
    """As `load`, of a text that is to become the file."""
    try:
        written = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # beside TOML's own: no UTF-8, a number with thousands of digits
        raise ConfigError([Fault(file.name, "", "", "", f"is not TOML: {error}")]) from None
    beside = dotenv.read(file, environment, _words(text))
    held = {**beside.values, **environment}
    loader = Loader(file, written, held, known or Known(), beside)
    config = loader.config(hashlib.sha256(text))
    if loader.faults and known and known.jobs:  # say what is wrong as if nothing had been known
        loader = Loader(file, written, held, Known(), beside)
        config = loader.config(hashlib.sha256(text))
    if loader.faults or config is None:
        raise ConfigError(loader.faults)
    if known:
        known.read_with, known.jobs = loader.read_with, loader.read_jobs
    return config


def state_dir(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the state folder is, also while the job file is faulty: who asks the running daemon must find it."""
    return locate(file, environment)[0]


def locate(file: Path, environment: Mapping[str, str] = os.environ) -> tuple[Path, str]:
    """The state folder, and why that is only a guess: the job file or the .env, which may name another, cannot be
    read. "" where it is certain.
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
        doubts = []  # the environment overrules them
    written = held.get("TOCSIN_STATE_DIR") or (table.get("state_dir") if isinstance(table, dict) else None)
    default = str(DaemonTable.model_fields["state_dir"].default)
    filled: str = Reader(file, held).filled(str(written or default), "daemon", "state_dir")
    if "\0" in filled:  # no file's name; `load` says so too
        doubts.append(f"{file.name}: [daemon] state_dir: is not a file name")
        filled = default
    return file.parent / filled, "\n".join(doubts)


def ledger_of(file: Path, environment: Mapping[str, str] = os.environ) -> Postgres | Literal["sqlite"]:
    """Where the ledger is, also while the rest of the job file is faulty. Raises ConfigError where it is the ledger's
    own keys that are."""
    try:
        text = _read(file)
        table = _daemon_table(text.decode("utf-8-sig"))
    except (ConfigError, ValueError, RecursionError):  # `locate` says so
        text, table = b"", {}
    beside = dotenv.read(file, environment, _words(text))
    loader = Loader(file, {"daemon": table or {}}, {**beside.values, **environment}, Known(), beside)
    daemon, faulty = loader.daemon()
    found = ledgers.read(daemon, faulty, loader, [])
    if faults := [one for one in loader.faults if one.key.startswith("ledger")]:
        raise ConfigError(faults)
    return found or "sqlite"


def _daemon_table(text: str) -> Any:
    """What stands in [daemon], as a rule before the jobs: to read a thousand of them takes longer than a reload."""
    head, jobs, rest = text.partition("\n[jobs")
    if jobs and not _DAEMON_HEAD.search(rest):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # it was no table's head, but stood in a longer text
            return tomllib.loads(head).get("daemon")
    return tomllib.loads(text).get("daemon")


def _words(text: bytes) -> set[str]:
    """Whatever in a job file may be the name of a variable, and the variables that it uses without naming them."""
    words = {word.decode() for word in set(_WORD.findall(text))}
    return words | DAEMON_VARIABLES.keys() | {str(TargetTable.model_fields["secret_env"].default)}


def _read(file: Path) -> bytes:
    try:
        return files.read(file, FILE_SIZE, "a job file")
    except OSError as error:
        why = f"cannot read the job file {file}: {error.strerror}"
        raise ConfigError([Fault(file.name, "", "", "", why)]) from None

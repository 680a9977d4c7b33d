"""Adds tables at the end of the job file. The file is replaced as a whole or not at all."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tocsin.importing.found import PLACEHOLDER
from tocsin.jobfile.faults import REFERENCE, ConfigError, Fault


def read(file: Path) -> tuple[str, dict[str, Any]]:
    """Return text and tables of the job file, empty if it does not exist. Raises ConfigError."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return text, tomllib.loads(text)
    except FileNotFoundError:
        return "", {}
    except OSError as error:
        why = f"cannot read the job file {file}: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        why = f"is not TOML: {error}"
    raise ConfigError([Fault(file.name, "", "", "", why)])


def variables(text: str) -> set[str]:
    """Return the names of the variables that the text of a job file uses."""
    written = tomllib.loads(text)
    jobs = written.get("jobs")
    named = [*written.values(), *(jobs.values() if isinstance(jobs, dict) else ())]
    tables = [table for table in named if isinstance(table, dict)]
    direct = {str(value) for table in tables for key, value in table.items() if key.endswith("_env")}
    return direct | {name for name, _ in REFERENCE.findall(text)}


def stand_ins(text: str, held: Mapping[str, str]) -> dict[str, str]:
    """Return a value for each unset variable that the text of a job file uses, so that its form can be checked."""
    written = tomllib.loads(text)
    needed = {name for name, default in REFERENCE.findall(text) if not default}
    named = [written.get("target"), *written.get("jobs", {}).values()]
    needed |= {str(table["secret_env"]) for table in named if isinstance(table, dict) and table.get("secret_env")}
    return dict.fromkeys((needed | {"CRON_SECRET"}) - held.keys(), PLACEHOLDER)


def replace(file: Path, text: str) -> None:
    """Replace the file by this text, with the same mode and owner. Raises OSError, and then keeps the old file."""
    file = file.resolve()  # a symbolic link stays a link
    new = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as stream:
            if file.exists():
                old = file.stat()
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o7777)
            stream.write(text.encode())
            stream.flush()
            os.fsync(descriptor)
        new.rename(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise

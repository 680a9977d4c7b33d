"""`tocsin logs`: shows the log file that supervisord writes, or the lines of one job. Can follow it, even when it
is rotated."""

import configparser
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from tocsin import display
from tocsin.commands.common import FAILED, examples, fail, job_argument, job_file_option

LOOK_EVERY = 0.25  # seconds between checks for new lines, and for a new file in place of this one
SUPERVISORD_CONF = "supervisord.conf"
ELSEWHERE = "under systemd: journalctl -u tocsin; in a container: docker compose logs tocsin"


@click.command(epilog=examples("tocsin logs", "tocsin logs sla-check -n 20", "tocsin logs -f"))
@job_file_option
@job_argument(required=False)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as well, until Ctrl-C.")
@click.option(
    "-n", "--limit", default=50, show_default=True, type=click.IntRange(0, 100_000), help="Show this many old lines."
)
def logs(file: Path, job: str | None, follow: bool, limit: int) -> None:
    """Show the log that supervisord writes."""
    log_file = _log_file(file.absolute().parent)
    try:
        stream = log_file.open("rb")
    except FileNotFoundError:
        fail(f"there is no log file {log_file} (has supervisord run?); {ELSEWHERE}", FAILED)
    except OSError as error:
        fail(f"cannot read the log file {log_file}: {error.strerror}", FAILED)
    for line in deque((line for line in _lines(stream) if _is_of(line, job)), maxlen=limit):
        _show(line)
    if follow:
        try:
            for line in _followed(log_file, stream):
                if _is_of(line, job):
                    _show(line)
        except KeyboardInterrupt:
            return


def _log_file(folder: Path) -> Path:
    """Return the log file that the supervisord.conf next to the job file names. Exits if there is none."""
    conf = folder / SUPERVISORD_CONF
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;", "\t;"), strict=False)
    try:
        with conf.open() as stream:
            parser.read_file(stream)
        written = parser.get("program:tocsin", "stdout_logfile")
    except FileNotFoundError:
        fail(f"there is no {conf} that names a log file; {ELSEWHERE}", FAILED)
    except OSError as error:
        fail(f"cannot read {conf}: {error.strerror}", FAILED)
    except (configparser.Error, UnicodeDecodeError):
        fail(f"{conf} names no stdout_logfile for [program:tocsin]; {ELSEWHERE}", FAILED)
    named = folder / written.strip().replace("%(here)s", str(folder))
    if written.strip() in ("AUTO", "NONE", "syslog") or named.is_char_device() or named.is_relative_to("/dev"):
        fail(f"supervisord keeps no log file: {conf} says stdout_logfile={written.strip()}; {ELSEWHERE}", FAILED)
    return named


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the complete lines from here to the end. A line that is still being written is left for the next call."""
    while line := stream.readline():
        if not line.endswith(b"\n"):
            stream.seek(-len(line), os.SEEK_CUR)
            return
        yield line


def _followed(file: Path, stream: IO[bytes]) -> Iterator[bytes]:
    """Yield new lines forever. supervisord renames a full file and starts another. A file may also be truncated."""
    while True:
        yield from _lines(stream)
        try:
            now = file.stat()
        except FileNotFoundError:  # between renaming and the new file
            now = None
        opened = os.fstat(stream.fileno())
        if now and (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino):
            yield from _lines(stream)  # lines written between the last check and the renaming
            stream.close()
            stream = file.open("rb")
        elif opened.st_size < stream.tell():
            stream.seek(0)
        else:
            time.sleep(LOOK_EVERY)


def _is_of(line: bytes, job: str | None) -> bool:
    if job is None:
        return True
    if line.startswith(b"{"):
        try:
            found = json.loads(line)
        except ValueError:
            return False
        return isinstance(found, dict) and found.get("job") == job
    name = re.escape(job.encode())
    starts = rb"\S+ +\w+ +%b: " % name
    field = rb'.* (?:job=%b|process="job %b")(?: |$)' % (name, name)
    return re.match(rb"(?:%b|%b)" % (starts, field), line.rstrip()) is not None


def _show(line: bytes) -> None:
    click.echo(display.printable(line.decode("utf-8", "replace").rstrip("\n")))

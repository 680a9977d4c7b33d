"""Checks supervisord's configuration of Tocsin: time to drain, the right signal, restarts.

It uses supervisord's own parser, but not for the whole file: a file in conf.d has only the program, and the folders of
its logs need not exist here.
"""

import configparser
import glob
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

from supervisor.datatypes import RestartUnconditionally, auto_restart, boolean, signal_number  # type: ignore[import-untyped]
from supervisor.options import UnhosedConfigParser  # type: ignore[import-untyped]

from tocsin.doctor.finding import Finding, fail, ok, skipped, warning

DEFAULT_FILE = "supervisord.conf"  # next to the job file
DRAINS = (signal.SIGTERM, signal.SIGINT)
LAST_MOMENTS = 5.0  # seconds that children have to end after `drain`
CHECK = "supervisord"


def beside(job_file: Path) -> Path | None:
    """Find supervisord's configuration if no option names it."""
    file = job_file.parent / DEFAULT_FILE
    return file if file.exists() else None


def check(file: Path | None, drain: float) -> Iterator[Finding]:
    if file is None:
        yield skipped(f"{CHECK}.file", DEFAULT_FILE, "not in the job file's folder", "tocsin doctor --supervisord FILE")
        return
    parser = UnhosedConfigParser()
    try:
        with file.open() as stream:
            parser.read_file(stream)
        for included in _included(parser, file):
            parser.read(str(included))
    except OSError as error:
        yield fail(f"{CHECK}.file", str(file), f"cannot be read: {error.strerror}", "name another with --supervisord")
        return
    except (configparser.Error, UnicodeDecodeError) as error:
        lines = [number for number, _ in getattr(error, "errors", ())] or [getattr(error, "lineno", None)]
        where = f" (line {lines[0]})" if lines[0] else ""  # not the line itself, which may hold a secret
        yield fail(f"{CHECK}.file", str(file), f"is not a supervisord file{where}", "name another with --supervisord")
        return
    programs = [name for name in parser.sections() if name.startswith("program:") and _is_ours(dict(parser[name]))]
    if not programs:
        yield warning(
            f"{CHECK}.file", str(file), "no program there runs `tocsin run`", "name another with --supervisord"
        )
    for name in programs:
        yield from program(name, dict(parser[name]), drain)


def _included(parser: UnhosedConfigParser, file: Path) -> Iterator[Path]:
    """Return the files of [include] (supervisord.org/configuration.html): patterns, relative to the file's folder."""
    here = str(file.parent.absolute())
    for pattern in parser.get("include", "files", fallback="").replace("%(here)s", here).split():
        yield from map(Path, sorted(glob.glob(str(Path(here) / pattern))))


def _is_ours(section: dict[str, str]) -> bool:
    try:
        said = shlex.split(section.get("command", ""))
    except ValueError:
        return False
    return "run" in said and any(Path(word).name == "tocsin" or word in ("tocsin.cli", "tocsin") for word in said)


def program(name: str, section: dict[str, str], drain: float) -> Iterator[Finding]:
    """Check one [program:…], with supervisord's defaults."""
    try:
        found = list(_judged(name, section, drain))
    except ValueError as error:
        yield fail(f"{CHECK}.program", name, f"cannot be understood: {error}", "see supervisord.org/configuration.html")
        return
    yield from found or [
        ok(
            f"{CHECK}.program",
            name,
            f"configured well: stopwaitsecs is longer than `drain` ({drain:g} s), and a daemon that dies is restarted",
        )
    ]


def _judged(name: str, section: dict[str, str], drain: float) -> Iterator[Finding]:
    wait = int(section.get("stopwaitsecs", "10"))
    if wait < drain + LAST_MOMENTS:
        detail = f"stopwaitsecs is {wait}, but `drain` is {drain:g} s: supervisord kills calls that might still finish"
        yield (fail if wait <= drain else warning)(
            f"{CHECK}.stopwaitsecs", name, detail, f"stopwaitsecs={int(drain + 3 * LAST_MOMENTS)}, or a shorter drain"
        )
    stop = signal_number(section.get("stopsignal", "TERM"))
    if stop not in DRAINS:
        does = "only reloads the job file" if stop == signal.SIGHUP else "does not drain"
        detail = f"stopsignal is {signal.Signals(stop).name}, on which Tocsin {does}"
        yield fail(f"{CHECK}.stopsignal", name, detail, "stopsignal=TERM")
    restart = auto_restart(section.get("autorestart", "unexpected"))
    if restart is not RestartUnconditionally:
        detail = "a daemon that died is not restarted" if not restart else "after exit code 0 it stays down"
        yield (warning if restart else fail)(f"{CHECK}.autorestart", name, detail, "autorestart=true")
    if boolean(section.get("stopasgroup", "false")):
        detail = "stopasgroup also sends the signal to the children, which ends their calls at once"
        yield fail(f"{CHECK}.stopasgroup", name, detail, "stopasgroup=false (and killasgroup=true)")
    elif not boolean(section.get("killasgroup", "false")):
        detail = "without killasgroup only the parent of a hanging daemon is killed"
        yield warning(f"{CHECK}.killasgroup", name, detail, "killasgroup=true")
    if section.get("numprocs", "1").strip() != "1":
        detail = f"numprocs is {section['numprocs']}, but only one daemon can hold the state folder"
        yield fail(f"{CHECK}.numprocs", name, detail, "numprocs=1; Tocsin itself starts a process for each job")

"""The state folder, the daemon that holds it or does not, its ledger, and what it says of the jobs."""

import fcntl
import os
import select
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.config import Config, Job
from tocsin.display import size
from tocsin.doctor.finding import Finding, fail, in_number, ok, skipped, warning
from tocsin.ipc import channel
from tocsin.ipc.channel import ChannelClosed, ChannelGarbage
from tocsin.ipc.control import Done, ListJobs, Refused, decode_answer
from tocsin.ipc.exporter import JobStatus
from tocsin.ledger import stores
from tocsin.ledger.store import Reader
from tocsin.parent import control, lock
from tocsin.parent.statuses import of, same_schedule
from tocsin.timestamps import rfc3339

LITTLE_SPACE = 500 * 1024**2  # bytes: a year of a thousand jobs' slots takes more, a log or a backup fills it soon
NO_SPACE = 20 * 1024**2  # bytes: the ledger's write-ahead log alone grows to 16 MiB
ANSWER = 5.0  # seconds for the daemon to list its jobs: a thousand take 20 ms
LEDGER = 5.0  # seconds for reading the ledger through: some 2 GB from memory
OFTEN = 3  # failures in a row: one may be a deployment, three are not


@dataclass(slots=True)
class State:
    """What later checks need to know. `succeeded` names the jobs whose last run was a success."""

    running: bool = False
    succeeded: set[str] = field(default_factory=set)


def check(config: Config, jobs: Mapping[str, Job], state: State) -> Iterator[Finding]:
    """Fills `state` in on the way."""
    try:
        yield from _looked_at(config, jobs, state)
    except PermissionError as error:
        detail = f"user {os.geteuid()} may not look at it: {error.strerror}"
        yield fail("state.folder", str(error.filename), detail, "run doctor as the user that the daemon runs as")


def _looked_at(config: Config, jobs: Mapping[str, Job], state: State) -> Iterator[Finding]:
    yield from folder(config.state_dir)
    holder = held_by(config.state_dir)
    state.running = holder is not None
    if not config.state_dir.is_dir():
        return
    if holder is None:
        yield ok("state.daemon", str(config.state_dir), "no daemon runs here")
    yield ledger(stores.reader(config.state_dir), state)
    if holder is not None:
        yield ok("state.daemon", str(config.state_dir), f"the daemon runs: {holder}")
        yield from _daemon(config, jobs, state)


def folder(path: Path) -> Iterator[Finding]:
    """Whether the daemon can keep its state there, and for how long the disk lets it."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        why = "is no folder" if there == path else f"cannot be made: {there} is no folder"
        yield fail("state.folder", str(path), why, "move it away, or name another `state_dir` in [daemon]")
        return
    try:
        with tempfile.TemporaryFile(dir=there) as stream:
            stream.write(b"x")
            stream.flush()
    except OSError as error:
        advice = f"let the daemon's user write into {there} (chown, or mount it for writing), or name another state_dir"
        yield fail("state.folder", str(path), f"cannot be written: {error.strerror}", advice)
        return
    owner = there.stat().st_uid
    if owner != os.geteuid() and there == path:
        detail = f"belongs to user {owner}, and this is user {os.geteuid()}: what another user may do was not tried"
        yield warning("state.folder", str(path), detail, "run doctor as the user that the daemon runs as")
    else:
        yield ok("state.folder", str(path), "can be written" if there == path else "can be made")
    inodes = os.statvfs(there)
    yield disk(str(path), shutil.disk_usage(there).free, inodes.f_favail if inodes.f_files else None)


def disk(subject: str, free: int, inodes: int | None) -> Finding:
    """`free` bytes and inodes; None for a file system that does not count these."""
    advice = "free some: without space no slot can be recorded, and what is not recorded is not called"
    if free < NO_SPACE or (inodes is not None and inodes < 16):
        return fail("state.disk", subject, f"{size(free)} and {inodes} inodes are free", advice)
    if free < LITTLE_SPACE:
        return warning("state.disk", subject, f"only {size(free)} are free", advice)
    return ok("state.disk", subject, f"{size(free)} free")


def held_by(path: Path) -> str | None:
    """Who holds the state folder; None when nobody does. Takes the lock for a moment where it is free (a daemon
    that starts meanwhile waits for it). Raises PermissionError.
    """
    try:
        descriptor = os.open(path / lock.FILE, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "an unknown process"
    finally:
        os.close(descriptor)
    return None


def ledger(reader: Reader, state: State) -> Finding:
    """Looks for damage beside a daemon that may be writing."""
    found = reader.examine(LEDGER)
    state.succeeded = set(found.succeeded)
    match found.verdict:
        case "absent":
            return ok("state.ledger", reader.name, found.detail)
        case "sound":
            how_big = "" if found.size is None else f"{size(found.size)}, "
            return ok("state.ledger", reader.name, how_big + found.detail)
        case "busy":
            return warning("state.ledger", reader.name, found.detail, found.advice)
        case "unusable":
            return fail("state.ledger", reader.name, found.detail, found.advice)


def _daemon(config: Config, jobs: Mapping[str, Job], state: State) -> Iterator[Finding]:
    try:
        statuses = list(_listed(config.state_dir))
    except (OSError, ChannelClosed, ChannelGarbage) as error:
        why = f"holds the folder, but does not answer: {error}"
        advice = "its log may say why; if it hangs, restart it (supervisorctl restart tocsin)"
        yield fail("state.control", control.NAME, why, advice)
        return
    yield ok("state.control", control.NAME, f"the daemon answers, with {in_number(len(statuses))}")
    theirs = {one.name: one for one in statuses}
    ours = {job.name: of(job) for job in config.jobs.values()}
    names = sorted(
        theirs.keys() ^ ours.keys()
        | {name for name in theirs.keys() & ours.keys() if _differ(theirs[name], ours[name])}
    )
    if names:
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        yield warning("state.reload", config.file.name, f"the daemon runs with an older one ({shown})", "tocsin reload")
    for one in statuses:
        if one.name in jobs:
            state.succeeded -= {one.name} if one.consecutive_failures else set()
            yield health(one)


def _differ(one: JobStatus, other: JobStatus) -> bool:
    """Whether a reload would change what the job does."""
    what = (one.method, one.url, one.enabled), (other.method, other.url, other.enabled)
    return what[0] != what[1] or not same_schedule(one, other)


def _listed(folder: Path) -> Iterator[JobStatus]:
    """All jobs of the daemon. Raises OSError (TimeoutError too), ChannelClosed, ChannelGarbage."""
    daemon = channel.connect(folder, control.NAME, decode_answer)
    give_up = time.monotonic() + ANSWER
    try:
        daemon.send(ListJobs())
        while True:
            ready, _, _ = select.select([daemon.fileno()], [], [], max(0.0, give_up - time.monotonic()))
            if not ready:
                raise TimeoutError(f"nothing came within {ANSWER:g} s")
            match daemon.receive():
                case JobStatus() as status:
                    yield status
                case Done():
                    return
                case Refused(why=why):
                    raise OSError(why)
    finally:
        daemon.close()


def health(one: JobStatus) -> Finding:
    since = f"since {rfc3339(one.last_success)}" if one.last_success else "and has never succeeded"
    detail = f": {one.last_detail}" if one.last_detail else ""
    said = f"{one.consecutive_failures} × {one.last_outcome} {since}{detail}"
    advice = f"tocsin history {one.name} --failed"
    if one.enabled and one.state == "backing off":
        return fail("state.job", one.name, "its process keeps ending", "the daemon's log says why")
    if one.enabled and one.consecutive_failures >= OFTEN:
        return fail("state.job", one.name, said, advice)
    if one.enabled and one.consecutive_failures:
        return warning("state.job", one.name, said, advice)
    if one.paused:
        return warning("state.job", one.name, "is paused: its slots pass", f"tocsin resume {one.name}")
    if not one.enabled:
        return skipped("state.job", one.name, "is disabled in the job file")
    last = f"last run {one.last_outcome}" if one.last_outcome else "not run yet"
    return ok("state.job", one.name, f"{one.state}, {last}")

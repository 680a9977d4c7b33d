"""Checks the state folder, the daemon that holds it, its ledger, and the state of the jobs."""

import os
import select
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.config import Config, Job
from tocsin.doctor import disk, processes
from tocsin.doctor.finding import Finding, fail, in_number, ok, skipped, warning
from tocsin.health import Judged, answered
from tocsin.ipc import channel
from tocsin.ipc.channel import ChannelClosed, ChannelGarbage
from tocsin.ipc.control import Done, ListJobs, Refused, decode_answer
from tocsin.ipc.exporter import JobStatus
from tocsin.ipc.fates import FAILURES
from tocsin.ipc.types import Message
from tocsin.ledger import stores
from tocsin.ledger.store import Absent, Reader, Unreadable
from tocsin.parent import control
from tocsin.parent.state_folder import held_by
from tocsin.parent.statuses import of, same_schedule
from tocsin.timestamps import rfc3339
from tocsin.units import size

ANSWER = 5.0  # seconds for the daemon to list its jobs: a thousand take 20 ms
LEDGER = 5.0  # seconds to check the ledger: about 2 GB from memory
LOOKED_AT = 100  # rows of a job in the ledger that are searched for its last failures
_ADVICE = {
    "silent": "restart it (supervisorctl restart tocsin)",
    "stopping": "start it again when it has stopped",
    "ledger": "its log says why; is there room on the disk of the state folder?",
    "job file": "tocsin check",
    "exporter": "is the machine overloaded?",
    "notifier": "tocsin notify --test",
}
OFTEN = 3  # failures in a row: one may be a deployment, three are not


@dataclass(slots=True)
class State:
    """Results for later checks. `succeeded` names the jobs whose last run was a success."""

    running: bool = False
    succeeded: set[str] = field(default_factory=set)


def check(config: Config, jobs: Mapping[str, Job], state: State) -> Iterator[Finding]:
    """Check the state. Also fills in `state`."""
    try:
        yield from _looked_at(config, jobs, state)
    except PermissionError as error:
        detail = f"user {os.geteuid()} may not read it: {error.strerror}"
        yield fail("state.folder", str(error.filename), detail, "run doctor as the user that the daemon runs as")


def _looked_at(config: Config, jobs: Mapping[str, Job], state: State) -> Iterator[Finding]:
    yield from disk.folder(config.state_dir)
    holder = held_by(config.state_dir)
    state.running = holder is not None
    if holder is None:
        why = "no daemon is running, so no job is called"
        yield warning("state.daemon", str(config.state_dir), why, "run: tocsin run")
    if not config.state_dir.is_dir():
        return
    yield ledger(_reader(config), state)
    if holder is not None:
        yield ok("state.daemon", str(config.state_dir), f"the daemon runs: {holder}")
        if process := processes.daemon_of(holder):
            yield from processes.stopped(process)
        yield from _daemon(config, jobs, state)


def _reader(config: Config) -> Reader:
    return stores.reader(config.ledger, config.state_dir)


def ledger(reader: Reader, state: State) -> Finding:
    """Look for damage while a daemon may be writing."""
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
        found = answered(_answers(config.state_dir), time.time())
    except (OSError, ChannelClosed, ChannelGarbage) as error:
        why = f"holds the folder, but does not answer: {error}"
        advice = "its log may say why; if it hangs, restart it (supervisorctl restart tocsin)"
        yield fail("state.control", control.NAME, why, advice)
        return
    yield ok("state.control", control.NAME, f"the daemon answers, with {in_number(len(found.statuses))}")
    for trouble in found.troubles:
        yield fail("state.daemon", config.file.name, str(trouble), _ADVICE[trouble.what])
    theirs = {one.name: one for one in found.statuses}
    ours = {job.name: of(job) for job in config.jobs.values()}
    names = sorted(
        theirs.keys() ^ ours.keys()
        | {name for name in theirs.keys() & ours.keys() if _differ(theirs[name], ours[name])}
    )
    if names:
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        yield warning("state.reload", config.file.name, f"the daemon runs with an older one ({shown})", "tocsin reload")
    reader = _reader(config)
    for one in found.statuses:
        if one.name in jobs:
            state.succeeded -= {one.name} if one.consecutive_failures else set()
            failed = failures(reader, one) if one.consecutive_failures else ""
            yield health(one, found.judged[one.name], failed)


def _differ(one: JobStatus, other: JobStatus) -> bool:
    """Whether a reload would change what the job does."""
    what = (one.method, one.url, one.enabled), (other.method, other.url, other.enabled)
    return what[0] != what[1] or not same_schedule(one, other)


def _answers(folder: Path) -> Iterator[Message]:
    """Ask the daemon about itself and its jobs. Raises OSError (also TimeoutError), ChannelClosed, ChannelGarbage."""
    daemon = channel.connect(folder, control.NAME, decode_answer)
    give_up = time.monotonic() + ANSWER
    try:
        daemon.send(ListJobs())
        while True:
            ready, _, _ = select.select([daemon.fileno()], [], [], max(0.0, give_up - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer within {ANSWER:g} s")
            match daemon.receive():
                case Done():
                    return
                case Refused(why=why):
                    raise OSError(why)
                case Message() as answer:
                    yield answer
    finally:
        daemon.close()


def failures(reader: Reader, one: JobStatus) -> str:
    """Describe the failures since the last success. All kinds are named, because the last may not be the cause."""
    many = one.consecutive_failures
    try:
        rows = reader.history(job=one.name, failed=True, limit=LOOKED_AT)
    except (Absent, Unreadable, OSError):
        rows = []
    found = [row["outcome"] for row in rows if row["outcome"] in FAILURES][-many:]
    if set(found) <= {one.last_outcome}:
        return (
            f"{many} × {one.last_outcome}"
            if found or many == 1
            else f"{many} failures in a row, the last {one.last_outcome}"
        )
    kinds = [f"{count} × {outcome}" for outcome, count in Counter(found).most_common()]
    if many > len(found):
        kinds.append(f"{many - len(found)} before")
    return f"{many} failures in a row ({', '.join(kinds)})"


def health(one: JobStatus, judged: Judged, failed: str = "") -> Finding:
    """`failed` describes the failures since the last success."""
    since = f"last success {rfc3339(one.last_success)}" if one.last_success else "it has never succeeded"
    detail = f": {one.last_detail}" if one.last_detail else ""
    said = f"{failed or f'{one.consecutive_failures} × {one.last_outcome}'}; {since}{detail}"
    history = f"tocsin history {one.name}"
    match judged.health:
        case "stalled":
            return fail("state.job", one.name, f"is stalled: {judged.why}", processes.unstick(one.pid))
        case "overdue" if not one.consecutive_failures:
            return fail("state.job", one.name, f"is overdue: {judged.why}", history)
        case "overdue" | "failing":
            how = fail if judged.health == "overdue" or one.consecutive_failures >= OFTEN else warning
            return how("state.job", one.name, said, f"{history} --failed")
        case "slow":
            return warning("state.job", one.name, f"is slow: {judged.why}", "does the app hang? Its log may say why")
        case "missing":
            return warning("state.job", one.name, f"misses slots: {judged.why}", history)
        case "paused":
            return warning("state.job", one.name, f"is paused {judged.why}", f"tocsin resume {one.name}")
        case "elsewhere":
            if not one.node:
                return warning("state.job", one.name, "has no owner", "tocsin nodes")
            return skipped("state.job", one.name, f"is run by node {one.node}")
        case "disabled":
            return skipped("state.job", one.name, "is disabled in the job file")
        case "running" | "well" | "new":
            last = f"last run {one.last_outcome}" if one.last_outcome else "not run yet"
            return ok("state.job", one.name, f"{judged.health}, {last}")

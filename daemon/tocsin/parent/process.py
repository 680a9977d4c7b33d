"""Owns one child process: forks it, holds its channel and pidfd, reaps it."""

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Container, Iterable

import setproctitle

from tocsin import linux, log
from tocsin.ipc import channel as channels
from tocsin.ipc import exporter, job, ledger, notifier
from tocsin.ipc.channel import AnyChannel, Channel, ChannelClosed
from tocsin.linux import Ranges
from tocsin.parent.lifecycle import Child, ExitStatus

Decode = Callable[[bytes], object]

CRASHED = 70  # exit code of a child that ended by an exception (EX_SOFTWARE of sysexits.h)
OOM_SCORE_ADJ = b"500"  # when memory runs out, the kernel kills a child before the parent (proc(5))


# For each kind of child: decodes what it may send to the parent, and what the parent may send to it.
_ENDS: dict[str, tuple[Decode, Decode]] = {
    "job": (job.decode_from_job, job.decode_to_job),
    "ledger": (ledger.decode_from_ledger, ledger.decode_to_ledger),
    "exporter": (exporter.decode_from_exporter, exporter.decode_to_exporter),
    "notifier": (notifier.decode_from_notifier, notifier.decode_to_notifier),
}


class Process:
    """One child and its kernel objects. `child` is its state in the life cycle."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.channel: AnyChannel | None = None
        self.alarm: float | None = None  # monotonic: when the loop calls `lifecycle.timer`

    @property
    def title(self) -> str:
        return f"{self.child.process} {self.child.job}".strip()

    def kill(self, number: int) -> None:
        if self.pidfd is not None:
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                log.debug("the process to signal has already exited", process=self.title)

    def reap(self) -> ExitStatus:
        """Return how the process ended. Call it when the pidfd is readable. Releases everything but the channel."""
        assert self.pidfd is not None
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        self.pid = self.pidfd = None
        if result is None or result.si_code == os.CLD_EXITED:
            return ExitStatus(code=result.si_status if result else 0)
        return ExitStatus(signal=result.si_status)

    def close_channel(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None


def fork(batch: Iterable[tuple[Process, Callable[[AnyChannel], None], Iterable[int]]]) -> dict[Process, OSError]:
    """Start each `main(channel)` in a new process, which keeps only its channel, the descriptors 0-2 and those given.

    Returns the processes that could not be started for want of a process or descriptor. The parent does almost nothing
    between two forks: each page that it writes is no longer shared with the children before.
    """
    failed: dict[Process, OSError] = {}
    ready = []
    for process, main, kept in batch:
        try:
            ours, theirs = channels.pair()
        except OSError as error:
            failed[process] = error
        else:
            others = linux.all_but({0, 1, 2, theirs.fileno(), *kept})
            hears, is_told = _ENDS[process.child.process]
            channel: AnyChannel = Channel(ours, hears, blocking=False)
            ready.append((process, channel, theirs, process.title, others, is_told, main))
    parent = os.getpid()
    pids: list[int | OSError] = [0] * len(ready)
    before = linux.block_signals()
    for number, (_, _, theirs, title, others, is_told, main) in enumerate(ready):
        try:
            pids[number] = pid = linux.bare_fork()
        except OSError as error:
            pids[number] = error
        else:
            if pid == 0:
                _child(title, parent, theirs.detach(), others, is_told, main)
    linux.restore_signals(before)
    for (process, channel, theirs, title, *_), pid_or_error in zip(ready, pids, strict=True):
        theirs.close()
        try:
            if isinstance(pid_or_error, OSError):
                raise pid_or_error
            process.pidfd = _pidfd(pid_or_error)
        except OSError as error:
            channel.close()
            failed[process] = error
        else:
            _offer_first(pid_or_error, title)
            process.pid = pid_or_error
            process.channel = channel
    return failed


def reap_adopted(ours: Container[int | None]) -> bool:
    """Reap orphans that have ended. Returns True if it had to stop at one of `ours`, which is reaped by its pidfd."""
    with contextlib.suppress(ChildProcessError):  # no children left
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in ours:
                return True
            os.waitpid(ended.si_pid, 0)
    return False


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no free descriptor: a child that cannot be watched must not run
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _offer_first(pid: int, title: str) -> None:
    """Make the kernel kill this child before the parent when memory runs out."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "wb", buffering=0) as score:
            score.write(OOM_SCORE_ADJ)
    except OSError as error:
        log.debug("cannot raise oom_score_adj", process=title, why=str(error))


def _child(
    title: str, parent: int, descriptor: int, others: Ranges, is_told: Decode, main: Callable[[AnyChannel], None]
) -> None:
    """Run the child. Never returns."""
    code = CRASHED
    try:
        _become(title, parent, others)
        channel: AnyChannel = Channel(channels.adopt(descriptor), is_told, blocking=True)
        try:
            main(channel)
        finally:
            channel.close()
        code = 0
    except ChannelClosed:
        code = 0  # the parent is gone: there is nothing left to do
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else CRASHED
    except BaseException as error:  # noqa: BLE001 - the last frame of the process: say why it ends
        log.error("the process failed", process=title, why=f"{type(error).__name__}: {error}")
        log.debug(traceback.format_exc().replace("\n", " | "))
    finally:
        os._exit(code)


def _become(title: str, parent: int, others: Ranges) -> None:
    """Give up everything of the parent's that a child must not keep. `others` are the descriptors to close.

    The child keeps the parent's handlers of SIGINT, SIGHUP and SIGTERM, which do nothing. Ctrl-C, a hang-up and
    systemd signal the whole group, but the parent decides what its children do. A child handles CANCEL only during a
    call (`tocsin.call.deadline`): a CANCEL right after the call must not lose the report.
    """
    signal.set_wakeup_fd(-1)
    linux.close_ranges(others)
    linux.die_with_parent(parent)
    linux.restore_signals(linux.NO_SIGNALS)
    setproctitle.setproctitle(f"tocsin: {title}")

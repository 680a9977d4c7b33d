"""Owns one child process: forks it, holds its channel and pidfd, reaps it."""

import gc
import os
import resource
import signal
import traceback
from collections.abc import Callable, Iterable

import setproctitle

from tocsin import channel as channels
from tocsin import linux, log
from tocsin.channel import Channel, ChannelClosed
from tocsin.messages import CANCEL
from tocsin.parent.lifecycle import Child, ExitStatus

CRASHED = 70  # exit code of a child that an exception ended (EX_SOFTWARE of sysexits.h)
OOM_SCORE_ADJ = 500  # the kernel takes a child before the parent when memory runs out (proc(5))
# What Ctrl-C, a hang-up or systemd send reaches the whole group: the parent decides, its children wait for word.
# CANCEL is heard only during a call: one that comes right after it must not cost the report.
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, CANCEL)


class Process:
    """One child and its kernel objects; `child` is its life cycle's state."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.channel: Channel | None = None

    @property
    def title(self) -> str:
        return f"{self.child.process} {self.child.job}".strip()

    def fork(self, main: Callable[[Channel], None], kept: Iterable[int]) -> None:
        """Start `main(channel)` in a new process, which keeps only the descriptors 0-2, `kept` and its channel.

        Raises OSError when there is no process or descriptor to be had.
        """
        ours, theirs = channels.pair()
        parent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _child(self.title, parent, theirs.detach(), tuple(kept), main)
            self.pidfd = _pidfd(pid)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = pid
        self.channel = Channel(ours, blocking=False)

    def kill(self, number: int) -> None:
        if self.pidfd is not None:
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                log.debug("the process to signal is gone already", process=self.title)

    def reap(self) -> ExitStatus:
        """After the pidfd became readable: how it ended. Releases the kernel objects but the channel."""
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


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no descriptor left: a child that cannot be watched must not live
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _child(title: str, parent: int, descriptor: int, kept: tuple[int, ...], main: Callable[[Channel], None]) -> None:
    """The life of the child; never returns."""
    code = CRASHED
    try:
        _become(title, parent, descriptor, kept)
        lowest = os.dup(descriptor)  # select(2) takes no descriptor from 1024 on, and a big parent has many
        os.close(descriptor)
        main(Channel(channels.adopt(lowest), blocking=True))
        code = 0
    except ChannelClosed:
        code = 0  # the parent is gone: nobody to work for
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else CRASHED
    except BaseException as error:  # noqa: BLE001 - the last frame of the process: say why it ends
        log.error("the process failed", process=title, why=f"{type(error).__name__}: {error}")
        log.debug(traceback.format_exc().replace("\n", " | "))
    finally:
        os._exit(code)


def _become(title: str, parent: int, descriptor: int, kept: tuple[int, ...]) -> None:
    """Everything of the parent that a child must not keep."""
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    linux.close_all_but({0, 1, 2, descriptor, *kept})
    linux.die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    gc.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the secret
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(OOM_SCORE_ADJ))
    except OSError as error:
        log.debug("cannot raise oom_score_adj", process=title, why=str(error))
    setproctitle.setproctitle(f"tocsin: {title}")

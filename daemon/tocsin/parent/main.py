"""`tocsin run`: takes the state folder, opens the control socket, handles the signals, and runs until stopped."""

import gc
import math
import os
import resource
import signal
from collections.abc import Callable

import setproctitle

from tocsin import __version__, immortal, linux, log
from tocsin.config import Config
from tocsin.ipc.actions import Actor
from tocsin.ipc.control import Done, Refused
from tocsin.jobfile.faults import ConfigError, Fault
from tocsin.parent import changes, limits, room
from tocsin.parent.children import Children
from tocsin.parent.control import Control
from tocsin.parent.daemon import Daemon
from tocsin.parent.listener import Listener
from tocsin.parent.loop import Loop
from tocsin.parent.process import reap_adopted
from tocsin.parent.programs import Programs
from tocsin.parent.remote import Remote
from tocsin.parent.requests import LONGEST_ANSWER, UNUSABLE, Commands
from tocsin.parent.state_folder import StateFolder
from tocsin.redact import redact

UNDER_SUPERVISORD = "SUPERVISOR_ENABLED"  # supervisord sets it for the processes it starts
HELD_BACK = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}  # blocked by `tocsin.__main__` until the handlers are set
REAP_AGAIN = 0.1  # seconds: by then the loop has reaped its own child, which comes first
REPEATED = 3.0  # seconds in which another SIGTERM counts as the same: Heroku signals every process, maybe twice


def run(config: Config, load: Callable[[], Config], programs: Programs) -> int:
    """Run the parent until it is stopped, and return its exit code. `load` reads the job file again.

    Raises ConfigError when there are more jobs than the limits allow, tocsin.parent.state_folder.HeldByAnother,
    tocsin.parent.listener.CannotListen, and OSError when the state folder cannot be used.
    """
    _within_limits(config)
    os.umask(0o077)  # for all files of the daemon: the ledger must never be readable for another user
    state = StateFolder(config.state_dir)
    listener = Listener(config.listen)
    writer = log.set_up(config.log_level, config.log_format, config.node)
    redact.hide(config.hidden)
    log.info(
        "tocsin starts",
        version=__version__,
        pid=os.getpid(),
        jobs=len(config.enabled_jobs),
        config=config.file,
        state=config.state_dir,
        metrics=f"{base_url(config)}/metrics",
        page=f"{base_url(config)}/",
    )
    for warning in config.warnings:
        log.warning(warning)
    gc.disable()  # the parent makes no cycles; its children collect when it suits them
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the secret
    setproctitle.getproctitle()  # finds where the title is stored; the children share that
    programs.rehearse(config)
    loop = Loop()
    daemon = Daemon(
        config, loop, programs, lambda delegate: Children(loop, delegate), listener, state, {writer.descriptor}
    )

    def reload() -> Done | Refused:
        old, read = daemon.config, daemon.config

        def fresh() -> Config:
            nonlocal read
            read = _within_limits(load())
            return read

        if why := daemon.reload(fresh):
            return Refused(why[:LONGEST_ANSWER], UNUSABLE)
        log.set_up(daemon.config.log_level, daemon.config.log_format, daemon.config.node)
        redact.hide(daemon.config.hidden)
        by_kind = {kind: changes.named(names) for kind, names in changes.jobs_changed(old, daemon.config).items()}
        log.info("reloaded", jobs=len(daemon.config.enabled_jobs), config_hash=daemon.config.hash, **by_kind)
        for warning in daemon.config.warnings:
            log.warning(warning)
        return Done(changes.in_words(old, read))

    commands = Commands(daemon, reload)
    daemon.on_request = Remote(commands, loop).heard
    control = Control(config.state_dir, loop, commands.handle)

    told = -math.inf  # when the last SIGTERM that counted came

    def on_signal(number: int) -> None:
        nonlocal told
        if number == signal.SIGHUP:
            commands.reload(Actor("SIGHUP", "signal"))
        elif number == signal.SIGINT:  # from a person at a terminal: a second one always hurries
            daemon.stop("SIGINT")
        elif number == signal.SIGTERM and loop.now() >= told + REPEATED:
            told = loop.now()
            daemon.stop("SIGTERM")
        elif number == signal.SIGUSR2:
            log.warning("Tocsin ignores SIGUSR2")
        elif number == signal.SIGCHLD:
            reap()

    def reap() -> None:
        if reap_adopted({one.pid for one in daemon.processes}):
            loop.at(loop.now() + REAP_AGAIN, reap)

    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2]
    if os.getpid() == 1:  # in a container, process 1 must reap the orphans
        signals.append(signal.SIGCHLD)
        loop.at(loop.now(), reap)
    loop.on_signals(signals, on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)  # signals that came since the start count
    _stop_with_supervisord(loop, daemon)
    _share()  # before the jobs are enrolled: it takes a while, and a slot that comes due meanwhile is missed after that
    if why := room.tight(len(config.enabled_jobs), room.memory_free()):
        log.warning(why)
    daemon.start()
    loop.run(daemon.work)
    control.close()
    log.info("tocsin has stopped", exit_code=daemon.exit_code)
    return daemon.exit_code


def _share() -> None:
    """Prepare what stands now for the forks: no child is to copy it for looking at it, or for a hole in between."""
    if why := immortal.unusable():
        log.debug("each process copies what it uses of Python's objects", why=why)
    else:
        log.debug("made immortal what the processes share", objects=immortal.everything())
    linux.fill_heap()


def base_url(config: Config) -> str:
    host, port = config.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if config.access.tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _within_limits(config: Config) -> Config:
    """Return the config. Raises ConfigError when it has more jobs than this process's limits allow."""
    if why := limits.shortage(len(config.enabled_jobs)):
        raise ConfigError([Fault(config.file.name, "", "", "", why)])
    return config


def _stop_with_supervisord(loop: Loop, daemon: Daemon) -> None:
    """When supervisord dies, stop as on SIGTERM: the next supervisord starts a new daemon, which needs the lock."""
    if UNDER_SUPERVISORD not in os.environ:
        return
    supervisor = os.pidfd_open(os.getppid())

    def on_death() -> None:
        loop.forget(supervisor)
        os.close(supervisor)
        daemon.stop("supervisord is gone")

    loop.watch(supervisor, on_death)

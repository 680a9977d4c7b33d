"""The parent's decisions: which children run, and what each message means for the others."""

import uuid
from collections.abc import Callable
from typing import Any, assert_never

from msgspec.structs import replace

from tocsin import log
from tocsin.config import Config
from tocsin.ipc.actions import Answered, Requested
from tocsin.ipc.channel import AnyChannel, ChannelGarbage
from tocsin.ipc.cluster import AwayPart, GivenUp, Members, RosterPart
from tocsin.ipc.exporter import ConfigLoaded, DaemonStops, ProcessExited, ProcessUp
from tocsin.ipc.job import Ask, Deny, Finished, FromJob, Grant, Pause, Release, Skipped, Sleeping
from tocsin.ipc.ledger import Committed, FromLedger, JobHistory, LedgerReady, LedgerRoom, LedgerTrouble, LedgerUnusable
from tocsin.parent import changes, lifecycle, run_log
from tocsin.parent.children import Children, Delegate
from tocsin.parent.jobs import Jobs
from tocsin.parent.ledger_client import LedgerClient
from tocsin.parent.lifecycle import Child
from tocsin.parent.listener import Listener
from tocsin.parent.loop import Loop
from tocsin.parent.notifying import Notifying
from tocsin.parent.process import Process
from tocsin.parent.programs import EXPORTER, LEDGER, NOTIFIER, Programs
from tocsin.parent.running import Running
from tocsin.parent.services import Services
from tocsin.parent.state_folder import HELD, StateFolder
from tocsin.parent.status_feed import StatusFeed

HEARTBEAT = 5.0  # seconds between heartbeats to the exporter, which tolerates two missing ones
FINISH = 8.0  # seconds after the drain for the ledger to commit the last results


class Daemon:
    """`children` builds the object that carries out these decisions. `kept` are the descriptors that every child keeps
    besides the state folder's locks: the log's."""

    def __init__(
        self,
        config: Config,
        loop: Loop,
        programs: Programs,
        children: Callable[[Delegate], Children],
        listener: Listener,
        state: StateFolder,
        kept: set[int],
    ) -> None:
        self.config = config
        self._listener = listener
        self._state = state
        self._kept = kept
        self.exit_code = 0
        self.on_run_over: Callable[[Finished | Skipped | Deny], None] = lambda _: None
        self.on_job_exit: Callable[[str], None] = lambda _: None
        self.on_request: Callable[[Process, Requested], Answered | None] = lambda *_: None
        self.feed = StatusFeed(lambda message: self._services.send(EXPORTER, message), loop.wall)
        self.clock = self._loop = loop
        session = uuid.uuid4().hex
        self._children = children(self)
        self._services = Services(self._children, programs, session, listener)
        self._running = Running(self.feed, loop)
        self._notifying = Notifying(self.feed, self._services)
        self._readers: dict[str, StatusFeed | Notifying] = {EXPORTER: self.feed, NOTIFIER: self._notifying}
        self._ledger = LedgerClient(lambda: self._services.get(LEDGER), self._children, self.feed, loop)
        self.jobs = Jobs(programs.job, session, self._children, self._ledger, self.feed, loop)

    @property
    def stopping(self) -> bool:
        return self.jobs.stopping

    @property
    def processes(self) -> list[Process]:
        return [*self._services.processes, *self.jobs.processes]

    # ---- beginning and end

    def start(self) -> None:
        """Fork the ledger and the exporter. Each job follows when the ledger has sent its history."""
        self._state.answer(self._loop)
        self._services.begin_all()
        self._take_over()
        self._heartbeat()

    def work(self) -> bool:
        return self._children.fork_some()

    def stop(self, why: str, exit_code: int = 0) -> None:
        """Start no more runs, let calls finish for `drain` seconds, then end. A second call cancels them."""
        self.exit_code = max(self.exit_code, exit_code)
        if self.stopping:
            log.warning("stopping at once", why=why)
            self.jobs.hurry()
            return
        running = sum(map(self.jobs.is_running, self.jobs.supervised))
        log.info("stopping", why=why, running_calls=running, drain=self.config.drain)
        self.feed.tell(DaemonStops(self._loop.wall()))
        self.jobs.stop(self.config.drain)
        self._loop.at(self._loop.now() + self.config.drain + FINISH, self._end_services)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self.stopping and not self.jobs.processes and self._ledger.settled:
            self._end_services()

    def _end_services(self) -> None:
        if not self._ledger.settled:
            log.error("stopped before the ledger could write everything: unfinished runs will be recorded as lost")
            self.exit_code = max(self.exit_code, 1)
        self._services.stop_all()

    def _heartbeat(self) -> None:
        self.feed.heartbeat(self._ledger.dropped)
        self._ledger.tell()
        self._look_at_state()
        self._loop.at(self._loop.now() + HEARTBEAT, self._heartbeat)

    def _look_at_state(self) -> None:
        """Stop if somebody deleted or replaced the state folder or its lock, and another daemon has it now."""
        if self._ledger.lost or self._state.is_held():
            return
        self._ledger.lost = True  # this daemon must not write to the folder that is there now
        if not self.stopping:
            self.stop("the state folder is lost", exit_code=1)
        self._services.stop(LEDGER)
        self.jobs.hurry()  # another daemon may call the same slots

    # ---- configuration

    def reload(self, load: Callable[[], Config]) -> str | None:
        """Apply the config that `load` returns. Returns None, or why nothing was changed."""
        if self.stopping:
            return "the daemon is stopping"
        try:
            new = changes.read(load, self.config, self._listener)
        except changes.NotTaken as error:
            return self._refuse(error)
        old, self.config = self.config, new
        if (new.listen, new.access) != (old.listen, old.access):
            self._services.stop(EXPORTER)
        self._take_over()
        return None

    def _refuse(self, error: changes.NotTaken) -> str:
        for fault in str(error).splitlines():
            log.error("reload refused; the current jobs keep running", why=fault)
        self.feed.tell(ConfigLoaded(self.config.hash, self._loop.wall(), error=str(error)[:1000]))
        return error.answer

    def _take_over(self) -> None:
        self.jobs.take_over(self.config)
        self._notifying.take_over(self.config)
        self.feed.tell(ConfigLoaded(self.config.hash, self._loop.wall()))

    # ---- children (the methods of `Delegate`)

    def main_of(self, child: Child) -> Callable[[AnyChannel], None]:
        if child.process == "job":
            return self.jobs.main_of(child.job)
        return self._services.main_of(child.process, self.config)

    def kept_by(self, child: Child) -> set[int]:
        return self._kept | self._state.descriptors | self._services.kept_by(child.process)

    def forked(self, process: Process) -> None:
        child = process.child
        assert process.pid is not None
        self.feed.tell(ProcessUp(child.process, child.job, process.pid, self._loop.wall()))
        if child.process == LEDGER:
            self._ledger.forked()
        elif reader := self._readers.get(child.process):
            reader.repeat()

    def exited(self, process: Process) -> None:
        if process.child.process == LEDGER:
            self._ledger.died()
            self._look_at_state()  # before the next ledger process opens the files
        elif process.child.process == "job":
            self.on_job_exit(process.child.job)

    def gone(self, process: Process) -> None:
        child = process.child
        if child.process == "job":
            self.jobs.gone(child.job)
            self._end_if_idle()
        elif self.stopping or (child.process == NOTIFIER and not self._notifying.wanted):
            self._services.forget(child.process)
            self._loop.done = not self._services
        else:
            self._services.begin(child.process)

    def tell(self, event: ProcessExited) -> None:
        self.feed.tell(event)

    def writable(self, process: Process) -> None:
        if process.child.process == LEDGER:
            self._ledger.pump()
        elif reader := self._readers.get(process.child.process):
            reader.pump()

    # ---- messages in

    def heard(self, process: Process, message: Any) -> None:
        """The channel has already checked that a child of this kind may send this message."""
        if process.child.process == LEDGER:
            self._from_ledger(message)
        elif process.child.process == NOTIFIER:
            self.feed.tell(message)
        elif process.child.process == EXPORTER:
            if answer := self.on_request(process, message):
                self._children.send(process, answer)
        else:
            self._from_job(process, message)

    def _from_job(self, process: Process, message: FromJob) -> None:
        name = process.child.job
        if message.job != name:
            raise ChannelGarbage(f"{type(message).__name__} that is not about {name}")
        match message:
            case Sleeping():
                self.feed.tell(message)
            case Ask():
                owned = replace(message, owner=self.jobs.supervised[name].owner)
                self._children.step(process, lifecycle.asked(process.child, owned))
            case Finished():
                self._children.step(process, lifecycle.finished(process.child, message))
            case Skipped():
                self._children.step(process, lifecycle.skipped(process.child, message))
            case Release():
                self._children.step(process, lifecycle.released(process.child, message))
            case _:
                assert_never(message)

    def _from_ledger(self, message: FromLedger) -> None:
        match message:
            case Grant() | Deny():
                self._answered(message)
            case Committed() | LedgerRoom():
                self._ledger.said(message)
                self._end_if_idle()
            case JobHistory():
                self.jobs.past(message)
            case Finished():  # of an earlier daemon that died during the run; the ledger has it already
                self._over(message)
            case LedgerReady():
                self.jobs.ledger_ready(message)
            case Members():
                self.feed.tell(message)
                self.jobs.of_nodes(message)
            case RosterPart() | GivenUp() | AwayPart():
                self.jobs.of_nodes(message)
            case Pause():
                run_log.paused_elsewhere(message)
                self.jobs.follow_pause(message)
            case LedgerTrouble(detail=detail):
                self._ledger.trouble(detail)
            case LedgerUnusable() if self._ledger.lost:
                pass  # already logged: the ledger's process was started again meanwhile
            case LedgerUnusable(detail=detail, held=held):
                log.error("the ledger cannot be used", why=detail)
                self._ledger.lost = True
                self.stop("the ledger cannot be used", exit_code=HELD if held else 1)
                if held:
                    self.jobs.hurry()  # another daemon may call the same slots
            case _:
                assert_never(message)

    def _answered(self, answer: Grant | Deny) -> None:
        one = self.jobs.supervised.get(answer.job)
        if one is None or one.process is None or one.forked_as is None:
            return
        process, before = one.process, one.process.child.slot
        wait, longest = max(0.0, answer.due - self._loop.wall()), one.forked_as.longest_run
        self._children.step(process, lifecycle.answered(process.child, answer, self._loop.now(), wait, longest))
        if process.child.slot is before:
            return
        if isinstance(answer, Grant):
            self._running.granted(process, answer.due, wait)
            self._notifying.granted(process, wait, self._loop)
        elif process.child.slot is None:
            self.on_run_over(answer)

    # ---- messages out

    def record(self, body: Ask | Finished | Skipped | Release) -> None:
        """Send the event to the ledger first, then to the exporter and the log."""
        self._ledger.put(body)
        self.jobs.supervised[body.job].follow(body)
        if isinstance(body, Finished | Skipped):
            self._over(body)

    def _over(self, event: Finished | Skipped) -> None:
        self.feed.tell(event)
        self.on_run_over(event)
        if isinstance(event, Finished):
            self.jobs.over(event)
            self._notifying.over(event)

"""Carries out what `lifecycle.py` decides: forks, sends, kills and reaps. Reads every child's channel."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from tocsin import log
from tocsin.ipc.channel import AnyChannel, ChannelClosed, ChannelGarbage
from tocsin.ipc.exporter import ProcessExited, ToExporter
from tocsin.ipc.job import Ask, Finished, Release, Skipped, ToJob
from tocsin.ipc.ledger import ToLedger
from tocsin.ipc.notifier import ToNotifier
from tocsin.parent import lifecycle
from tocsin.parent.lifecycle import Child, ExitStatus, Fork, Gone, Kill, Record, Send, Step, Tell
from tocsin.parent.loop import Loop
from tocsin.parent.process import Process, fork

FORKS_AT_ONCE = 16  # then the channels are read: starting a thousand jobs must not delay the first ones
# Messages read from one child before the others have their turn. The ledger answers many asks at once. A job sends
# one message at a time, and checking for a second would double the cost.
MESSAGES_AT_ONCE = {"ledger": 64}


Start = Callable[[Iterable[tuple[Process, Callable[[AnyChannel], None], Iterable[int]]]], dict[Process, OSError]]


class Delegate(Protocol):
    """Makes the decisions. `heard` raises ChannelGarbage for a message that this child must not send. `kept_by` returns
    the descriptors that a child keeps."""

    def main_of(self, child: Child) -> Callable[[AnyChannel], None]: ...
    def kept_by(self, child: Child) -> Iterable[int]: ...
    def forked(self, process: Process) -> None: ...
    def heard(self, process: Process, message: Any) -> None: ...
    def writable(self, process: Process) -> None: ...
    def record(self, body: Ask | Finished | Skipped | Release) -> None: ...
    def tell(self, event: ProcessExited) -> None: ...
    def exited(self, process: Process) -> None: ...
    def gone(self, process: Process) -> None: ...


class Children:
    """`start` forks a batch of processes. Tests pass a function that does not fork."""

    def __init__(self, loop: Loop, delegate: Delegate, start: Start = fork) -> None:
        self._start = start
        self._loop = loop
        self._delegate = delegate
        self._to_fork: deque[Process] = deque()

    # ---- what happens to a child

    def begin(self, process: Process) -> None:
        """Queue the process to be forked."""
        self._to_fork.append(process)

    def fork_some(self) -> bool:
        """Fork the next few processes of the queue. Returns whether more are waiting."""
        turn = [self._to_fork.popleft() for _ in range(min(FORKS_AT_ONCE, len(self._to_fork)))]
        batch = []
        for process in turn:
            process.child, actions = lifecycle.start(process.child, self._loop.now())
            if Fork() in actions:  # it may have been stopped while it waited
                batch.append(process)
        self._fork(batch)
        return bool(self._to_fork)

    def stop(self, process: Process, drain: float | None) -> None:
        self.step(process, lifecycle.stop(process.child, self._loop.now(), drain))

    def hurry(self, process: Process) -> None:
        self.step(process, lifecycle.hurry(process.child, self._loop.now()))

    def step(self, process: Process, step: Step) -> None:
        """Enter the new state and perform its actions."""
        process.child, actions = step
        self._await(process)
        for action in actions:
            match action:
                case Fork():
                    self._fork([process])
                case Send(message):
                    self.send(process, message)
                case Kill(number):
                    process.kill(number)
                case Record(body):
                    self._delegate.record(body)
                case Tell(event):
                    self._delegate.tell(event)
                case Gone():
                    self._delegate.gone(process)

    def _await(self, process: Process) -> None:
        """Make the loop call back by `wake`. Each process has one alarm at a time, which is reused for later moments:
        one for each run would add up to thousands when timeouts are long."""
        wake = process.child.wake
        if wake is not None and (process.alarm is None or wake < process.alarm):
            process.alarm = wake
            self._loop.at(wake, lambda: self._timer(process, wake))

    def _timer(self, process: Process, moment: float) -> None:
        if process.alarm != moment:
            return  # an earlier alarm replaced it
        process.alarm = None
        wake = process.child.wake
        if wake is not None and wake <= moment:
            self.step(process, lifecycle.timer(process.child, self._loop.now()))
        else:
            self._await(process)

    def _fork(self, batch: Sequence[Process]) -> None:
        decide = self._delegate
        failed = self._start([(one, decide.main_of(one.child), decide.kept_by(one.child)) for one in batch])
        for process in batch:
            if error := failed.get(process):
                log.error("cannot start a process", process=process.title, why=str(error))
                self._over(process, ExitStatus(code=os.EX_OSERR))
            else:
                self._watch_new(process)

    def _watch_new(self, process: Process) -> None:
        assert process.pidfd is not None
        self._loop.watch(process.pidfd, lambda: self._exited(process))
        self.watch(process)
        self._delegate.forked(process)

    def _exited(self, process: Process) -> None:
        if process.pidfd is None:
            return
        while self._read(process):
            pass  # messages that it sent before it died count
        self._loop.forget(process.pidfd)
        self._close(process)
        self._over(process, process.reap())

    def _over(self, process: Process, ended: ExitStatus) -> None:
        self.step(process, lifecycle.exited(process.child, ended, self._loop.now(), self._loop.wall()))
        self._delegate.exited(process)

    def _close(self, process: Process) -> None:
        if process.channel:
            self._loop.forget(process.channel.fileno())
            process.close_channel()

    # ---- messages

    def send(self, process: Process, message: ToJob | ToLedger | ToExporter | ToNotifier) -> bool:
        """Send or queue the message without waiting. Returns whether it was accepted."""
        if process.channel is None:
            return False
        try:
            taken = process.channel.send(message)
        except ChannelClosed:
            return False  # its exit is handled next
        self.await_room(process)
        return taken

    def watch(self, process: Process) -> None:
        """Start to read its channel."""
        if process.channel:
            self._loop.watch(process.channel.fileno(), lambda: self._read(process), lambda: self._flush(process))

    def await_room(self, process: Process) -> None:
        """If messages are queued, call `_flush` when there is room."""
        if process.channel and process.channel.backlog:
            self._loop.await_room(process.channel.fileno(), True)

    def _flush(self, process: Process) -> None:
        if process.channel is None:
            return
        try:
            process.channel.flush()
        except ChannelClosed:
            self._loop.forget(process.channel.fileno())
            return
        self._loop.await_room(process.channel.fileno(), process.channel.backlog > 0)
        self._delegate.writable(process)

    def _read(self, process: Process) -> bool:
        """Handle some messages of this child. Returns whether there may be more."""
        if process.channel is None:
            return False
        heard = False
        try:
            for message in process.channel.waiting(MESSAGES_AT_ONCE.get(process.child.process, 1)):
                heard = True
                self._delegate.heard(process, message)
        except ChannelClosed:
            self._loop.forget(process.channel.fileno())  # its exit is handled next
            return False
        except ChannelGarbage as error:
            log.error("a process sent garbage and was killed", process=process.title, why=str(error))
            process.kill(signal.SIGKILL)
            self._close(process)
            return False
        return heard

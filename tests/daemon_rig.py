"""The parent's decisions without forks, sockets and waiting: what its children say and when they die is told, what
they are sent is looked at.
"""

import heapq
import itertools
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from tocsin.config import Config, Job
from tocsin.ipc import record as records
from tocsin.ipc.channel import AnyChannel, ChannelClosed
from tocsin.ipc.control import Answer
from tocsin.ipc.job import Ask, Grant
from tocsin.ipc.ledger import Committed, Enroll, Entry, JobHistory, LedgerReady
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Message
from tocsin.parent.children import Children
from tocsin.parent.control import Client
from tocsin.parent.daemon import Daemon
from tocsin.parent.lifecycle import ExitStatus
from tocsin.parent.loop import Callback, Loop
from tocsin.parent.process import Process
from tocsin.parent.programs import Programs

T = 1_800_000_000.0  # Unix seconds: a whole minute
CRASH, CLEAN = ExitStatus(code=70), ExitStatus(code=0)


class FakeLoop(Loop):
    """Time passes when it is told to."""

    def __init__(self) -> None:
        self.done = False
        self._seconds = 1000.0
        self._moments: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self.watched: dict[int, Callback] = {}

    def now(self) -> float:
        return self._seconds

    def wall(self) -> float:
        return T + self._seconds - 1000.0

    def watch(self, descriptor: int, on_readable: Callback, on_writable: Callback | None = None) -> None:  # noqa: ARG002
        self.watched[descriptor] = on_readable

    def await_room(self, descriptor: int, wanted: bool) -> None:
        pass

    def forget(self, descriptor: int) -> None:
        self.watched.pop(descriptor, None)

    @property
    def pending(self) -> int:
        """Moments to come."""
        return len(self._moments)

    def later(self, seconds: float) -> None:
        until = self._seconds + seconds
        while self._moments and self._moments[0][0] <= until:
            moment, _, callback = heapq.heappop(self._moments)
            self._seconds = max(self._seconds, moment)
            callback()
        self._seconds = until


class FakeChannel:
    """The parent's end."""

    backlog = 0

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.sent: list[Message] = []
        self.inbox: deque[Message] = deque()
        self.dead = False

    def fileno(self) -> int:
        return self._descriptor

    def send(self, message: Message) -> bool:
        if self.dead:
            raise ChannelClosed("it is dead")
        self.sent.append(message)
        return True

    def waiting(self, limit: int) -> Iterator[Message]:
        for _ in range(limit):
            if self.inbox:
                yield self.inbox.popleft()
            elif self.dead:
                raise ChannelClosed("end of file")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.dead = True


class FakeProcess:
    """What the rig knows of one that was forked."""

    def __init__(self, process: Process, number: int) -> None:
        self.process = process
        self.channel = FakeChannel(number)
        self.signals: list[int] = []
        self.end = CLEAN
        process.pid, process.pidfd = number, number + 100_000
        process.channel = cast(AnyChannel, self.channel)
        process.kill = self.signals.append  # type: ignore[method-assign,assignment]
        process.reap = self._reap  # type: ignore[method-assign]

    def _reap(self) -> ExitStatus:
        self.process.pid = self.process.pidfd = None
        return self.end


class Parent:
    """A daemon with children that are played."""

    def __init__(self, config: Config) -> None:
        self.loop = FakeLoop()
        self.forked: dict[str, list[FakeProcess]] = {}
        self.known: dict[str, JobRecord] = {}  # what the ledger remembers
        self.read = 0  # messages that the ledger has read
        self.programs: list[str] = []  # the jobs for which one was made, in order
        nothing = cast(Any, lambda *_: None)

        def program(job: Job) -> Any:
            self.programs.append(job.name)
            return nothing

        self.daemon = Daemon(
            config,
            self.loop,
            Programs(program, nothing, nothing, nothing, nothing),
            lambda delegate: Children(self.loop, delegate, self._start),
            cast(Any, SimpleNamespace(socket=socket.socket(), move=lambda _: None)),
            cast(Any, SimpleNamespace(answer=lambda _: None, descriptors=set(), is_held=lambda: True)),
            set(),
        )
        self._numbers = itertools.count(10)
        self.daemon.start()
        self.work()

    def _start(
        self, batch: Iterable[tuple[Process, Callable[[AnyChannel], None], Iterable[int]]]
    ) -> dict[Process, OSError]:
        for process, _, _ in batch:
            self.forked.setdefault(process.title, []).append(FakeProcess(process, next(self._numbers)))
        return {}

    def work(self) -> None:
        while self.daemon.work():
            pass

    def later(self, seconds: float) -> None:
        self.loop.later(seconds)
        self.work()

    # ---- children

    def child(self, title: str) -> FakeProcess:
        return self.forked[title][-1]

    def says(self, title: str, *messages: Message) -> None:
        child = self.child(title)
        for message in messages:
            child.channel.inbox.append(message)
            self.loop.watched[child.channel.fileno()]()
        self.work()

    def dies(self, title: str, how: ExitStatus = CRASH) -> None:
        child = self.child(title)
        assert child.process.pidfd is not None
        child.end, on_exit = how, self.loop.watched[child.process.pidfd]
        child.channel.dead = True
        on_exit()
        self.work()

    def sent(self, title: str, kind: type[Any]) -> list[Any]:
        return [message for message in self.child(title).channel.sent if isinstance(message, kind)]

    # ---- the ledger

    def ledger_opens(self, before: str | None = None, epoch: int = 0) -> None:
        self.read = 0
        self.says("ledger", LedgerReady(before, 0, epoch))
        self.ledger_commits()

    def entries(self) -> list[Entry]:
        return self.sent("ledger", Entry)[self.read :]

    def ledger_commits(self) -> None:
        """What it was sent, and answers it."""
        while entries := self.entries():
            self.read += len(entries)
            for entry in entries:
                match entry.body:
                    case Enroll(job=job, now=now):
                        self.known[job] = records.enrolled(self.known.get(job), now, same_schedule=True)
                        self.says("ledger", JobHistory(job, self.known[job]))
                    case Ask() as ask:
                        self.says("ledger", Grant(ask.job, ask.due, ask.attempt))
            self.says("ledger", Committed(entries[-1].seq, 0.001))


class Waiting(Client):
    """A client of the control socket."""

    def __init__(self) -> None:
        self.heard: list[Answer] = []

    def say(self, message: Answer) -> None:
        self.heard.append(message)

    def say_all(self, messages: Iterable[Answer]) -> None:
        self.heard.extend(messages)

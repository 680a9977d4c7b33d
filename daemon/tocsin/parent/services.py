"""The processes beside those of the jobs: the ledger, the exporter and the notifier, if there is one."""

from collections.abc import Callable

from tocsin.config import Config
from tocsin.ipc import channel as channels
from tocsin.ipc.channel import AnyChannel
from tocsin.ipc.exporter import ToExporter
from tocsin.ipc.notifier import ToNotifier
from tocsin.parent import lifecycle
from tocsin.parent.children import Children
from tocsin.parent.lifecycle import Child
from tocsin.parent.listener import Listener
from tocsin.parent.process import Process
from tocsin.parent.programs import EXPORTER, LEDGER, Programs


class Services:
    """`session` identifies this start of the daemon."""

    def __init__(self, children: Children, programs: Programs, session: str, listener: Listener) -> None:
        self._children = children
        self._programs = programs
        self._session = session
        self._listener = listener
        self._past = dict(zip((LEDGER, EXPORTER), channels.pair(), strict=True))  # the exporter's questions
        self._by_name = {name: Process(Child(name)) for name in (LEDGER, EXPORTER)}

    def __bool__(self) -> bool:
        return bool(self._by_name)

    @property
    def processes(self) -> list[Process]:
        return list(self._by_name.values())

    def get(self, name: str) -> Process | None:
        return self._by_name.get(name)

    def main_of(self, name: str, config: Config) -> Callable[[AnyChannel], None]:
        """Return the main function of the next process of this name."""
        return self._programs.of_service(name, config, self._session, self._listener.socket, self._past)

    def kept_by(self, name: str) -> set[int]:
        """Return the descriptors that only a process of this name keeps."""
        own = {self._past[name].fileno()} if name in self._past else set()
        return own | {self._listener.socket.fileno()} if name == EXPORTER else own

    def begin_all(self) -> None:
        for process in self.processes:
            self._children.begin(process)

    def begin(self, name: str) -> None:
        self._by_name[name] = process = Process(Child(name))
        self._children.begin(process)

    def forget(self, name: str) -> None:
        """Its process has ended and is not started again."""
        del self._by_name[name]

    def stop(self, name: str) -> None:
        if process := self.get(name):
            self._children.stop(process, lifecycle.CANCEL_GRACE)

    def stop_all(self) -> None:
        for name in list(self._by_name):
            self.stop(name)

    def send(self, name: str, message: ToExporter | ToNotifier) -> bool:
        """Return whether the channel accepted the message. It accepts none while an earlier one is queued. Without
        such a process nothing is lost: the next one gets the whole state."""
        process = self.get(name)
        if process is None or process.channel is None:
            return True
        return not process.channel.backlog and self._children.send(process, message)

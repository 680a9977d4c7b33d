"""Carries out what the exporter asks for, and limits it. The exporter has checked who may act.

If somebody breaks into the exporter, they can fire, pause, resume and reload, a limited number of times a minute and in
any name. They can do nothing else, because the channel decodes no other message.
"""

from tocsin.ipc.actions import Answered, Requested
from tocsin.ipc.channel import ChannelGarbage
from tocsin.ipc.control import Refused
from tocsin.ipc.job import Fire
from tocsin.parent.loop import Clock
from tocsin.parent.process import Process
from tocsin.parent.requests import LONGEST_ANSWER, Commands

BURST = 60  # requests at once
EACH = 0.5  # seconds until one more: our exporter lets only half as many through, so whoever exceeds this is not ours
WAYS = ("page", "api")  # by which one can act through the exporter


class Remote:
    """Answers the requests of one exporter process after another."""

    def __init__(self, commands: Commands, clock: Clock) -> None:
        self._commands = commands
        self._clock = clock
        self._process: Process | None = None
        self._left, self._at = float(BURST), 0.0

    def heard(self, process: Process, request: Requested) -> Answered:
        """Carry out a request. Raises ChannelGarbage if the exporter may not make it."""
        if request.action.by.way not in WAYS:
            raise ChannelGarbage(f"an action by way of {request.action.by.way}")
        self._count(process)
        answer = self._commands.act(request.action)
        match answer:
            case Fire(run_id=run_id):
                return Answered(request.number, "done", "", run_id)
            case Refused(why=why):
                known = self._commands.knows(request.action)
                return Answered(request.number, "refused" if known else "unknown", why[:LONGEST_ANSWER])
            case done:
                return Answered(request.number, "done", done.text[:LONGEST_ANSWER])

    def _count(self, process: Process) -> None:
        now = self._clock.now()
        if process is not self._process:
            self._process, self._left, self._at = process, float(BURST), now
        self._left = min(float(BURST), self._left + (now - self._at) / EACH) - 1
        self._at = now
        if self._left < 0:
            raise ChannelGarbage("more actions than an exporter may ask for")

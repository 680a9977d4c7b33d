"""What the parent has said that a job has yet to act on: to stop, to fire, to pause, and its answer about a slot."""

import math
from typing import assert_never

from tocsin.ipc.channel import Channel
from tocsin.ipc.job import Ask, Deny, Fire, FromJob, Grant, Pause, Stop, ToJob
from tocsin.job.clock import Clock


class Orders:
    """`pause` has the Unix times at which the pause began and ends."""

    def __init__(self, channel: Channel[FromJob, ToJob], clock: Clock, pause: tuple[float, float]) -> None:
        self._channel = channel
        self._clock = clock
        self.pause = pause
        self.stopping = False
        self.fire: Fire | None = None
        self.answer: Grant | Deny | None = None

    def hear(self, ask: Ask | None = None) -> None:
        """Handle one message. If there are more, the next wait ends at once."""
        message = self._channel.receive()
        match message:
            case Grant() | Deny():
                if ask and (message.due, message.attempt) == (ask.due, ask.attempt):
                    self.answer = message
            case Stop():
                self.stopping = True
            case Pause(paused=True, at=at, until=until):
                began = self.pause[0] if self._clock.now() < self.pause[1] else at
                self.pause = began, math.inf if until is None else until
            case Pause(at=at):
                self.pause = self.pause[0], min(at, self.pause[1])
            case Fire():
                self.fire = message
            case None:
                pass
            case _:
                assert_never(message)

    def lets_pass(self, due: float) -> bool:
        """Return whether a slot is skipped because of a pause. One from before it is not called late during it."""
        began, ends = self.pause
        return due < ends and (due >= began or self._clock.now() < ends)

"""What the notifier knows, and which messages follow from it. Time and the states of processes are arguments."""

from collections.abc import Callable, Iterator
from typing import assert_never

from msgspec.structs import replace

from tocsin.config.notify import Notify
from tocsin.health import Known, Trouble, troubles
from tocsin.ipc.cluster import Members
from tocsin.ipc.exporter import (
    ConfigLoaded,
    DaemonStops,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    NotifierState,
)
from tocsin.ipc.job import Stop
from tocsin.ipc.notifier import RunBegan, RunOver, ToNotifier
from tocsin.notifier import outages, outbox, pace, words
from tocsin.notifier.cases import Patient, State
from tocsin.notifier.kept import Kept
from tocsin.notifier.pace import Message
from tocsin.notifier.patients import NODE, Patients, of_daemon, of_nodes
from tocsin.notifier.words import Place

STANDSTILL = 5.0  # seconds between two checks: if they are further apart, this process itself stood still
FAILING_FROM = 2  # failed attempts of one message: a single one may be a restart of the service


class Desk:
    """`keys` are the keys of the addresses. `clock` is monotonic, `now` is Unix time."""

    def __init__(self, kept: Kept, settings: Notify, place: Place, keys: list[str], now: float, clock: float) -> None:
        self.kept = replace(kept, outbox=outbox.kept(kept.outbox, keys))
        self._settings = settings
        self._place = place
        self._keys = keys
        self._patients = Patients(now)
        self._jobs: dict[str, JobStatus] = {}
        self._config: ConfigLoaded | None = None
        self._ledger: LedgerState | None = None
        self._stops: DaemonStops | None = None
        self._members: Members | None = None  # the nodes, where several share the ledger
        self._heard = self._looked = clock

    # ---- messages from the parent

    def hear(self, message: ToNotifier, now: float, clock: float) -> None:
        self._heard = clock
        match message:
            case JobStatus():
                self._jobs[message.name] = message
                self._look(message, now, "")
            case JobRemoved(name=name):
                self._jobs.pop(name, None)
                self._forget(name)
            case ConfigLoaded():
                self._config = message
                if message.error is None:
                    names = [name for name, job in self._jobs.items() if job.enabled and job.notify]
                    self._set(outages.listed(self.kept.outages, names))
            case LedgerState():
                self._ledger = message
            case Members():
                self._members = message
            case DaemonStops():
                self._stops = message
            case Heartbeat() | RunBegan() | RunOver() | Stop():
                pass
            case _:
                assert_never(message)

    def look(self, now: float, clock: float, state_of: Callable[[int], str]) -> None:
        """Check everything again. `state_of` returns the state of a process as proc(5) writes it."""
        if clock - self._looked > 2 * STANDSTILL:
            self._heard = clock  # messages may wait in the channel
        self._looked = clock
        if not self.is_steady:
            return
        for patient in of_daemon(self.troubles(clock), now):
            self._saw(patient, now)
        self._look_at_nodes(now)
        for job in self._jobs.values():
            self._look(job, now, state_of(job.pid) if job.pid else "")

    def _look_at_nodes(self, now: float) -> None:
        if self._members is None:
            return
        nodes = of_nodes(self._members, now)
        for patient in nodes:
            self._saw(patient, now)
        left = {name for one in self.kept.outages.outages.values() for name in one.members if name.startswith(NODE)}
        for name in left - {one.name for one in nodes}:  # it was forgotten, or another node reports it
            self._set(outages.gone(self.kept.outages, name))

    def troubles(self, clock: float) -> list[Trouble]:
        return troubles(Known(self._config, self._ledger, self._stops, silence=clock - self._heard))

    def _look(self, job: JobStatus, now: float, process: str) -> None:
        if not self.is_steady:  # the parent has not sent everything yet, or the daemon is stopping
            return
        if not job.enabled or not job.notify or job.state == "elsewhere":  # another node's notifier reports it
            self._forget(job.name)
            return
        held = any(one.holds for one in self.troubles(self._heard))
        if patient := self._patients.of(job, now, process, held=held):
            self._saw(patient, now)

    def _forget(self, name: str) -> None:
        self._patients.forget(name)
        self._set(outages.gone(self.kept.outages, name))

    def _saw(self, patient: Patient, now: float) -> None:
        self._set(outages.saw(self.kept.outages, patient, now, self._settings.gather))

    def _set(self, state: State) -> None:
        if state is not self.kept.outages:
            self.kept = replace(self.kept, outages=state)

    # ---- messages to people

    def tick(self, now: float, clock: float) -> list[Message]:
        """Put the messages that are due into the outbox. Returns them for the log."""
        if self._stops:
            return []
        held = any(one.holds for one in self.troubles(clock))
        state, news = outages.tick(self.kept.outages, now, held=held)
        told: list[Message] = []
        most, rate = self._settings.max_per_hour, self.kept.pace
        for message in words.written(news, self._place, now):
            rate, more = pace.put(rate, message, now, most)
            told += more
        rate, more = pace.tick(rate, now, most, self._place.head)
        told += more
        self._set(state)
        if rate is not self.kept.pace:
            self.kept = replace(self.kept, pace=rate)
        for message in told:
            box, dropped = outbox.posted(self.kept.outbox, message, self._keys)
            self.kept = replace(self.kept, outbox=box)
            self._count(given_up=dropped)
        return told

    def letters(self, now: float) -> Iterator[tuple[str, outbox.Letter]]:
        """Yield the letters to send now, each with the key of its address."""
        for key in self._keys:
            if letter := outbox.first(self.kept.outbox, key, now):
                yield key, letter

    def sent(self, key: str, letter: outbox.Letter) -> None:
        self.kept = replace(self.kept, outbox=outbox.sent(self.kept.outbox, key, letter))
        self._count(sent=1)

    def failed(self, key: str, letter: outbox.Letter, why: str, now: float) -> bool:
        """Return whether the letter is given up."""
        box, over = outbox.failed(self.kept.outbox, key, letter, why, now)
        self.kept = replace(self.kept, outbox=box)
        self._count(failed=1, given_up=int(over))
        return over

    def pinged(self, taken: bool) -> None:
        self._count(pinged=int(taken), pings_failed=int(not taken))

    def _count(self, **more: int) -> None:
        if any(more.values()):
            counts = self.kept.counts
            grown = {name: getattr(counts, name) + number for name, number in more.items()}
            self.kept = replace(self.kept, counts=replace(counts, **grown))

    # ---- state

    def not_delivered(self) -> dict[str, str]:
        """Return the addresses that have failed for a while, and why."""
        heads = {key: queue[0] for key, queue in self.kept.outbox.items() if queue}
        return {key: letter.why for key, letter in heads.items() if letter.tries >= FAILING_FROM}

    def state(self, detail: str) -> NotifierState:
        waiting = sum(map(len, self.kept.outbox.values()))
        return replace(self.kept.counts, waiting=waiting, detail=detail)

    @property
    def is_steady(self) -> bool:
        """Whether the daemon is neither starting nor stopping."""
        return self._config is not None and self._stops is None

    def unwell(self, clock: float) -> list[str]:
        """Return what is wrong with the daemon, so that the sign of life reports a failure. A failing job counts only
        if nobody is notified of it."""
        found = [str(one) for one in self.troubles(clock) if one.holds]
        for outage in self.kept.outages.outages.values():
            goes_on = outage.told is not None and outage.ended is None and outage.kind != "daemon"
            if goes_on and (outage.kind == "stalled" or not self._keys):
                found += [f"{name}: {ill.why}" for name, ill in outage.ill.items()]
        return found

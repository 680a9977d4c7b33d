"""The notifier's process: reads the parent's messages, notifies people, sends signs of life.

The parent never waits for the notifier, and the notifier never waits for a service: it sends each message in a thread
with a deadline.
"""

import asyncio
import contextlib
import gc
import threading
import time

from tocsin import log
from tocsin.config import Config
from tocsin.config.notify import Notify
from tocsin.ipc.channel import Channel
from tocsin.ipc.exporter import Heartbeat
from tocsin.ipc.fates import FATES
from tocsin.ipc.job import Stop
from tocsin.ipc.notifier import FromNotifier, RunBegan, RunOver, ToNotifier
from tocsin.linux import process_state
from tocsin.notifier import address
from tocsin.notifier.desk import Desk
from tocsin.notifier.kept import Memory
from tocsin.notifier.outbox import Letter
from tocsin.notifier.pings import ITSELF, Pinger
from tocsin.notifier.signs import What, sign
from tocsin.notifier.words import Place

MESSAGES_AT_ONCE = 64  # read from the parent before other work continues
TURN = 1.0  # seconds between two checks of what is due
LOOK = 5.0  # seconds between two checks of all jobs and their processes
HEARTBEAT = 60.0  # seconds between two signs of life
FIRST_SIGN = 10.0  # seconds until the first one: by then the notifier knows the daemon's state
LAST_WORDS = 1.0  # seconds for messages that are being sent, after it is told to stop


def main(channel: Channel[FromNotifier, ToNotifier], config: Config) -> None:
    """Runs in the forked child until the parent says Stop. Raises ChannelClosed when the parent is gone, and
    ChannelGarbage when it sends nonsense."""
    gc.enable()  # the parent has it switched off
    assert config.notify is not None
    asyncio.run(_Notifier(channel, config, config.notify).run())


class _Notifier:
    def __init__(self, channel: Channel[FromNotifier, ToNotifier], config: Config, settings: Notify) -> None:
        self._channel = channel
        self._settings = settings
        self._ping_urls = {name: job.ping_url for name, job in config.jobs.items() if job.ping_url}
        self._memory = Memory(config.state_dir)
        self._addresses = {one.key: one for one in address.of(settings.urls)}
        place = Place(config.node, settings.page_url)
        kept = self._memory.read()
        self._desk = Desk(kept, settings, place, [*self._addresses], time.time(), time.monotonic())
        self._pinger = Pinger(settings.ping_style, self._desk.pinged)
        self._sending: dict[str, Letter] = {}  # by the address's key
        self._complained: set[str] = set()  # addresses whose failure is logged
        self._stopped = asyncio.Event()
        self._broken: Exception | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: log.error("in the notifier's loop", why=str(context)))
        loop.add_reader(self._channel.fileno(), self._hear)
        if self._addresses:
            threading.Thread(target=self._load, args=(loop,), daemon=True).start()
        turns = asyncio.create_task(self._turns())
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait((turns, stopped), return_when=asyncio.FIRST_COMPLETED)
        if turns.done():
            turns.result()
        if self._broken:
            raise self._broken
        give_up = time.monotonic() + LAST_WORDS
        while self._sending and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        self._memory.write(self._desk.kept)
        await self._pinger.close()

    def _hear(self) -> None:
        try:
            for message in self._channel.waiting(MESSAGES_AT_ONCE):
                self._desk.hear(message, time.time(), time.monotonic())
                match message:
                    case Stop():
                        self._stopped.set()
                    case Heartbeat():  # one answer to each, so a parent that does not read cannot block this process
                        self._channel.send(self._desk.state(self._detail()))
                    case RunBegan() | RunOver():
                        self._ping(message)
        except Exception as error:  # noqa: BLE001 - of any kind: main raises it
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._break(error)

    async def _turns(self) -> None:
        look_at, sign_at = time.monotonic(), time.monotonic() + FIRST_SIGN
        while True:
            clock, now = time.monotonic(), time.time()
            if clock >= look_at:
                look_at = clock + LOOK
                self._desk.look(now, clock, process_state)
            for message in self._desk.tick(now, clock):
                log.info("a message is due", what=message.title)
            self._memory.write(self._desk.kept)  # before anything is sent, so that nothing is sent twice
            self._send(now)
            if clock >= sign_at:
                sign_at = clock + HEARTBEAT
                self._sign_of_life(clock)
            await asyncio.sleep(TURN)

    # ---- messages

    def _load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load Apprise and the addresses. Runs in a thread, because loading takes a second."""
        try:
            from tocsin.notifier import sender

            sender.set_up()
            for one in self._addresses.values():
                sender.load(one)
                if one.why:
                    log.error(f"[notify] {one.label} cannot be used", why=one.why)
        except Exception as error:  # noqa: BLE001 - of any kind: main raises it
            loop.call_soon_threadsafe(self._break, error)

    def _break(self, error: Exception) -> None:
        self._broken = self._broken or error
        self._stopped.set()

    def _send(self, now: float) -> None:
        for key, letter in self._desk.letters(now):
            if key not in self._sending and self._addresses[key].loaded:
                self._sending[key] = letter
                self._attempt(key, letter)

    def _attempt(self, key: str, letter: Letter) -> None:
        from tocsin.notifier import sender

        loop = asyncio.get_running_loop()

        def done(why: str | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._over, key, letter, why)

        loop.call_later(sender.DEADLINE, self._over, key, letter, f"not done after {sender.DEADLINE:g} s")
        sender.send(self._addresses[key], letter.message, done)

    def _over(self, key: str, letter: Letter, why: str | None) -> None:
        """The attempt has ended, or its deadline is here. One that ends well after that counts too."""
        is_current = self._sending.get(key) is letter
        if is_current:
            del self._sending[key]
        elif why is not None or letter.message not in [one.message for one in self._desk.kept.outbox.get(key, ())]:
            return
        label = self._addresses[key].label
        if why is None:
            self._desk.sent(key, letter)
            log.info("message sent", what=letter.message.title, whom=label)
            self._complained.discard(key)
        else:
            over = self._desk.failed(key, letter, why, time.time())
            log.warning(
                "cannot send a message: giving up" if over else "cannot send a message: trying again later",
                what=letter.message.title,
                whom=label,
                why=why,
                failures=letter.tries + 1,
            )
        self._memory.write(self._desk.kept)

    def _detail(self) -> str:
        """Say in one line what is wrong with the delivery."""
        failing = self._desk.not_delivered()
        found = [f"{self._addresses[key].label}: {why}" for key, why in failing.items() if key in self._addresses]
        unusable = {key: one for key, one in self._addresses.items() if one.why and key not in failing}
        found += [f"{one.label}: {one.why}" for one in unusable.values()]
        if why := self._pinger.failing.get(ITSELF):
            found.append(f"{ITSELF}: {why}")
        return "; ".join(found)[:500]

    # ---- signs of life

    def _ping(self, message: RunBegan | RunOver) -> None:
        url = self._ping_urls.get(message.job)
        if not url:
            return
        style, run_id = self._settings.ping_style, message.run_id
        if isinstance(message, RunBegan):
            self._pinger.put(message.job, sign(url, style, "start", run_id=run_id))
            return
        look = FATES[message.outcome]
        if message.outcome == "success" or look.is_failure:  # a cancelled run says nothing about the job
            what: What = "fail" if look.is_failure else "success"
            detail = look.words + (f": {message.detail}" if message.detail else "")
            self._pinger.put(message.job, sign(url, style, what, detail, run_id=run_id, duration=message.duration))

    def _sign_of_life(self, clock: float) -> None:
        if not self._settings.heartbeat_url or not self._desk.is_steady:
            return
        unwell = self._desk.unwell(clock)
        unwell += [f"cannot send messages: {why}" for why in self._desk.not_delivered().values()]
        what: What = "fail" if unwell else "success"
        self._pinger.put(ITSELF, sign(self._settings.heartbeat_url, self._settings.ping_style, what, "\n".join(unwell)))

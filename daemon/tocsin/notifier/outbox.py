"""The messages that are not delivered yet: a queue for each address. What fails is tried again, later each time.
Pure."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from tocsin.notifier.pace import Message

BACKOFF = (5.0, 900.0)  # seconds before the second attempt, and the longest wait: a server may be down for hours
BACKOFF_FACTOR = 3.0
GIVE_UP = 86_400.0  # seconds: nobody wants to read an older message
KEPT = 200  # messages that wait for one address


class Letter(Struct, frozen=True):
    """A message for one address. `after` is the Unix time of the next attempt, `why` the reason of the last failure."""

    message: Message
    after: float = 0.0
    tries: int = 0
    why: str = ""


Queue = tuple[Letter, ...]
Outbox = dict[str, Queue]  # by the address's key


def posted(outbox: Outbox, message: Message, addresses: Iterable[str]) -> tuple[Outbox, int]:
    """Add the message to the queue of each address. Returns also how many older ones were dropped to make room."""
    box, dropped = dict(outbox), 0
    for address in addresses:
        queue = (*box.get(address, ()), Letter(message))
        dropped += max(0, len(queue) - KEPT)
        box[address] = queue[-KEPT:]
    return box, dropped


def first(outbox: Outbox, address: str, now: float) -> Letter | None:
    """Return the letter to send now, if there is one."""
    queue = outbox.get(address, ())
    return queue[0] if queue and now >= queue[0].after else None


def sent(outbox: Outbox, address: str, letter: Letter) -> Outbox:
    """Remove a letter that was delivered or given up."""
    left = tuple(one for one in outbox.get(address, ()) if one.message != letter.message)
    box = {key: queue for key, queue in outbox.items() if key != address}
    return {**box, address: left} if left else box


def failed(outbox: Outbox, address: str, letter: Letter, why: str, now: float) -> tuple[Outbox, bool]:
    """Try the letter again later, or give it up. Returns also whether it is given up."""
    if now - letter.message.at > GIVE_UP:
        return sent(outbox, address, letter), True
    soonest, longest = BACKOFF
    wait = min(longest, soonest * BACKOFF_FACTOR ** min(letter.tries, 10))
    again = replace(letter, after=now + wait, tries=letter.tries + 1, why=why)
    queue = tuple(again if one.message == letter.message else one for one in outbox.get(address, ()))
    return {**outbox, address: queue}, False


def kept(outbox: Outbox, addresses: Iterable[str]) -> Outbox:
    """Drop the letters for addresses that are no longer in the job file."""
    known = set(addresses)
    return {address: queue for address, queue in outbox.items() if address in known}


def next_after(outbox: Outbox) -> float | None:
    return min((queue[0].after for queue in outbox.values() if queue), default=None)

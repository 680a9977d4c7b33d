"""Limits how many messages are sent in any hour. One digest has the rest. Pure."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tocsin.timestamps import rfc3339

SPAN = 3600.0  # seconds of an hour
LISTED = 30  # messages that a digest names; it says how many more there were

Mood = Literal["failure", "success", "warning", "info"]


class Message(Struct, frozen=True):
    title: str
    body: str
    mood: Mood
    at: float  # Unix seconds


class Pace(Struct, frozen=True):
    sent: tuple[float, ...] = ()  # the Unix times of messages within the last hour
    held: tuple[Message, ...] = ()  # without their bodies
    more: int = 0  # how many more are held, of which nothing else is kept


def put(pace: Pace, message: Message, now: float, most: int) -> tuple[Pace, list[Message]]:
    """Return the message if it may be sent now. Otherwise hold it for the digest."""
    pace = _aged(pace, now)
    if not pace.held and len(pace.sent) < most:
        return replace(pace, sent=(*pace.sent, now)), [message]
    if len(pace.held) >= LISTED:
        return replace(pace, more=pace.more + 1), []
    return replace(pace, held=(*pace.held, replace(message, body=""))), []


def tick(pace: Pace, now: float, most: int, head: str) -> tuple[Pace, list[Message]]:
    """Return the digest as soon as it may be sent. `head` begins its title."""
    if not pace.held:
        return pace, []
    pace = _aged(pace, now)
    if len(pace.sent) >= most:
        return pace, []
    return Pace((*pace.sent, now)), [_digest(pace, now, most, head)]


def _aged(pace: Pace, now: float) -> Pace:
    sent = tuple(at for at in pace.sent if now - SPAN < at <= now)  # later than now: the clock was set back
    return pace if sent == pace.sent else replace(pace, sent=sent)


def _digest(pace: Pace, now: float, most: int, head: str) -> Message:
    count = len(pace.held) + pace.more
    lines = [f"{rfc3339(int(one.at))}  {one.title}" for one in pace.held]
    lines += [f"and {pace.more} more"] if pace.more else []
    why = f"These messages were held back, because at most {most} are sent in an hour (max_per_hour):"
    mood: Mood = "failure" if any(one.mood == "failure" for one in pace.held) else "info"
    words = "1 more message" if count == 1 else f"{count} more messages"
    return Message(f"{head}{words}", "\n".join([why, "", *lines]), mood, now)

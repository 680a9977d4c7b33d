"""Writes the messages that people read: plain text, the job first."""

from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from msgspec import Struct

from tocsin.notifier.cases import OF_DAEMON, Began, Ended, Ill, News, SlotsMissed
from tocsin.notifier.outages import FLAPS, STEADY
from tocsin.notifier.pace import Message, Mood
from tocsin.timestamps import rfc3339
from tocsin.units import duration

NAMED = 50  # jobs that a message names
REASONS = 3  # different reasons that it gives

_AGAIN = {  # the title of the message that a trouble of the daemon is over
    "silent": "The daemon is heard again",
    "ledger": "The ledger commits again",
    "job file": "The job file is in use again",
}


class Place(Struct, frozen=True):
    """The machine that sends the messages, and the address of its pages, if there is one."""

    node: str
    page_url: str = ""

    @property
    def head(self) -> str:
        return f"Tocsin on {self.node}: "


def written(news: Sequence[News], place: Place, now: float) -> list[Message]:
    """Write the messages. News of the same kind about one host share a message."""
    groups: dict[tuple[object, ...], list[News]] = {}
    for one in news:
        key = (type(one),) if isinstance(one, SlotsMissed) else (type(one), one.outage.kind, one.outage.host)
        groups.setdefault(key, []).append(one)
    return [_message(group, place, now) for group in groups.values()]


def trial(place: Place, now: float) -> Message:
    body = "This is a test. Messages about jobs that fail will come this way."
    return Message(f"{place.head}a test message", body, "info", now)


def _message(group: Sequence[News], place: Place, now: float) -> Message:
    began = [one for one in group if isinstance(one, Began)]
    ended = [one for one in group if isinstance(one, Ended)]
    missed = [one for one in group if isinstance(one, SlotsMissed)]
    mood: Mood = "failure" if began else "success" if ended else "warning"
    title, lines = _began(began, place) if began else _ended(ended, place) if ended else _missed(missed, place)
    return Message(place.head + title, "\n".join(filter(None, lines)), mood, now)


# ---- the beginning


def _began(news: Sequence[Began], place: Place) -> tuple[str, list[str]]:
    outage = news[0].outage
    ill = {name: one.outage.ill[name] for one in news for name in one.names}
    kind, names = outage.kind, list(ill)
    more = not any(one.first for one in news)
    if kind == "daemon":
        return outage.subject, [ill[names[0]].why, _at("Since", outage.since), _flapping(news), _link(place, [])]
    whom = names[0] if len(names) == 1 else f"{len(names)} {'more jobs' if more else 'jobs'}"
    one = len(names) == 1
    title = {
        "unreachable": f"{outage.host} does not answer: {whom} {'fails' if one else 'fail'}",
        "unauthorized": f"{outage.host} refuses the secret of {whom}",
        "failing": f"{whom} {'fails' if one else f'of {outage.host} fail'}",
        "stalled": f"{whom} cannot be called",
        "overdue": f"{whom} {'is' if one else 'are'} overdue",
    }[kind]
    since = min(one.since for one in ill.values())
    success = max((one.last_success for one in ill.values() if one.last_success), default=None)
    next_try = min((one.next_try for one in ill.values() if one.next_try), default=None)
    return title, [
        *_who(ill),
        f"What happened: {_reasons(ill.values())}",
        _at("Since", since),
        _at("Last success", success) or "Last success: none yet",
        _at("Next try", next_try),
        _flapping(news),
        _link(place, names, outage.host),
    ]


def _who(ill: dict[str, Ill]) -> list[str]:
    if len(ill) > 1:
        return [f"Jobs: {_named(ill)}"]
    [(name, one)] = ill.items()
    runs = f", {one.failures} runs in a row" if one.failures > 1 else ""
    return [f"Job: {name}{runs}"]


def _reasons(ill: Iterable[Ill]) -> str:
    counted = Counter(one.why for one in ill)
    first = [why if len(counted) == 1 else f"{count} × {why}" for why, count in counted.most_common(REASONS)]
    return "; ".join(first) + ("; and others" if len(counted) > REASONS else "")


def _flapping(news: Sequence[Began]) -> str:
    if not any(one.outage.flapping for one in news):
        return ""
    return (
        f"It has happened {FLAPS} times or more within an hour. The next message comes when all has been well for "
        f"{duration(STEADY)}."
    )


# ---- the end, and what was missed


def _ended(news: Sequence[Ended], place: Place) -> tuple[str, list[str]]:
    outage = news[0].outage
    began, ended = min(one.outage.since for one in news), max(one.at for one in news)
    took = f"It lasted {duration(max(0.0, ended - began))}, from {rfc3339(int(began))} to {rfc3339(int(ended))}."
    if outage.kind == "daemon":
        name = next(iter(outage.members), "").removeprefix(OF_DAEMON)
        back = f"The {name} is back"  # of a node
        return _AGAIN.get(name, back), [took, _link(place, [])]
    waiting = {name: next_try for one in news for name, next_try in one.waiting.items()}
    well = dict.fromkeys(
        name
        for one in news
        for name in (*one.outage.recovered, *(name for name, member in one.outage.members.items() if not member.ill))
        if name not in waiting
    )
    whom = next(iter(well)) if len(well) == 1 else f"{len(well)} jobs"
    verb = "is" if len(well) == 1 else "are"
    title = f"{whom} {verb} well again"
    if outage.kind == "unreachable":
        title = f"{outage.host} answers again: {title}"
    return title, [
        f"{'Job' if len(well) == 1 else 'Jobs'}: {_named(well)}",
        took,
        _waiting(waiting),
        _link(place, list(well), outage.host),
    ]


def _waiting(waiting: dict[str, float | None]) -> str:
    if not waiting:
        return ""
    listed = [f"{name} (next try {rfc3339(at)})" if at else name for name, at in waiting.items()]
    return f"Not run since: {_named(listed)}"


def _missed(news: Sequence[SlotsMissed], place: Place) -> tuple[str, list[str]]:
    jobs = {name: count for one in news for name, count in one.jobs.items()}
    slots = sum(jobs.values())
    many = "1 slot" if slots == 1 else f"{slots} slots"
    title = f"{many} of {next(iter(jobs)) if len(jobs) == 1 else f'{len(jobs)} jobs'} did not run"
    return title, [
        "Nothing could run them in time: the daemon, its ledger or the machine was down, or a job's process.",
        f"Missed: {_named(f'{name} ({count})' for name, count in jobs.items())}",
        "tocsin history has the reason of each; tocsin fire runs a job now.",
        _link(place, list(jobs)),
    ]


# ---- pieces


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - NAMED
    return ", ".join(listed[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _at(what: str, moment: float | None) -> str:
    return f"{what}: {rfc3339(int(moment))}" if moment else ""


def _link(place: Place, jobs: Sequence[str], host: str = "") -> str:
    if not place.page_url:
        return ""
    if len(jobs) == 1:
        return f"{place.page_url}/jobs/{quote(jobs[0])}"
    return f"{place.page_url}/?q={quote(host)}" if host else f"{place.page_url}/"

"""The history for /api/runs and the pages: reads the question in a URL, and shows the ledger's answer."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec.structs import asdict

from tocsin.ipc.actions import Acted
from tocsin.ipc.fates import FATES
from tocsin.ipc.history import ACTIONS_AT_MOST, AT_MOST, TRIGGERS, WANTED, ActionRows, Actions, Place, Row, Rows, Slots
from tocsin.ipc.tried import Tried
from tocsin.timestamps import rfc3339

PAGE = 50  # rows if the URL does not say how many
KEYS = ("job", "outcome", "trigger", "node", "since", "before", "limit")
LONGEST = 200  # characters of a value in the URL: no name or instant is longer
LAST = 253_402_300_799  # Unix seconds: the year 9999, the last of an instant

_OF_ONE = ("fate", "tries", "parts", "attempts", "reply")  # said otherwise, or only of a single run
_INSTANTS = ("due", "last", "started", "finished")
_PLACE = re.compile(r"([0-9.]{1,20})_(\d{1,9})_([a-z0-9._-]{0,63})")


class BadQuery(Exception):
    """Says what is wrong with the URL."""


def read(query: str, job: str | None = None) -> Slots:
    """Read the question in a URL's query. `job` is given if the path names one. Raises BadQuery."""
    given: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True, max_num_fields=20, errors="replace"):
        if key not in KEYS or (key == "job" and job is not None):
            raise BadQuery(f"{key[:LONGEST]!r} is not a parameter: use {', '.join(KEYS)}")
        if key in given:
            raise BadQuery(f"{key} is given twice")
        if len(value) > LONGEST:
            raise BadQuery(f"{key} is longer than {LONGEST} characters")
        if value:  # a form also sends empty fields
            given[key] = value
    limit = given.get("limit", str(PAGE))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= AT_MOST):
        raise BadQuery(f"limit={limit!r} is not a number from 1 to {AT_MOST}")
    return Slots(
        job=job or given.get("job"),
        outcome=_one_of("outcome", given.get("outcome"), WANTED),
        trigger=_one_of("trigger", given.get("trigger"), TRIGGERS),
        node=given.get("node"),
        since=_instant("since", given["since"]) if "since" in given else None,
        before=_place(given["before"]) if "before" in given else None,
        limit=int(limit),
    )


def read_actions(query: str, job: str | None) -> Actions:
    """The same for what people did: `job`, `since`, `before` and `limit`. Raises BadQuery."""
    asked = read(query, job)
    if asked.outcome or asked.trigger or asked.node:
        raise BadQuery("only job, since, before and limit select actions")
    before = asked.before.due if asked.before else None
    return Actions(asked.job, asked.since, before, min(asked.limit, ACTIONS_AT_MOST))


def _one_of(key: str, value: str | None, known: tuple[str, ...]) -> Any:
    if value is not None and value not in known:
        raise BadQuery(f"{key}={value!r} is not known: use one of {', '.join(known)}")
    return value


def _instant(key: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if 0 <= seconds <= LAST:
            return seconds
    except (ValueError, OverflowError):
        pass
    raise BadQuery(f"{key}={text!r} is not an instant: write it like 2026-11-28T12:00:00Z")


def _place(text: str) -> Place:
    """Read a place from the `next` of an answer, or an instant."""
    if not (found := _PLACE.fullmatch(text)):
        return Place(_instant("before", text), "", 0)
    due, attempt, job = found.groups()
    try:
        return msgspec.convert((float(due), job, int(attempt)), Place)
    except (ValueError, msgspec.ValidationError):
        raise BadQuery(f"before={text!r} is not a value from the `next` of an answer") from None


def place_as_text(place: Place) -> str:
    return f"{place.due!r}_{place.attempt}_{place.job}"


def link(wanted: Slots, before: Place | None, path: str) -> str:
    """Return the URL of the same question, starting at another place."""
    values = {
        "job": None if path.startswith("/jobs/") else wanted.job,
        "outcome": wanted.outcome,
        "trigger": wanted.trigger,
        "node": wanted.node,
        "since": rfc3339(wanted.since) if wanted.since is not None else None,
        "limit": wanted.limit if wanted.limit != PAGE else None,
        "before": place_as_text(before) if before else None,
    }
    query = urlencode({key: value for key, value in values.items() if value is not None})
    return f"{path}?{query}" if query else path


def as_json(row: Row) -> dict[str, Any]:
    """Show one slot, or a series of slots that did not run. Instants are RFC 3339 in UTC, durations are seconds."""
    shown = {name: getattr(row, name) for name in Row.__struct_fields__ if name not in _OF_ONE}
    instants = {key: rfc3339(shown[key], milliseconds=True) for key in _INSTANTS if shown[key] is not None}
    return {**shown, **instants, "outcome": row.fate}


def list_as_json(wanted: Slots, answer: Rows) -> dict[str, Any]:
    """Show the answer. `next` is the URL that continues, or null at the end. It may be set even if no run was found,
    because a search looks through the ledger for a limited time."""
    return {
        "runs": [as_json(row) for row in answer.rows],
        "next": link(wanted, answer.more, "/api/runs") if answer.more else None,
    }


def action_as_json(one: Acted) -> dict[str, Any]:
    return {
        "at": rfc3339(one.at, milliseconds=True),
        "action": one.what,
        "job": one.job or None,
        "by": one.by.name,
        "way": one.by.way,
        "address": one.by.address or None,
        "why": one.why,
        "until": rfc3339(one.until) if one.until is not None else None,
        "run_id": one.run_id,
    }


def actions_as_json(wanted: Actions, answer: ActionRows) -> dict[str, Any]:
    """`next` is the URL of the following page, or null."""
    following = actions_link(wanted, answer, "/api/actions")
    return {"actions": [action_as_json(one) for one in answer.actions], "next": following}


def actions_link(wanted: Actions, answer: ActionRows, path: str) -> str | None:
    if answer.more is None:
        return None
    values = {
        "job": None if path.startswith("/jobs/") else wanted.job,
        "since": rfc3339(wanted.since) if wanted.since is not None else None,
        "before": place_as_text(Place(answer.more, "", 0)),
    }
    return f"{path}?{urlencode({key: value for key, value in values.items() if value is not None})}"


def run_as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Show the run as it ended, and each delivery. There are several if it was lost and delivered again."""
    deliveries = [
        as_json(row) | {"tries": row.tries, "attempts": list(map(_attempt, row.tried)), "reply": row.reply or None}
        for row in rows
    ]
    return {**deliveries[0], "deliveries": deliveries}


def _attempt(one: Tried) -> dict[str, Any]:
    ahead, times = one.parts.ahead, asdict(one.parts)
    seconds = {name: None if took is None else took / 1e6 for name, took in times.items()}
    return {
        "outcome": one.outcome,
        "detail": one.detail,
        "status": one.status,
        "sent": rfc3339(one.sent, milliseconds=True) if one.sent is not None else None,
        "parts": seconds | {"ahead": ahead},
        "request": {"head": one.request, "body_size": one.body_size} if one.request else None,
        "reply": {"head": one.head, "text": one.reply} if one.head else None,
    }


def meaning(row: Row) -> str:
    """Say in a sentence how the run counts. "" for a failure, which heading and detail explain."""
    if row.fate == "running":
        return "The run is in progress, or its end has not been recorded yet."
    if row.run_id is None:
        slots = "slot was" if row.count == 1 else f"{row.count} slots were"
        return f"The {slots} not run: {FATES[row.fate].words}."
    look = FATES[row.fate]
    if look.is_failure:
        return ""
    return "It counts as a success." if row.fate == "success" else f"It counts neither way: {look.words}."

"""Judges a reply: whether it is a success, and what it reports. Pure: bytes in, verdict out, never an exception."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tocsin.call import complaints
from tocsin.ipc.types import Outcome, ReportedError, StatusClass
from tocsin.redact import redact

EXCERPT = 160  # characters of the server's own words in a detail
EXCERPT_FROM = 8192  # bytes at the start of a body that are searched for them
SHORTEST = 1024  # characters searched at least, however long a secret is
LARGEST = 2.0**53  # a larger number cannot be a count: floats skip whole numbers there

_MISSING = object()
_CLASSES: dict[int, StatusClass] = {401: "401", 403: "403", 2: "2xx", 3: "3xx", 4: "4xx"}
_JSON = re.compile(r"\s*[^;\s]*[/+]json\s*(?:;|$)", re.IGNORECASE)  # a media type; not x-ndjson: many documents
_TITLE = re.compile(r"<title[^>]*>([^<]+)", re.IGNORECASE)
_BLANK = b" \t\r\n\xef\xbb\xbf"  # white space, and the byte order mark


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the job file expects of a reply."""

    status: Sequence[str] = ("2xx",)
    json: Sequence[tuple[str, Any]] = ()
    totals: Sequence[tuple[str, str]] = ()
    html: bool = False  # an HTML page is accepted
    cached: bool = False  # a reply from a cache is accepted


class Verdict(msgspec.Struct, frozen=True):
    outcome: Outcome
    detail: str = ""
    reported: dict[str, float] = {}
    reported_errors: dict[str, ReportedError] = {}


def status_class(status: int) -> StatusClass:
    """Return the status class of the metrics. Statuses outside them (1xx, 6xx) count as 5xx."""
    return _CLASSES.get(status) or _CLASSES.get(status // 100, "5xx")


def is_right(expected: Expectation, status: int) -> bool:
    """Whether a success may have this status."""
    return str(status) in expected.status or f"{status // 100}xx" in expected.status


def judge(expected: Expectation, status: int, content_type: str, body: bytes) -> Verdict:
    """Judge a complete reply with this status, media type and decoded body."""
    if not is_right(expected, status):
        return _wrong_status(status, content_type, body)
    said_json = _JSON.match(content_type) is not None
    by_default = not expected.json and status // 100 == 2  # else the job file says what to expect
    if by_default and not expected.html and _is_html(content_type, body):
        return _a_page(body)
    try:
        value = _parsed(body)
    except (ValueError, RecursionError):
        if expected.json and _is_html(content_type, body):
            return _a_page(body)
        if expected.json or (by_default and said_json):
            return Verdict("invalid_response", f"the reply is not JSON: {excerpt(body) or 'binary data'}")
        value = None
    for path, right in expected.json:
        found = _look_up(value, path)
        if not _is_same(found, right):
            shown = "missing" if found is _MISSING else _in_json(found)
            words = complaints.words_of(value) if isinstance(value, dict) else ""
            why = f"{path} is {shown} where {json.dumps(right)} is expected"
            return Verdict("invalid_response", why + (f": {one_line(words)}" if words else ""))
    if by_default and isinstance(value, dict) and (complaint := complaints.complaint(value)):
        what, words = complaint
        return Verdict("invalid_response", f"answered {what}" + (f": {one_line(words)}" if words else ""))
    return Verdict("success", "", *_totals(value, expected.totals))


def _parsed(body: bytes) -> Any:
    """Parse a JSON document. Returns None if there is nothing. Raises ValueError and RecursionError.

    msgspec is ten times as fast as `json`. `json` gets what msgspec refuses: it accepts NaN, UTF-16 and lone
    surrogates.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return json.loads(body) if body.strip() else None


def excerpt(body: bytes) -> str:
    """Return the beginning of a text as one printable line."""
    return one_line(beginning(body))


def beginning(body: bytes) -> str:
    """Return the part that may be shown. A longer text loses its end, which may be half a secret."""
    text = redact(body[:EXCERPT_FROM].decode("utf-8", "replace"))
    return text if len(body) <= EXCERPT_FROM else text[: max(SHORTEST, len(text) - redact.longest)]


def one_line(text: str) -> str:
    """Turn a text of the server into one printable line without Tocsin's secrets, cut to EXCERPT characters.

    Secrets are removed before the cut, or part of one could stay.
    """
    text = " ".join(redact(text).split())[: EXCERPT + 1]
    text = "".join(char if char.isprintable() else "�" for char in text)
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def _in_json(found: Any) -> str:
    if isinstance(found, dict | list):  # might be nested too deeply to write it out
        return "an object" if isinstance(found, dict) else "a list"
    return excerpt(json.dumps(found).encode())


def _wrong_status(status: int, content_type: str, body: bytes) -> Verdict:
    words = _title(body) if _is_html(content_type, body) else f": {excerpt(body)}" if body.strip() else ""
    if status == 401:
        return Verdict("unauthorized", f"401{words}")
    hints = {
        403: " (is the secret right, and is this machine allowed to call?)",
        404: " (is the path right, and is the app deployed?)",
        405: " (is the method right?)",
        429: " (the server asks to be called less often)",
        503: " (the server is starting, stopping or overloaded)",
    }
    hint = hints.get(status, " (the app's log may say why)" if status >= 500 else "")
    return Verdict("http_error", f"{status}{words}{hint}")


def _a_page(body: bytes) -> Verdict:
    return Verdict("invalid_response", f"answered an HTML page{_title(body)}: a login or error page?")


def _totals(value: Any, totals: Sequence[tuple[str, str]]) -> tuple[dict[str, float], dict[str, ReportedError]]:
    reported: dict[str, float] = {}
    errors: dict[str, ReportedError] = {}
    for name, path in totals:
        found = _look_up(value, path)
        if found is _MISSING or found is None:
            errors[name] = "missing"
        elif isinstance(found, bool) or not isinstance(found, int | float) or not _is_count(found):
            errors[name] = "not_a_number"
        else:
            reported[name] = float(found)
    return reported, errors


def _is_count(number: float) -> bool:
    """Whether the number is finite, not negative (a counter cannot fall) and small enough to add up."""
    return 0 <= number <= LARGEST  # false for NaN, and exact for an int too large for a float


def _is_same(found: Any, right: Any) -> bool:
    """Compare numbers by their value (JavaScript writes 1.0 as 1). true is not a number."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (found, right))
    return bool(found == right) and (numbers or type(found) is type(right))


def _look_up(value: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _is_html(content_type: str, body: bytes) -> bool:
    """Whether the reply is an HTML page. The media type is not enough: many frameworks use it for every text."""
    begin = body[:EXCERPT_FROM].lstrip(_BLANK)[:20].lower()
    return begin.startswith((b"<!doctype html", b"<html") if "text/html" not in content_type.lower() else b"<")


def _title(body: bytes) -> str:
    found = _TITLE.search(beginning(body))
    return f' titled "{one_line(found[1])}"' if found else ""

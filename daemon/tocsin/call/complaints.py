"""Finds in a JSON reply that the work failed, by the conventions of frameworks."""

import json
from typing import Any

_WORDS = ("message", "detail", "description", "error_description", "reason", "title", "error", "code")
_NOTHING = {"", "none", "null", "nil", "undefined", "false", "0", "ok", "n/a", "-", "no error", "no errors"}
_NO = {"false", "no", "0"}
_FAILED = {"error", "fail", "failed", "failure"}  # values of `status`; the first two are from JSend


def complaint(reply: dict[str, Any]) -> tuple[str, str] | None:
    """Return what the reply says instead of a success, and its reason (may be empty). None if it does not complain.

    `error` always counts as a failure. `errors` and `status` do not if `success` or `ok` is true: they may describe
    parts of the work, or its subject.
    """
    for key in ("success", "ok"):
        if key in reply and _is_no(reply[key]) and not _counts(reply, key):
            return f"{key}: {json.dumps(reply[key])}", words_of(reply)
    if _is_fault(reply.get("error")):
        return "an error", words_of(reply)
    if any(reply.get(key) is True or _is_one(reply.get(key)) for key in ("success", "ok")):
        return None
    if _is_fault(reply.get("errors")):
        return "errors", words_of(reply)
    status = reply.get("status")
    if isinstance(status, str) and status.strip().lower() in _FAILED:
        return f"status: {json.dumps(status.strip())}", words_of(reply)
    return None


def words_of(reply: dict[str, Any]) -> str:
    """Return the app's own words for what went wrong, or ""."""
    return _text(reply.get("error")) or _text(reply.get("errors")) or _text(reply.get("message"))


def _text(found: Any) -> str:
    """Return the text of a fault: a text, an object with a message, or a list of these."""
    if isinstance(found, list):
        found = found[0] if found else None
    if isinstance(found, dict):
        found = next((found[key] for key in _WORDS if key in found and isinstance(found[key], str)), None)
    return found.strip() if isinstance(found, str) else ""


def _is_fault(found: Any) -> bool:
    """Whether a value describes a fault. A number does not (it may be a count), nor does an empty list or object."""
    if isinstance(found, dict | list):
        held = found.values() if isinstance(found, dict) else found
        return any(_is_fault(one) if isinstance(one, str) else bool(one) for one in held)
    return found is True or (isinstance(found, str) and found.strip().lower() not in _NOTHING)


def _is_no(found: Any) -> bool:
    if isinstance(found, str):
        return found.strip().lower() in _NO
    return found is False or (type(found) in (int, float) and found == 0)


def _counts(reply: dict[str, Any], key: str) -> bool:
    """Whether `success: 0` is a count: there was nothing to do, so nothing succeeded and nothing failed."""
    if type(reply[key]) is not int:
        return False
    return any(type(reply.get(one)) is int and reply[one] == 0 for one in ("failed", "failure", "failures", "errors"))


def _is_one(found: Any) -> bool:
    return type(found) in (int, float) and found == 1

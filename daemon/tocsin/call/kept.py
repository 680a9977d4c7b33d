"""The part of a reply that is kept: the beginning of a text, without Tocsin's secrets."""

import codecs

from tocsin.call.verdict import EXCERPT_FROM, beginning
from tocsin.ipc.fates import FATES
from tocsin.ipc.types import REPLY_LENGTH, Keep, Outcome

_WHITE = "\t\n\r\f"


def kept(keep: Keep, outcome: Outcome, body: bytes) -> str:
    """Return the part of the body to keep after a run with this outcome. "" for none, and if it is not UTF-8 text."""
    if keep == "none" or (keep == "failures" and not FATES[outcome].is_failure):
        return ""
    try:  # a longer body may be cut in the middle of a character
        codecs.getincrementaldecoder("utf-8")().decode(body[:EXCERPT_FROM], final=len(body) <= EXCERPT_FROM)
    except UnicodeDecodeError:
        return ""
    text = beginning(body)  # secrets are removed before the cut, or part of one could stay
    if any((char < " " and char not in _WHITE) or char == "\x7f" for char in text):
        return ""
    return text.encode()[:REPLY_LENGTH].decode("utf-8", "ignore")

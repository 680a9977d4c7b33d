"""What is kept of a reply: the beginning of a text, without our secrets."""

import codecs

from tocsin.call.verdict import EXCERPT_FROM, beginning
from tocsin.ipc.fates import FATES
from tocsin.ipc.types import REPLY_LENGTH, Keep, Outcome

_WHITE = "\t\n\r\f"


def kept(keep: Keep, outcome: Outcome, body: bytes) -> str:
    """What of a body is kept after a run that ended so; empty where nothing is, as of what is not text in UTF-8."""
    if keep == "none" or (keep == "failures" and not FATES[outcome].is_failure):
        return ""
    try:  # a longer one may be cut within a character
        codecs.getincrementaldecoder("utf-8")().decode(body[:EXCERPT_FROM], final=len(body) <= EXCERPT_FROM)
    except UnicodeDecodeError:
        return ""
    text = beginning(body)  # without secrets, before it is cut: of a secret at the cut a part would stay
    if any((char < " " and char not in _WHITE) or char == "\x7f" for char in text):
        return ""
    return text.encode()[:REPLY_LENGTH].decode("utf-8", "ignore")

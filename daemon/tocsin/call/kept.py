"""What is kept of an attempt: its times, and if the job says so the heads of request and reply, and the beginning of a
reply that is text, without Tocsin's secrets."""

import codecs
import time
from collections.abc import Iterable, Sequence

from msgspec.structs import replace
from urllib3 import BaseHTTPResponse

from tocsin.call.line import Took
from tocsin.call.request import Progress
from tocsin.call.verdict import EXCERPT_FROM, Verdict, beginning
from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.ipc.fates import FATES
from tocsin.ipc.tried import Parts, Tried
from tocsin.ipc.types import (
    ATTEMPT_LENGTH,
    ATTEMPTS_TOLD,
    EARLIER_LENGTH,
    HEAD_LENGTH,
    REPLY_LENGTH,
    Keep,
    Outcome,
)
from tocsin.redact import REDACTED, names_a_secret, public, redact

_WHITE = "\t\n\r\f"
_ADDRESSES = {"location", "content-location", "link", "refresh", "referer", "sourcemap"}  # headers that hold some


def tried(job: Job, secret: Secret | None, verdict: Verdict, progress: Progress, took: Took) -> Tried:
    """The attempt that has just ended so."""
    parts = _parts(progress, took)
    detail = verdict.detail[:ATTEMPT_LENGTH]
    if not _is_kept(job.keep_replies, verdict.outcome):
        return Tried(verdict.outcome, detail, progress.status, progress.sent, parts)
    is_sent = progress.sent is not None and progress.connection is not None
    return Tried(
        *(verdict.outcome, detail, progress.status, progress.sent, parts),
        request=_request(job, secret, progress.connection.head) if is_sent and progress.connection else "",
        body_size=len(job.body or b"") if is_sent else 0,
        head=_head(progress) if progress.status is not None else "",
        reply=kept(job.keep_replies, verdict.outcome, progress.body),
    )


def told(attempts: Sequence[Tried]) -> tuple[Tried, ...]:
    """What is told of a run's attempts: the last ones, and of most only the beginning of the reply, so that all of it
    fits into one message. Of a single one of which nothing is kept the run itself says all."""
    if len(attempts) < 2 and (not attempts or not (attempts[0].request or attempts[0].head or attempts[0].reply)):
        return ()
    *earlier, last = attempts[-ATTEMPTS_TOLD:]
    return (*(replace(one, reply=_cut(one.reply, EARLIER_LENGTH)) for one in earlier), replace(last, reply=""))


def _parts(progress: Progress, took: Took) -> Parts:
    connection, sent = progress.connection, progress.clock
    if progress.sent is None:
        return Parts(_us(took.lookup), _us(took.connect), _us(took.tls))
    began = connection.first_byte if connection else None
    return Parts(
        None if took.lookup is None else _us(took.lookup),
        None if took.connect is None else _us(took.connect),
        None if took.tls is None else _us(took.tls),
        None if began is None else _us(began - sent),
        _us(time.monotonic() - sent),
        progress.ahead,
    )


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, int(seconds * 1e6))


# ---- heads


def _request(job: Job, secret: Secret | None, head: bytes) -> str:
    """The head as it was sent. Its address is without query, as everywhere; `secret` is the job's at the moment."""
    lines = head.decode("ascii", "replace").split("\r\n")
    first = f"{job.method} {job.public_url}{'?…' if '?' in lines[0] else ''}"
    carrier = (secret.header() or ("",))[0].lower() if secret else ""
    return _written(first, (_pair(line) for line in lines[1:] if line), carrier)


def _head(progress: Progress) -> str:
    """The head of the reply as it came."""
    reply = progress.reply
    if reply is not None:
        return _written(_status_line(reply), reply.headers.iteritems())
    begun = progress.connection.begun if progress.connection else b""
    first, *lines = begun.partition(b"\r\n\r\n")[0].decode("iso-8859-1").split("\r\n")
    return _written(first, map(_pair, lines))


def _status_line(reply: BaseHTTPResponse) -> str:
    return f"HTTP/{'1.0' if reply.version == 10 else '1.1'} {reply.status} {reply.reason or ''}".rstrip()


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()


def _written(first: str, fields: Iterable[tuple[str, str]], carrier: str = "") -> str:
    """Redacted before it is cut: of a secret at the cut a part would stay."""
    lines = [first, *(f"{name}: {_value(name.lower(), value, carrier)}" for name, value in fields)]
    text = "\n".join("".join(char if char.isprintable() else "�" for char in redact(line)) for line in lines)
    return _cut(text, HEAD_LENGTH)


def _value(name: str, value: str, carrier: str) -> str:
    if name == carrier or names_a_secret(name):
        return REDACTED
    return public(value) if name in _ADDRESSES else value


def _cut(text: str, length: int) -> str:
    """At most so many bytes of UTF-8."""
    return text if len(text) * 4 <= length else text.encode()[:length].decode("utf-8", "ignore")


# ---- the reply's body


def _is_kept(keep: Keep, outcome: Outcome) -> bool:
    return keep == "all" or (keep == "failures" and FATES[outcome].is_failure)


def kept(keep: Keep, outcome: Outcome, body: bytes) -> str:
    """Return the part of the body to keep after an attempt with this outcome. "" for none, and if it is not UTF-8
    text."""
    if not _is_kept(keep, outcome):
        return ""
    try:  # a longer body may be cut in the middle of a character
        codecs.getincrementaldecoder("utf-8")().decode(body[:EXCERPT_FROM], final=len(body) <= EXCERPT_FROM)
    except UnicodeDecodeError:
        return ""
    text = beginning(body)  # secrets are removed before the cut, or part of one could stay
    if any((char < " " and char not in _WHITE) or char == "\x7f" for char in text):
        return ""
    return _cut(text, REPLY_LENGTH)

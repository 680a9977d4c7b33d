"""Every way a call can fail without a usable reply: its kind, a line a person can act on, may it be retried?"""

import email.utils
import errno
import http.client
import socket
import ssl
from typing import Literal

from urllib3 import exceptions as u3

from tocsin.config import Job
from tocsin.messages import ErrorKind

# The ground on which a request may be sent again. "unprocessed" surely was not processed; "busy" is 429 or
# 503; "reset" and "5xx" may have been processed, so they need the job's word that it is idempotent.
Retry = Literal["", "unprocessed", "busy", "reset", "5xx"]

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
LONGEST_WAIT = 86400.0  # seconds of Retry-After that are believed: what matters is only that it is too long


class NoReply(Exception):
    """There was no reply."""

    def __init__(self, kind: ErrorKind, why: str, retry: Retry = "") -> None:
        super().__init__(why)
        self.kind = kind
        self.retry = retry


class Invalid(Exception):
    """There was a reply, but it breaks HTTP or the job's bounds."""


def unreached(error: Exception, host: str, port: int, job: Job) -> NoReply:
    """No connection came about: the request surely was not processed."""
    root = _root(error)
    url = f"{job.public_url}"
    if isinstance(error, u3.NameResolutionError) or isinstance(root, socket.gaierror | UnicodeError):
        return NoReply("dns", f"cannot resolve the host name {host} of {url}: {words(root)}", "unprocessed")
    if isinstance(root, ssl.SSLError) or isinstance(error, u3.SSLError):
        return NoReply("tls", f"no trusted TLS connection to {host}:{port}: {words(root)}")
    if isinstance(error, u3.ConnectTimeoutError) or isinstance(root, TimeoutError):
        why = f"{host}:{port} did not accept a connection within {job.connect_timeout:g} s"
        return NoReply("connect_timeout", f"{why} (firewall, wrong address, or overload?)", "unprocessed")
    if isinstance(root, ConnectionRefusedError):
        return NoReply("refused", f"{host}:{port} refuses connections: does the app of {url} run?", "unprocessed")
    if isinstance(root, ConnectionError):
        return NoReply("reset", f"{host}:{port} dropped the connection while it was made: {words(root)}", "unprocessed")
    if isinstance(root, OSError) and root.errno in _UNREACHABLE:
        return NoReply("unreachable", f"no route to {host}:{port}: {words(root)}", "unprocessed")
    return NoReply("other", f"cannot connect to {host}:{port}: {words(root)}", "unprocessed")


def no_reply(error: Exception) -> NoReply | Invalid:
    """The connection stood, the request went out (perhaps in part), and no status and headers came back."""
    root = _root(error)
    if isinstance(root, ssl.SSLError):
        return NoReply("tls", f"the TLS connection broke: {words(root)}")
    if isinstance(root, ConnectionError):  # RemoteDisconnected is one
        return NoReply("reset", f"the server closed the connection without an answer: {words(root)}", "reset")
    if isinstance(root, OSError) and not isinstance(root, http.client.HTTPException):
        return NoReply("other", f"the connection failed: {words(root)}")
    return Invalid(f"the answer is not HTTP: {words(root)}")


def retry_after(header: str, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which gives seconds or a date (RFC 9110, 10.2.3)."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST_WAIT)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, at - now), LONGEST_WAIT)


def words(error: BaseException) -> str:
    """The error in one line, without Python's clutter."""
    root = _root(error)
    text = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return " ".join(text.split())[:200] or type(root).__name__


def _root(error: BaseException) -> BaseException:
    """The error at the bottom: urllib3 wraps what the socket said."""
    for _ in range(5):
        wrapped = error.__cause__ or (error.args[-1] if error.args else None)
        if not isinstance(error, u3.HTTPError) or not isinstance(wrapped, BaseException):
            break
        error = wrapped
    return error

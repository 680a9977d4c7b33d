"""Every way a call can fail without a usable reply: its kind, a helpful line, and whether it may be retried."""

import errno
import http.client
import os
import re
import socket
import ssl
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from urllib3 import exceptions as u3

from tocsin.call.line import NoneAnswered
from tocsin.call.proxies import unused_proxy
from tocsin.call.verdict import one_line
from tocsin.config import Job
from tocsin.ipc.types import ErrorKind
from tocsin.timestamps import from_http

# Why a request may be sent again. "unprocessed": it was certainly not processed. "busy": 429 or 503. "reset" and "5xx":
# it may have been processed, so the job file must allow the retry (`retry_on`).
Retry = Literal["", "unprocessed", "busy", "reset", "5xx"]

LONGEST_WAIT = 86400.0  # seconds: a longer Retry-After counts as this, which is longer than any job waits
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
_BY_PROXY: frozenset[ErrorKind] = frozenset({"dns", "refused", "connect_timeout", "unreachable"})  # a proxy might help
_SHORT: dict[ErrorKind, str] = {"connect_timeout": "no answer", "unreachable": "unreachable"}
SHOWN = 4  # addresses of a host named in a detail
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")  # OpenSSL's names for an answer without TLS
_TLS_ALERT = "\x15\x03"  # the start of a TLS server's answer to plain HTTP (RFC 8446, 6)
_OPENSSL = re.compile(r"^\[\w+(?:: \w+)?\] | \(_ssl\.c:\d+\)$")


class NoReply(Exception):
    """There was no reply."""

    def __init__(self, kind: ErrorKind, why: str, retry: Retry = "") -> None:
        super().__init__(why)
        self.kind = kind
        self.retry = retry


class Invalid(Exception):
    """There was a reply, but it breaks HTTP or the job's limits."""

    def __init__(self, why: str, retry: Retry = "") -> None:
        super().__init__(why)
        self.retry = retry


def unreached(error: Exception, job: Job) -> NoReply:
    """The connection could not be made, so the request was certainly not processed."""
    why = _unreached(error, job)
    return NoReply(why.kind, f"{why}{proxy_note(job)}", why.retry) if why.kind in _BY_PROXY else why


def proxy_note(job: Job) -> str:
    """Return a note if the environment names a proxy for a host that could not be reached, or ""."""
    variable = unused_proxy(job.url, os.environ)
    return f"; {variable} is set, but Tocsin does not use proxies" if variable else ""


def _unreached(error: Exception, job: Job) -> NoReply:
    root, host = _root(error), job.host
    if isinstance(root, NoneAnswered):
        return _none_answered(root, job)
    if isinstance(root, socket.gaierror | UnicodeError):
        return NoReply("dns", f"cannot resolve the host name of {job.public_url}: {words(root)}", "unprocessed")
    if isinstance(root, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError | BrokenPipeError):
        return NoReply("reset", f"{host} dropped the connection while it was being made: {words(root)}", "unprocessed")
    if isinstance(root, ssl.SSLError):
        return _tls(root, host)
    if isinstance(root, TimeoutError):
        what = "finish the TLS handshake" if "handshake" in str(root) else "accept a connection"
        why = f"{host} did not {what} within {job.connect_timeout:g} s (firewall, wrong address, or overload?)"
        return NoReply("connect_timeout", why, "unprocessed")
    if isinstance(root, ConnectionRefusedError):
        return NoReply("refused", f"{host} refuses connections: is the app running there?", "unprocessed")
    if isinstance(root, OSError) and root.errno in _UNREACHABLE:
        return NoReply("unreachable", f"{host} is unreachable: {words(root)}", "unprocessed")
    return NoReply("other", f"cannot connect to {host}: {words(root)}", "unprocessed")


def _none_answered(error: NoneAnswered, job: Job) -> NoReply:
    """Choose the failure to report: that of the last address, but "no route" only if there is no other."""
    reasons = [(address, _unreached(one, job)) for (_, address), one in error.errors]
    last = next((why for _, why in reversed(reasons) if why.kind != "unreachable"), reasons[-1][1])
    each = [f"{address[0]}: {_SHORT.get(why.kind, why.kind)}" for address, why in reasons[:SHOWN]]
    more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
    return NoReply(last.kind, f"{last} [{'; '.join(each + more)}]", last.retry)


def _tls(error: ssl.SSLError, host: str) -> NoReply:
    """A retry would not help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoReply("tls", f"cannot trust the certificate of {host}: {one_line(error.verify_message)}")
    hint = " (does this port speak plain http?)" if error.reason in _PLAIN else ""
    return NoReply("tls", f"cannot speak TLS with {host}: {words(error)}{hint}")


def no_reply(error: Exception) -> NoReply | Invalid:
    """The connection was made and the request was sent, perhaps in part, but no status and headers came back."""
    root = _root(error)
    if isinstance(root, ConnectionError | ssl.SSLEOFError):  # includes RemoteDisconnected
        return NoReply("reset", f"the server closed the connection without an answer: {words(root)}", "reset")
    if isinstance(root, ssl.SSLError):
        return NoReply("tls", f"the TLS connection broke: {words(root)}")
    if isinstance(root, OSError) and not isinstance(root, http.client.HTTPException):
        return NoReply("other", f"the connection failed: {words(root)}")
    hint = " (is this a TLS port? then write https://)" if _TLS_ALERT in str(root)[:3] else ""
    return Invalid(f"the answer is not HTTP: {words(root)}{hint}")


def broken(error: Exception) -> Invalid:
    """Status and headers came, but the body failed."""
    root = _root(error)
    if isinstance(root, OSError | http.client.IncompleteRead):
        return Invalid(f"the reply broke off: {words(root)}", "reset")
    return Invalid(f"the reply is malformed: {words(root)}")


def redirected(status: int, location: str, job: Job) -> str:
    """Describe a redirect, which is never followed: its target, without the query, and a guess at the reason."""
    if not location:
        return f"{status}: neither a final reply nor a redirect with a target"
    try:
        target = urlsplit(urljoin(job.url, location))
        there, here = _place(target), _place(urlsplit(job.url))
    except ValueError:
        return f"{status}: redirects to an invalid URL: {one_line(location.partition('?')[0].rpartition('@')[2])}"
    there_to = target._replace(netloc=target.netloc.rpartition("@")[2], query="", fragment="").geturl()
    shown = one_line(job.without_hidden(there_to))
    if there[:3] == here[:3] and there[3] != here[3] and there[3].rstrip("/") == here[3].rstrip("/"):
        return f"{status}: the server wants the path {'with' if there[3][-1:] == '/' else 'without'} a trailing slash"
    if (there[0], here[0], there[1], there[3]) == ("https", "http", here[1], here[3]):
        return f"{status}: the server wants https: {shown}"
    return f"{status}: redirects to {shown}, which Tocsin does not follow (a login page, or another host?)"


def _place(url: SplitResult) -> tuple[str, str | None, int | None, str]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme), url.path


def retry_after(header: str, now: float) -> float | None:
    """Return the seconds to wait by a Retry-After header, which has seconds or a date (RFC 9110, 10.2.3)."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:20]), LONGEST_WAIT)
    try:
        wait = from_http(text) - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait), LONGEST_WAIT)


def words(error: BaseException) -> str:
    """Describe the error in one line, without Python's clutter."""
    root = _root(error)
    if isinstance(root, http.client.IncompleteRead):
        came: bytes | int = root.partial  # http.client keeps the bytes, urllib3 only their number
        came = came if isinstance(came, int) else len(came)
        return f"{came} bytes came, {root.expected} are missing" if root.expected else "its end is missing"
    text = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return one_line(_OPENSSL.sub("", text)) or type(root).__name__


def _root(error: BaseException) -> BaseException:
    """Return the innermost error, because urllib3 wraps those of the socket."""
    for _ in range(5):
        wrapped = error.__cause__ or (error.args[-1] if error.args else None)
        if not isinstance(error, u3.HTTPError) or not isinstance(wrapped, BaseException):
            break
        error = wrapped
    return error

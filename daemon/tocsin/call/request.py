"""The call: one request on a new connection, and what its result means.

The library follows no redirects and makes no retries: `tocsin.call.attempts` decides what is sent again.
"""

import contextlib
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace
from urllib3 import BaseHTTPResponse, HTTPHeaderDict, HTTPResponse

from tocsin.call import connection as connections
from tocsin.call.cached import cache_hit, told
from tocsin.call.failures import Invalid, NoReply, Retry, broken, no_reply, redirected, retry_after, unreached
from tocsin.call.headers import Head
from tocsin.call.line import Line, Took
from tocsin.call.verdict import EXCERPT_FROM, Expectation, Verdict, is_right, judge, one_line
from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.ipc.job import Ask
from tocsin.ipc.types import ErrorKind
from tocsin.redact import redact


class NotSent(Exception):
    """The request was ready, but must not go out any more."""


class Attempt(msgspec.Struct, frozen=True):
    """The result of one request. `retry` says why it may be sent again, if it may."""

    verdict: Verdict
    error: ErrorKind | None = None
    retry: Retry = ""
    retry_after: float | None = None


class Progress(msgspec.Struct):
    """How far an attempt has come. It outlives the exception that interrupts the attempt."""

    sent: float | None = None  # Unix time, just before the request was sent
    clock: float = 0.0  # monotonic, at `sent`
    status: int | None = None  # of the reply, once its head has arrived
    body: bytes = b""  # of the reply, as far as it has been read
    ahead: bool = False  # whether the connection was opened before the instant
    connection: connections.Connection | None = None  # once it is open: it knows what was sent and what arrived
    reply: BaseHTTPResponse | None = None  # a reply that is not simple

    def begins(self, status: int) -> None:
        """The head of the reply has arrived."""
        self.status = status


class Caller:
    """Calls the endpoint of one job. Between calls it keeps only the TLS settings, a rotated secret, and the connection
    that is armed for the next call."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.secret: Secret | None = job.secret
        parts = urlsplit(job.url)
        self._parts = parts
        self._line = Line(parts, job.tls.context() if parts.scheme == "https" else None)
        self._head = Head(job, parts, self.secret)
        self.armed: connections.Connection | None = None
        self._fired: Progress | None = None  # of the request sent on the armed connection
        self._expected = Expectation(job.expect_status, job.expect_json, job.totals, job.expect_html, job.expect_cached)

    def use(self, secret: Secret) -> None:
        """Use this secret from now on."""
        self.secret = secret
        redact.hide(secret.parts())
        self._head = Head(self.job, self._parts, secret)

    def look_up(self) -> None:
        """Look up the addresses for the next connection. If that fails, `arm` and `attempt` try again."""
        with contextlib.suppress(*connections.ERRORS):
            self._line.look_up()

    @property
    def took(self) -> Took:
        """What the last connection took, as far as it got."""
        return self._line.took

    @property
    def certificate_until(self) -> str:
        """The end of the host's certificate, as it stands there."""
        return self._line.certificate_until

    @property
    def needs_no_lookup(self) -> bool:
        """Whether a connection is a single step, with no name to look up and no TLS. Then a timeout limits it."""
        return self._line.is_literal

    def arm(self, ask: Ask, within: float) -> None:
        """Open a connection within `timeout` seconds and prepare the first request of this slot, so that only one send
        is left for the instant. If that fails, nothing is armed, and `attempt` connects again."""
        self.disarm()
        try:
            self.armed = self._connected(min(within, self.job.connect_timeout))
            self._write(self.armed, ask, ask.attempt, ask.due)
        except BaseException as error:
            self.disarm()
            if not isinstance(error, NoReply | Invalid | MemoryError):
                raise

    def disarm(self) -> None:
        armed, self.armed = self.armed, None
        if armed:
            armed.close()

    def fire(self) -> bool:
        """Send the armed request, if there is one. `attempt` then continues from there, or starts from the beginning if
        nothing was sent."""
        if self.armed:
            progress = Progress(time.time(), time.monotonic())
            if self.armed.send():
                self._fired = progress
                return True
            self.disarm()
        return False

    def attempt(self, ask: Ask, number: int, progress: Progress, may: Callable[[], bool] = lambda: True) -> Attempt:
        """Make one request and judge it. `may` is called just before the send, and returns whether the request may go
        out. Raises NotSent, and the exceptions of the `deadline` around it."""
        try:
            if self._fired and self.armed:
                progress.sent, progress.clock = self._fired.sent, self._fired.clock
                connection, self.armed, self._fired = self.armed, None, None
                progress.connection, progress.ahead = connection, True
                with connection:
                    return self._answered(connection, progress)
            with self._connected(self.job.connect_timeout) as connection:
                self._write(connection, ask, number, time.time())
                if not may():
                    raise NotSent
                progress.connection = connection
                progress.sent, progress.clock = time.time(), time.monotonic()
                connection.send()  # even if that fails, there may be a reply
                return self._answered(connection, progress)
        except NoReply as error:
            return Attempt(Verdict("connection_error", redact(str(error))), error=error.kind, retry=error.retry)
        except Invalid as error:
            return Attempt(Verdict("invalid_response", redact(str(error))), retry=error.retry)
        except MemoryError:
            why = "the reply needs more memory than is available (memory_limit, max_reply)"
            return Attempt(Verdict("invalid_response", why))

    def _connected(self, timeout: float) -> connections.Connection:
        try:
            return connections.Connection(self._line, timeout)
        except connections.ERRORS as error:
            raise unreached(error, self.job) from error

    def _write(self, connection: connections.Connection, ask: Ask, number: int, now: float) -> None:
        """Write the request. `now` is the Unix time of the signature."""
        connection.write(self.job.method, self._head.of(ask, number, now), self.job.body or b"")

    def _answered(self, connection: connections.Connection, progress: Progress) -> Attempt:
        connection.send_rest()
        try:
            plain = connection.simple_reply(progress.begins)
            response = None if plain and len(plain[2]) <= self.job.max_reply else connection.reply()
        except connections.ERRORS as error:
            raise no_reply(error) from error
        if response is None:
            assert plain is not None
            progress.status, media_type, body = plain
            progress.body = body
            return Attempt(_redacted(judge(self._expected, progress.status, media_type, body)))
        progress.status, progress.reply = response.status, response
        return self._judged(response, progress)

    def _judged(self, response: BaseHTTPResponse, progress: Progress) -> Attempt:
        status, head = response.status, response.headers
        retry: Retry = ""
        hit = b"" if self._expected.cached else cache_hit(_as_bytes(head))
        coding = _unreadable(head.get("Content-Encoding", ""))
        if is_right(self._expected, status):
            try:
                if hit:
                    raise Invalid(told(hit, self.job.method))
                progress.body = self._body(response, coding)
                verdict = judge(self._expected, status, head.get("Content-Type", ""), progress.body)
            except Invalid as error:
                verdict, retry = Verdict("invalid_response", str(error)), error.retry
        elif 300 <= status < 400:  # its body is meant for browsers
            verdict = Verdict("http_error", redirected(status, head.get("Location", ""), self.job))
        else:  # even if the body is broken, the status says more
            progress.body, _ = (b"", None) if coding else connections.read_body(response, EXCERPT_FROM)
            verdict = judge(self._expected, status, head.get("Content-Type", ""), progress.body)
            retry = "busy" if status in (429, 503) else "5xx" if status >= 500 else ""
        if hit and verdict.outcome != "invalid_response":
            verdict = replace(verdict, detail=f"{verdict.detail}, from a cache ({one_line(hit.decode('iso-8859-1'))})")
        if verdict.outcome == "unauthorized":
            verdict = Verdict("unauthorized", f"{verdict.detail} {self._unauthorized()}")
        return Attempt(
            _redacted(verdict),
            retry=retry,
            retry_after=retry_after(head.get("Retry-After", ""), time.time()) if retry == "busy" else None,
        )

    def _body(self, response: BaseHTTPResponse, coding: str) -> bytes:
        """Return the whole decoded body. `coding` is the part of the encoding that is unknown. Raises Invalid."""
        limit = 1 if coding else self.job.max_reply
        body, error = connections.read_body(response, limit)
        if coding and (body or error):
            raise Invalid(f"the reply has the encoding {one_line(coding)}, which was not requested")
        if error:
            raise broken(error) from error
        if len(body) > limit:
            raise Invalid(f"the reply is larger than max_reply ({limit} bytes)")
        return body

    def _unauthorized(self) -> str:
        if self.secret is None:
            return "(no secret is sent to this URL: see secret_env, secret_file and send_secret of the job)"
        return (
            f"(the secret differs: {self.secret.source} here and the app's must be the same; "
            f"sent as {self.secret.sent})"
        )


def _as_bytes(head: HTTPHeaderDict) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in head.iteritems()).encode("iso-8859-1", "replace")


def _unreadable(codings: str) -> str:
    """Return the part of a Content-Encoding that is unknown, or "". The request asked for no encoding."""
    known = {"", "identity", *HTTPResponse.CONTENT_DECODERS}
    return ", ".join(one for one in (part.strip() for part in codings.split(",")) if one.lower() not in known)


def _redacted(verdict: Verdict) -> Verdict:
    """Remove Tocsin's secrets from the description of a reply."""
    return replace(verdict, detail=redact(verdict.detail)) if verdict.detail else verdict

"""The call: one request with urllib3 on a fresh connection, and every way it can fail by name.

No redirects, no proxies from the environment, no retries inside urllib3: what is sent again is decided here.
"""

import http.client
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3 import exceptions as u3
from urllib3.connection import HTTPConnection, HTTPSConnection

from tocsin import __version__
from tocsin.config import Job
from tocsin.job.failures import Invalid, NoReply, Retry, no_reply, retry_after, unreached, words
from tocsin.job.reply import Expectation, Verdict, judge, status_class
from tocsin.messages import Ask, ErrorKind, StatusClass
from tocsin.secret import Secret, redact

USER_AGENT = f"Tocsin/{__version__}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and what became of it. `retry` names the ground on which it may be sent again."""

    verdict: Verdict
    status: int | None = None
    response: StatusClass | None = None
    error: ErrorKind | None = None
    retry: Retry = ""
    retry_after: float | None = None


def tls_context() -> ssl.SSLContext:
    """Verifies certificate and host name against the system's authorities.

    Made plainly, since ssl.create_default_context() obeys SSLKEYLOGFILE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    return context


class Caller:
    """Calls the endpoint of one job. Keeps nothing between calls but the TLS settings and a rotated secret."""

    def __init__(self, job: Job, tls: ssl.SSLContext | None = None) -> None:
        self.job = job
        self.secret: Secret | None = job.secret
        parts = urlsplit(job.url)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = tls or (tls_context() if parts.scheme == "https" else None)
        self._expected = Expectation(job.expect_status, job.expect_json, job.totals)

    def use(self, secret: Secret) -> None:
        """Send this secret from now on."""
        self.secret = secret
        redact.learn([secret])

    def attempt(self, ask: Ask, number: int, on_sent: Callable[[float], None]) -> Attempt:
        """One request, judged; `on_sent` is told the Unix time just before it goes out.

        Raises only what the `deadline` around it raises.
        """
        try:
            return self._exchange(ask, number, on_sent)
        except NoReply as error:
            return Attempt(Verdict("connection_error", redact(str(error))), error=error.kind, retry=error.retry)
        except Invalid as error:
            return Attempt(Verdict("invalid_response", redact(str(error))))

    def _exchange(self, ask: Ask, number: int, on_sent: Callable[[float], None]) -> Attempt:
        headers = self._headers(ask, number)
        target = self.secret.into_query(self._target) if self.secret else self._target
        connection = self._connect()
        try:
            on_sent(time.time())
            try:
                connection.request(self.job.method, target, self.job.body, headers, preload_content=False)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException, u3.HTTPError, ValueError) as error:
                raise no_reply(error) from error
            return self._judged(response, self._body(response))
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        timeout = self.job.connect_timeout
        connection: HTTPConnection
        if self._scheme == "https":
            connection = HTTPSConnection(self._host, self._port, timeout=timeout, ssl_context=self._tls)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.connect()
        except (u3.HTTPError, OSError, UnicodeError) as error:
            connection.close()
            raise unreached(error, self._host, self._port, self.job) from error
        connection.timeout = None  # from here on the one deadline rules
        if connection.sock:
            connection.sock.settimeout(None)
        return connection

    def _body(self, response: BaseHTTPResponse) -> bytes:
        """The decoded body, cut off after `max_reply`: what a success may not exceed."""
        limit = self.job.max_reply
        try:
            body = response.read(limit + 1, decode_content=True)
        except (u3.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise Invalid(f"the reply broke off or is malformed: {words(error)}") from error
        if len(body) > limit and response.status < 300:
            raise Invalid(f"the reply is larger than max_reply ({limit} bytes)")
        return body[:limit]

    def _judged(self, response: BaseHTTPResponse, body: bytes) -> Attempt:
        status = response.status
        verdict = judge(self._expected, status, response.headers.get("Content-Type", ""), body)
        if verdict.outcome == "http_error" and 300 <= status < 400:
            verdict = Verdict("http_error", self._redirect(status, response.headers.get("Location", "")))
        elif verdict.outcome == "unauthorized":
            verdict = Verdict("unauthorized", f"{verdict.detail} {self._unauthorized()}".strip())
        verdict = Verdict(verdict.outcome, redact(verdict.detail), verdict.reported, verdict.reported_errors)
        retry: Retry = ""
        if verdict.outcome == "http_error":
            retry = "busy" if status in (429, 503) else "5xx" if status >= 500 else ""
        return Attempt(
            verdict,
            status=status,
            response=status_class(status),
            retry=retry,
            retry_after=retry_after(response.headers.get("Retry-After", ""), time.time()) if retry == "busy" else None,
        )

    def _unauthorized(self) -> str:
        if self.secret is None:
            return "(no secret is sent to this URL: set secret_env or send_secret of the job)"
        return (
            f"(the secret differs: {self.secret.source} here and the app's must be the same; "
            f"sent as {self.secret.sent})"
        )

    def _redirect(self, status: int, location: str) -> str:
        target = urljoin(self.job.url, location).partition("?")[0] if location else "nowhere"
        if target.rstrip("/") == self.job.public_url.rstrip("/") and target != self.job.public_url:
            return (
                f"{status}: the server wants the path {'with' if target.endswith('/') else 'without'} a trailing slash"
            )
        return f"{status}: redirects to {target}, which Tocsin does not follow (a login page, or another host?)"

    def _headers(self, ask: Ask, number: int) -> dict[str, str]:
        headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json, text/plain;q=0.9, */*;q=0.5",
            "Connection": "close",
            "Idempotency-Key": ask.run_id,
            "X-Tocsin-Job": self.job.name,
            "X-Tocsin-Scheduled-At": rfc3339(ask.due),
            "X-Tocsin-Attempt": str(number),
            "X-Tocsin-Trigger": ask.trigger,
            "traceparent": f"00-{ask.run_id.replace('-', '')}-{random.getrandbits(64) or 1:016x}-01",
        }
        theirs = {name.lower() for name, _ in self.job.headers}
        headers = {name: value for name, value in headers.items() if name.lower() not in theirs}
        headers.update(self.job.headers)
        carried = self.secret.header() if self.secret else None
        if carried:
            headers = {name: value for name, value in headers.items() if name.lower() != carried[0].lower()}
            headers[carried[0]] = carried[1]
        return headers


def rfc3339(instant: float) -> str:
    """A Unix time as RFC 3339 in UTC, with a fraction only where there is one."""
    moment = datetime.fromtimestamp(instant, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")

"""Checks the targets of the jobs: the name, the connection, the certificate, and what is at the path.

All origins are checked at the same time, and every wait has a limit.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from tocsin import __version__
from tocsin.call.failures import unreached, words
from tocsin.call.proxies import unused_proxy
from tocsin.call.verdict import EXCERPT_FROM, one_line
from tocsin.config import Job
from tocsin.doctor import idle
from tocsin.doctor.dns import Address, Known, look_up
from tocsin.doctor.finding import Finding, fail, in_number, ok, skipped, warning
from tocsin.doctor.judge import PATH, Answer, clock, judged
from tocsin.jobfile.urls import host_to_resolve, is_public, origin
from tocsin.parent.listener import shown as in_words
from tocsin.timestamps import rfc3339

STEP = 10.0  # seconds for one step: the default of a job's connect_timeout
AT_ONCE = 8  # requests to one origin: doctor is not a load test
EXPIRES_SOON = 21 * 86400  # seconds: certificates of 90 days are usually renewed 30 days before their end
CLOSING = 0.01  # seconds for abandoned TLS connections to close, which takes a few rounds of the loop
LINE = 64 * 1024  # bytes of one header: the limit of http.client, which jobs use
HEADERS = {
    "User-Agent": f"Tocsin/{__version__} (doctor)",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "identity",
}

# verify_code of OpenSSL (X509_STORE_CTX_get_error(3)) -> what to do
_CERTIFICATE = {
    9: "it is not valid yet: is one of the clocks wrong?",
    10: "renew it",
    62: "the certificate is for other names: is base_url right?",
    64: "the certificate is for other addresses: is base_url right?",
}
_OURS = "does it ask its clients for a certificate (client_cert in [target])?"
_UNTRUSTED = "let the server send its whole chain; if the CA is your own, set ca_file in [target]"


async def check(jobs: Sequence[Job], *, seconds: float, probe_auth: bool, succeeded: set[str]) -> list[Finding]:
    """Check the targets in at most about `seconds`. `succeeded` names the jobs whose last run was a success."""
    by_origin: dict[tuple[str, str | None, int | None], list[Job]] = {}
    for job in jobs:
        by_origin.setdefault(origin(job.url), []).append(job)
    until = time.monotonic() + seconds
    asked = [_Origin(jobs, until, probe_auth, succeeded) for jobs in by_origin.values()]
    found = await asyncio.gather(*(one.examine() for one in asked))
    await asyncio.sleep(CLOSING)
    return [finding for findings in found for finding in findings]


class _Origin:
    """One scheme, host and port, and the jobs that call there."""

    def __init__(self, jobs: list[Job], until: float, probe_auth: bool, succeeded: set[str]) -> None:
        self.jobs = jobs
        self.first = jobs[0]  # they share host and certificates
        self.probe_auth = probe_auth
        self.succeeded = succeeded
        self.scheme, host, port = origin(self.first.url)
        self.host, self.port = host_to_resolve(host or ""), port or 0
        self.subject = in_words(self.host, self.port)
        self.tls = self.first.tls.context() if self.scheme == "https" else None
        self._until = until
        self._silent = False  # whether a request got no answer in time

    async def examine(self) -> list[Finding]:
        found: list[Finding] = []
        if self.scheme == "http" and is_public(self.host):
            detail = "http:// to a public host: anyone on the network path can read the secret"
            found.append(warning("target.tls", self.subject, detail, "https:// in base_url, without allow_insecure"))
        addresses = await self._resolved(found)
        reached = await self._connected(addresses, found) if addresses else []
        if variable := unused_proxy(self.first.url, os.environ):
            found.append(self._beside_proxy(variable, reached=bool(reached)))
        if reached and (self.tls is None or await self._shaken(reached[0], found)):
            await self._ask(reached, found)
        else:
            subject = self.first.name if len(self.jobs) == 1 else in_number(len(self.jobs))
            found.append(skipped(PATH, subject, f"not tested: {self.subject} was not reached"))
        return found

    def _step(self) -> float:
        """Return the seconds for the next step."""
        return max(0.01, min(STEP, self._until - time.monotonic()))

    def _beside_proxy(self, variable: str, *, reached: bool) -> Finding:
        """Check for a proxy in the environment. Its address is not shown, because it may hold a password."""
        if reached:
            return ok("target.proxy", self.subject, f"{variable} is set but not used; the target is reachable")
        detail = f"{variable} is set, but Tocsin does not use proxies, and the target is unreachable without one"
        return fail(
            "target.proxy",
            self.subject,
            detail,
            "let this machine reach the target directly, or run Tocsin nearer to it",
        )

    async def _resolved(self, found: list[Finding]) -> list[Address]:
        try:
            async with asyncio.timeout(self._step()):
                addresses = await look_up(self.host, self.port)
        except TimeoutError:
            advice = "is the name server reachable (/etc/resolv.conf)?"
            found.append(fail("target.name", self.host, "the name server does not answer", advice))
            return []
        except (OSError, UnicodeError) as error:
            advice = "is base_url right, and does this machine ask the right name server (/etc/resolv.conf)?"
            found.append(fail("target.name", self.host, f"cannot be resolved: {words(error)}", advice))
            return []
        shown = ", ".join(one[0] for _, one in addresses)
        found.append(ok("target.name", self.host, shown if shown != self.host else "an IP address, nothing to resolve"))
        return addresses

    async def _connected(self, addresses: list[Address], found: list[Finding]) -> list[Address]:
        """Find the addresses that accept a connection."""
        errors = await asyncio.gather(*(self._try(*one) for one in addresses))
        reached = [one for one, error in zip(addresses, errors, strict=True) if error is None]
        lost = [f"{one[0]}: {error}" for (_, one), error in zip(addresses, errors, strict=True) if error]
        if not reached:
            advice = "is the app running there, is the port right, and is a firewall in the way?"
            found.append(fail("target.connect", self.subject, "; ".join(lost), advice))
        elif lost:
            detail = f"{len(lost)} of {len(addresses)} addresses do not accept connections ({'; '.join(lost)})"
            advice = "the first call waits 250 ms for it: fix it, or remove it from the name"
            found.append(warning("target.connect", self.subject, detail, advice))
        else:
            many = f" on all {len(reached)} addresses" if len(reached) > 1 else ""
            found.append(ok("target.connect", self.subject, f"takes connections{many}"))
        return reached

    async def _try(self, family: socket.AddressFamily, address: tuple[str, int]) -> str | None:
        """Return None, or why there is no connection."""
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            try:
                async with asyncio.timeout(self._step()):
                    await asyncio.get_running_loop().sock_connect(sock, address)
            except TimeoutError:
                return "no answer"
            except OSError as error:  # asyncio's message would repeat the address
                return os.strerror(error.errno) if error.errno else words(error)
        return None

    async def _shaken(self, reached: Address, found: list[Finding]) -> bool:
        """Check TLS with a job's settings, and how long the certificate is valid."""
        family, address = reached
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._step()):
                await loop.sock_connect(sock, address)
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, sock=sock, ssl=self.tls, server_hostname=self.host.partition("%")[0]
                )
        except OSError as error:  # includes TimeoutError and SSLError
            sock.close()
            advice = f"does this port speak TLS, and {_OURS}"
            if isinstance(error, ssl.SSLCertVerificationError):
                advice = _CERTIFICATE.get(error.verify_code, _UNTRUSTED)
            why = "no TLS handshake in time" if isinstance(error, TimeoutError) else str(unreached(error, self.first))
            found.append(fail("target.tls", self.subject, why, advice))
            return False
        certificate = transport.get_extra_info("peercert")
        transport.abort()
        found.append(validity(self.subject, ssl.cert_time_to_seconds(certificate["notAfter"]), time.time()))
        return True

    async def _ask(self, reached: list[Address], found: list[Finding]) -> None:
        opened: list[socket.socket] = []

        def made(address: aiohttp.AddrInfoType) -> socket.socket:
            opened.append(socket.socket(*address[:3]))
            return opened[-1]

        connector = aiohttp.TCPConnector(
            resolver=Known(reached), use_dns_cache=False, force_close=True, ssl=self.tls or True, socket_factory=made
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            auto_decompress=False,
            max_line_size=LINE,
            max_field_size=LINE,
        ) as session:
            gate = asyncio.Semaphore(AT_ONCE)
            clocks: list[Answer] = []
            asked = await asyncio.gather(*(self._endpoint(session, gate, job, clocks) for job in self.jobs))
        for one in opened:  # asyncio would wait 30 s for the close_notify of a server that sends none
            if one.fileno() >= 0:
                with contextlib.suppress(OSError):  # the server closed it first
                    one.shutdown(socket.SHUT_RDWR)
        if clocks:
            found.append(clock(self.subject, clocks[0]))
            found.extend(await self._beside_idle(reached[0], clocks[0]))
        for findings in asked:
            found.extend(findings)

    async def _beside_idle(self, address: Address, answer: Answer) -> list[Finding]:
        """Check whether armed jobs make other clients wait. Nothing if no job arms."""
        arming = [job for job in self.jobs if job.arm]
        if not arming:
            return []
        question = idle.Question(self.host, address, self.tls, _as_sent(arming[0]))
        usual = answer.received - answer.sent
        return [await idle.check(self.subject, question, len(arming), usual, self._until)]

    async def _endpoint(
        self, session: aiohttp.ClientSession, gate: asyncio.Semaphore, job: Job, clocks: list[Answer]
    ) -> list[Finding]:
        async with gate:
            if self._silent or time.monotonic() >= self._until:
                why = f"not tested: {self.subject} did not answer before, or no time was left"
                return [warning(PATH, job.name, why, "tocsin doctor --timeout 2m")]
            try:
                async with asyncio.timeout(self._step()):
                    answer = await _exchange(session, "OPTIONS", job)
                    clocks.append(answer)
                    if self.probe_auth and self._is_to_tell(job, answer):
                        answer = await _exchange(session, job.method, job)
            except TimeoutError:
                self._silent = True
                return [fail(PATH, job.name, "connected, but got no answer in time", "is the app stuck or overloaded?")]
            except (aiohttp.ClientError, OSError) as error:
                why = f"no usable answer to OPTIONS: {_in_short(error)}"
                advice = f"is that the app's port, and {_OURS if self.tls else 'is it http or https?'}"
                return [fail(PATH, job.name, why, advice)]
        return list(judged(job, answer, succeeded=job.name in self.succeeded))

    @staticmethod
    def _is_to_tell(job: Job, answer: Answer) -> bool:
        """Whether to try the job's own method: it has a secret to leave out, and OPTIONS gave no answer to that."""
        has_secret = bool(job.secret or job.signing_secret)
        return has_secret and not answer.is_final and (not answer.allow or job.method in answer.allow)


async def _exchange(session: aiohttp.ClientSession, method: str, job: Job) -> Answer:
    """Send a request without secret, query, body and the job's headers. Raises aiohttp.ClientError, OSError,
    TimeoutError."""
    sent = time.time()
    async with session.request(
        method, _without_query(job.url), allow_redirects=False, timeout=aiohttp.ClientTimeout()
    ) as reply:
        received = time.time()
        try:
            body = await reply.content.read(EXCERPT_FROM)
        except aiohttp.ClientError:  # the head is enough
            body = b""
        headers = {name.lower(): ", ".join(reply.headers.getall(name)) for name in reply.headers}
        return Answer(method, reply.status, headers, body, sent, received)


def _as_sent(job: Job) -> bytes:
    """Write the request that `_exchange` sends."""
    parts = urlsplit(job.url)
    fields = {"Host": parts.netloc.rpartition("@")[2], **HEADERS, "Connection": "close"}
    head = [f"OPTIONS {parts.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*head, "", ""]).encode()


def _in_short(error: Exception) -> str:
    """Describe an error without aiohttp's additions: the URL, and parts of the answer."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"it is not HTTP ({one_line(error.message.partition(':')[0])})"
    return words(error)


def validity(subject: str, until: float, now: float) -> Finding:
    """Check how long a valid certificate remains valid. Unix times."""
    days = int((until - now) // 86400)
    if until - now < EXPIRES_SOON:
        detail = f"the certificate expires in {days} days, on {rfc3339(until)}"
        return warning("target.tls", subject, detail, "renew it, and find out why that did not happen automatically")
    return ok("target.tls", subject, f"the certificate is valid for {days} more days")


def _without_query(url: str) -> URL:
    """Return the URL for aiohttp, which needs a plain % before the zone of an address (RFC 6874)."""
    parts = urlsplit(url)
    return URL(parts._replace(netloc=parts.netloc.replace("%25", "%"), query="").geturl(), encoded=True)

"""Judges an endpoint by its answer to a request without the secret. Pure.

Doctor must not run a job's work. So by default it sends only OPTIONS, which RFC 9110 (9.2.1, 9.3.7) makes safe on every
resource, without secret, query (which may hold one), body and the job's headers. The job's own method would tell more,
but runs the job if the endpoint is open to the world. HEAD runs the handler of GET (in Next.js), and GET runs a POST
job if one handler serves both. So doctor sends none of these, and the job's own method only with --probe-auth.

What OPTIONS shows:

- A redirect of the path (a trailing slash, https, www, a login page) does not depend on the method.
- Next.js answers 204 with `Allow` for a route handler (from 14.2; before, 405 for one without GET), Express,
  Flask and Django 200 with `Allow`, aiohttp and FastAPI 405 with `Allow`, all from the routing, before any
  handler. So `Allow` shows whether the path is right and accepts the job's method, but nothing about the secret.
  - If one handler serves all methods (Next.js `pages/api`, `app.all`, a check in the middleware), it answers itself:
  401 or 403 is right, and a 2xx with a body means that it answers everybody.
  - Some routers (Fastify, Hono, Rails) answer 404 for an unknown method on a known path, and many handlers answer 405
  without `Allow`. If the job's last run was a success, that counts more. Otherwise the check fails, and --probe-auth
  shows the truth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from tocsin.call.cached import cache_hit, told
from tocsin.call.failures import redirected
from tocsin.call.verdict import one_line
from tocsin.config import Job
from tocsin.doctor.finding import Finding, fail, ok, skipped, warning
from tocsin.jobfile.urls import origin
from tocsin.timestamps import from_http, rfc3339

PATH, SECRET, CACHE, CLOCK = "endpoint.path", "endpoint.secret", "endpoint.cache", "target.clock"
PROBE = "tocsin doctor --probe-auth (an endpoint that is open then runs its job)"
SKEW = (2.0, 30.0)  # seconds between the clocks that cause a warning, and a failure
_HTML = (b"<!doctype html", b"<html")


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have names in lower case. `sent` and `received` (of the head) are Unix times."""

    method: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""  # its beginning
    sent: float = 0.0
    received: float = 0.0

    @property
    def allow(self) -> set[str] | None:
        """The methods of the Allow header. The list in a CORS answer is for browsers, and the same for every path."""
        return {one.strip().upper() for one in self.headers.get("allow", "").split(",") if one.strip()} or None

    @property
    def cache_hit(self) -> bytes:
        """The header that says that a cache answered."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return cache_hit(fields.encode("iso-8859-1", "replace"))

    @property
    def is_html(self) -> bool:
        return self.body.lstrip()[:20].lower().startswith(_HTML) or (
            "text/html" in self.headers.get("content-type", "").lower() and "allow" not in self.headers
        )

    @property
    def own_words(self) -> bool:
        """Whether a handler seems to have answered, not the routing or the CORS rules before it."""
        if not self.body.strip() or self.allow:
            return False
        cors = any(name.startswith("access-control-allow-") for name in self.headers)
        return not cors or "json" in self.headers.get("content-type", "").lower()

    @property
    def is_final(self) -> bool:
        """Whether another method would get the same answer: refused, redirected, or served to everybody."""
        served = 200 <= self.status < 300 and (self.own_words or self.is_html)
        return served or 300 <= self.status < 400 or self.status in (401, 403)


def judged(job: Job, answer: Answer, *, succeeded: bool) -> Iterator[Finding]:
    """Return at least one finding. `succeeded`: the job's last run was a success. The answer is to OPTIONS or to the
    job's own method, and always without the secret.
    """
    if not job.expect_cached and (hit := answer.cache_hit):
        detail, _, advice = told(hit, job.method).partition("; ")
        yield warning(CACHE, job.name, f"to {answer.method}, {detail}", advice)
    own = answer.method == job.method
    got = f"{answer.status} to {answer.method}"
    match answer.status:
        case 401 | 403:
            yield from _refused(job, answer)
        case status if 300 <= status < 400:
            location = answer.headers.get("location", "")
            yield fail(PATH, job.name, f"{got}: {redirected(status, location, job)[5:]}", where_to(job, location))
        case 404 | 410:
            yield _believed(job, succeeded, f"{got}: there is nothing at {one_line(job.public_url)}", _not_found(own))
        case 405 | 501 if own:
            yield fail(PATH, job.name, f"{got}: {_takes(answer)}", f"set `method` of [jobs.{job.name}]")
        case 429:
            yield warning(PATH, job.name, f"{got}: the server asks to be called less often", "try again later")
        case status if status >= 500 and status != 501:
            hint = "the app's log says why" if status != 503 else "it is starting, stopping or overloaded: try again"
            yield fail(PATH, job.name, f"{got}: the app fails", hint)
        case status if 200 <= status < 300 and answer.is_html:
            advice = "is the path right, and does the app's login leave it alone?"
            yield fail(PATH, job.name, f"{got}: an HTML page, not an endpoint (a login or catch-all page?)", advice)
        case status if 200 <= status < 300 and (own or answer.own_words):
            yield from _open(job, answer)
        case status if own or (400 <= status < 500 and status != 405):
            advice = "the path may be that of a page; " + PROBE if not own else "check the secret before anything else"
            yield warning(PATH, job.name, f"{got}: neither the refusal nor the route that was expected", advice)
        case _:
            yield from _routed(job, answer, succeeded)


def _refused(job: Job, answer: Answer) -> Iterator[Finding]:
    if answer.is_html:
        yield warning(
            SECRET,
            job.name,
            f"{answer.status} to {answer.method} with an HTML page: a firewall, bot or deployment protection?",
            "allow Tocsin there",
        )
        return
    yield ok(PATH, job.name, f"answers {answer.status} to {answer.method}")
    yield ok(SECRET, job.name, f"refuses {answer.method} without the secret ({answer.status})")


def _open(job: Job, answer: Answer) -> Iterator[Finding]:
    if job.secret is None and job.signing_secret is None:
        yield ok(PATH, job.name, f"answers {answer.status} to {answer.method}")
        yield ok(SECRET, job.name, "no secret is sent: anyone who knows the URL can run it")
        return
    ran = "the job has run" if answer.method == job.method else "the job may have run"
    yield fail(
        SECRET,
        job.name,
        f"OPEN TO THE WORLD: {answer.status} to {answer.method} without the secret ({ran})",
        "make the app answer 401 when the secret is missing or wrong, before it does anything",
    )


def _routed(job: Job, answer: Answer, succeeded: bool) -> Iterator[Finding]:
    """Judge a router's answer to OPTIONS."""
    got = f"{answer.status} to OPTIONS"
    if answer.allow and (job.method in answer.allow or "*" in answer.allow):
        yield ok(PATH, job.name, f"exists, and accepts {job.method}")
    elif answer.allow:
        advice = f"set `method` of [jobs.{job.name}] to one of these, or make the app accept {job.method}"
        yield fail(PATH, job.name, f"the method {job.method} is not allowed (405): {_takes(answer)}", advice)
    elif answer.status == 405:
        yield _believed(job, succeeded, f"{got}, and {_takes(answer)}", f"is {job.method} right? {PROBE}")
    elif answer.status == 501:
        yield warning(PATH, job.name, f"{got}: the server does not support OPTIONS, so this cannot be checked", PROBE)
    else:
        yield warning(PATH, job.name, f"{got} names no methods, so whether {job.method} is right is unknown", PROBE)
    if job.secret is None and job.signing_secret is None:
        yield ok(SECRET, job.name, "no secret is sent: anyone who knows the URL can run it")
    else:
        why = f"not tested whether it refuses a call without the secret: that needs a {job.method}"
        yield skipped(SECRET, job.name, why, PROBE)


def _believed(job: Job, succeeded: bool, detail: str, advice: str) -> Finding:
    if succeeded:
        return ok(PATH, job.name, f"{detail}; but its last run was a success, which is stronger evidence")
    return fail(PATH, job.name, detail, advice)


def _not_found(own: bool) -> str:
    advice = "is the path right, and is the app deployed?"
    return advice if own else f"{advice} If a router answers only to the methods it knows: {PROBE}"


def _takes(answer: Answer) -> str:
    if not answer.allow:
        return "the server does not say which methods it accepts (Allow)"
    return f"the server accepts {one_line(', '.join(sorted(answer.allow)))}"


def where_to(job: Job, location: str) -> str:
    """Say what to set when the server redirects. Never shows the target's query or user."""
    try:
        target = urlsplit(urljoin(job.url, location))
        there, here = origin(target.geturl()), origin(job.url)
    except ValueError:
        return "ask the app why"
    path = urlsplit(job.url).path
    if there == here and target.path.rstrip("/") == path.rstrip("/"):
        return f'write the path as "{one_line(job.without_hidden(target.path))}" in [jobs.{job.name}]'
    if there != here and target.path.rstrip("/") == path.rstrip("/"):
        place = one_line(f"{target.scheme}://{target.netloc.rpartition('@')[2]}")
        return f'set base_url (or the `url` of [jobs.{job.name}]) to "{place}"'
    return "if that is a login page: except the path from it in the app (the matcher of a Next.js middleware)"


def clock(subject: str, answer: Answer) -> Finding:
    """Compare the server's clock with ours. Its Date has whole seconds, and was written while we waited."""
    try:
        stamp = from_http(answer.headers.get("date", ""))
    except (ValueError, OverflowError):
        return skipped(CLOCK, subject, "the server sends no Date to compare the clocks with")
    if answer.headers.get("age", "0").strip() != "0":
        return skipped(CLOCK, subject, "the answer came from a cache, so its Date is not the current time")
    ahead, behind = stamp - answer.received, answer.sent - (stamp + 1)  # the certain difference, if positive
    surely = max(ahead, behind)
    if surely <= SKEW[0]:
        return ok(CLOCK, subject, "the clocks agree to the second")
    side = "ahead of" if ahead > behind else "behind"
    detail = f"its clock is at least {surely:.0f} s {side} this one ({rfc3339(stamp)} there)"
    advice = "find out which of the two is wrong (timedatectl), and let NTP keep it"
    return (fail if surely > SKEW[1] else warning)(CLOCK, subject, detail, advice)

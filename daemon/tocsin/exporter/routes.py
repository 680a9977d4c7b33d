"""Which path shows what. Pure: a request in, a reply out; the server does the rest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tocsin.config.access import Access, is_loopback
from tocsin.exporter import api
from tocsin.exporter.accept import wants
from tocsin.exporter.metrics import OPENMETRICS, Metrics, format_for
from tocsin.exporter.metrics import TEXT as METRICS_TEXT
from tocsin.exporter.pages import Pages
from tocsin.exporter.state import State

SCRAPE_SHARED = 1.0  # seconds for which scrapers get the same bytes: a crowd of them costs one rendering
JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
OPEN = ("/healthz", "/readyz")  # to all: load balancers and container engines bring no credentials

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOT_KEPT = {"Cache-Control": "no-store"}
KEPT = {"Cache-Control": "public, max-age=86400, immutable"}  # its URL changes with its content


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    host: str = ""  # the Host header
    accept: str = ""
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: NOT_KEPT)


class Routes:
    def __init__(
        self,
        state: State,
        metrics: Metrics,
        listen_host: str,
        access: Access,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """`now` is Unix time, `clock` the monotonic one."""
        self._state = state
        self._metrics = metrics
        self._pages = Pages(state)
        self._local = is_loopback(listen_host)
        self._access = access
        self._now = now
        self._clock = clock
        self._scrapes: dict[str, tuple[float, bytes]] = {}  # by format; there are two

    def answer(self, request: Request) -> Reply:
        if self._local and not _names_this_machine(request.host):
            text = "this listener is on loopback: ask for it by IP address or as localhost\n"
            return Reply(421, TEXT, text.encode())
        admitted = self._access.admits(request.authorization)
        if not admitted and request.path not in OPEN:
            headers = {"WWW-Authenticate": self._access.challenge, **NOT_KEPT}
            return Reply(401, TEXT, b"this listener wants credentials\n", headers)
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"error": "GET and HEAD only"}, {"Allow": "GET, HEAD", **NOT_KEPT})
        match request.path.split("/"):
            case ["", ""]:
                return Reply(200, HTML, self._pages.overview(self._now(), self._clock()))
            case ["", "metrics"]:
                return self._scrape(format_for(request.accept))
            case ["", "healthz"]:
                return _json(*api.health(self._state, self._clock()))
            case ["", "readyz"]:
                status, said = api.readiness(self._state, self._clock())
                return _json(status, said if admitted else {"status": said["status"]})
            case ["", "api", "jobs"]:
                return _json(200, api.job_list(self._state))
            case ["", "api", "jobs", name] if job := self._state.jobs.get(name):
                return _json(200, api.one_job(job))
            case ["", "jobs", name] if job := self._state.jobs.get(name):
                return Reply(200, HTML, self._pages.job(job, self._now(), self._clock()))
            case ["", "static", name] if file := self._pages.static.get(name):
                return Reply(200, file.content_type, file.content, KEPT)
        if wants(request.accept, "text/html") and not request.path.startswith("/api/"):
            return Reply(404, HTML, self._pages.nothing_here(request.path, self._now(), self._clock()))
        return _json(404, {"error": f"there is nothing at {request.path[:200]}"})

    def _scrape(self, content_type: str | None) -> Reply:
        if content_type is None:
            return Reply(406, TEXT, f"metrics are {OPENMETRICS} or {METRICS_TEXT}\n".encode())
        clock = self._clock()
        rendered, body = self._scrapes.get(content_type, (-SCRAPE_SHARED, b""))
        if clock - rendered >= SCRAPE_SHARED:
            self._metrics.measure(job.status for job in self._state.jobs.values())
            body = self._metrics.openmetrics() if content_type == OPENMETRICS else self._metrics.text()
            self._scrapes[content_type] = clock, body
        return Reply(200, content_type, body)


def _json(status: int, value: Any, headers: dict[str, str] = NOT_KEPT) -> Reply:
    return Reply(status, JSON, msgspec.json.encode(value) + b"\n", headers)


def _names_this_machine(host: str) -> bool:
    """Whether a Host header is no name that a stranger's DNS could point at loopback (DNS rebinding).

    Without the header it is no browser that asks.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

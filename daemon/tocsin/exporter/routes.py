"""The paths. Pure: takes a request and returns a reply. The server does the rest."""

from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.config.access import Access
from tocsin.exporter import api, runs, views
from tocsin.exporter.accept import wants
from tocsin.exporter.acts import Acts, read_path
from tocsin.exporter.metrics import OPENMETRICS, Metrics, format_for
from tocsin.exporter.metrics import TEXT as METRICS_TEXT
from tocsin.exporter.pages import Page, Pages
from tocsin.exporter.pieces import Work
from tocsin.exporter.replies import HTML, JSON, NOT_KEPT, TEXT, Reply, Request, Wanted
from tocsin.exporter.state import State
from tocsin.ipc.history import ActionRows, Answer, NoAnswer, OneRun, Question, Rows, Slots
from tocsin.jobfile.values import JOB_NAME

SCRAPE_SHARED = 1.0  # seconds for which scrapers get the same bytes: many of them need only one rendering
OPEN = ("/healthz", "/readyz")  # for everybody: load balancers and container engines send no credentials

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, a browser sends Origin: null with our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOT_OUR_NAME = b"""this listener does not answer to the name in the Host header
ask by IP address or as localhost, or add the name to listen_hosts in [daemon] (or TOCSIN_LISTEN_HOSTS)
"""
KEPT = {"Cache-Control": "public, max-age=86400, immutable"}  # the URL changes with the content


class Routes:
    def __init__(
        self,
        state: State,
        metrics: Metrics,
        listen_host: str,
        access: Access,
        now: Callable[[], float],
        clock: Callable[[], float],
        key: bytes,
    ) -> None:
        """`now` returns Unix time, `clock` monotonic seconds. `key` signs the forms."""
        self._state = state
        self._metrics = metrics
        self._pages = Pages(state)
        self._listen_host = listen_host
        self._access = access
        self._now = now
        self._clock = clock
        self._acts = Acts(access, key, now, clock, lambda act, why: self._pages.not_done(act, why, now(), clock()))
        self._scrapes: dict[str, tuple[float, tuple[bytes, ...]]] = {}  # by format, of which there are two

    def answer(self, request: Request) -> Reply | Wanted | Work[Reply]:
        if not self._access.answers_as(request.host, self._listen_host):
            return Reply(421, TEXT, NOT_OUR_NAME, refused="host")
        admitted = self._access.admits(request.authorization)
        if not admitted and request.path not in OPEN:
            headers = {"WWW-Authenticate": self._access.challenge, **NOT_KEPT}
            return Reply(
                *(401, TEXT, b"credentials required\n", headers),
                refused="wrong_credentials" if request.authorization else "no_credentials",
            )
        if act := read_path(request.path):
            if request.method == "POST":
                return self._acts.answer(request, act)
            return _json(405, {"error": "only POST is allowed"}, {"Allow": "POST", **NOT_KEPT})
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"error": "only GET and HEAD are allowed"}, {"Allow": "GET, HEAD", **NOT_KEPT})
        match request.path.split("/"):
            case ["", ""]:
                return self._overview(request)
            case ["", "metrics"]:
                return self._scrape(format_for(request.accept))
            case ["", "healthz"]:
                return _json(*api.liveness(self._state, self._clock()))
            case ["", "readyz"]:
                return self._readiness(admitted)
            case ["", "api", "jobs"]:
                return self._job_list()
            case ["", "api", "jobs", name] if job := self._state.jobs.get(name):
                return _json(200, api.one_job(self._state, job, self._now(), self._clock()))
            case ["", "jobs", name] if job := self._state.jobs.get(name):
                page = self._pages.job(job, self._now(), self._clock(), request.had, *self._acts.shown(request))
                return _page(page)
            case ["", "sign-in"]:
                return self._acts.sign_in(request)
            case ["", "api", "runs"]:
                return self._runs(request, None, as_json=True)
            case ["", "runs"]:
                return self._runs(request, None)
            case ["", "jobs", name, "runs"] if JOB_NAME.fullmatch(name):
                return self._runs(request, name)
            case ["", "api", "runs", run_id] if JOB_NAME.fullmatch(run_id):
                return Wanted(OneRun(run_id), lambda answer: self._run(request, answer, as_json=True))
            case ["", "runs", run_id] if JOB_NAME.fullmatch(run_id):
                return self._of_history(request, OneRun(run_id)) or Wanted(
                    OneRun(run_id), lambda answer: self._run(request, answer)
                )
            case ["", "api", "actions"]:
                return self._actions(request, None, as_json=True)
            case ["", "actions"]:
                return self._actions(request, None)
            case ["", "jobs", name, "actions"] if JOB_NAME.fullmatch(name):
                return self._actions(request, name)
            case ["", "static", name] if file := self._pages.static.get(name):
                return Reply(200, file.content_type, file.content, KEPT)
        return self._nothing(request)

    def _overview(self, request: Request) -> Work[Reply]:
        shown = self._acts.shown(request)
        page = yield from self._pages.overview(
            views.read(request.query), self._now(), self._clock(), request.had, *shown
        )
        return _page(page)

    def _readiness(self, admitted: bool) -> Work[Reply]:
        status, said = yield from api.readiness(self._state, self._now(), self._clock())
        return _json(status, said if admitted else {"status": said["status"]})

    def _job_list(self) -> Work[Reply]:
        body = yield from api.job_list(self._state, self._now(), self._clock())
        return Reply(200, JSON, body + b"\n")

    def _nothing(self, request: Request) -> Reply:
        """A page for a browser, JSON for any other client."""
        if wants(request.accept, "text/html") and not request.path.startswith("/api/"):
            return Reply(404, HTML, self._pages.nothing_here(request.path, self._now(), self._clock()))
        return _json(404, {"error": f"there is nothing at {request.path[:200]}"})

    # ---- the history

    def _runs(self, request: Request, job: str | None, *, as_json: bool = False) -> Reply | Wanted:
        try:
            wanted = runs.read(request.query, job)
        except runs.BadQuery as error:
            if as_json:
                return _json(400, {"error": str(error)})
            return _page(self._pages.runs(Slots(job), job, None, f"{error}.", self._now(), self._clock()), 400)
        if not as_json and (known := self._of_history(request, wanted)):
            return known

        def then(answer: Answer) -> Reply:
            rows = answer if isinstance(answer, Rows) else None
            why = "" if rows else _unread(answer)
            status = 200 if rows else 503
            if as_json:
                return _json(status, runs.list_as_json(wanted, rows) if rows else {"error": why})
            return _page(self._pages.runs(wanted, job, rows, why, self._now(), self._clock()), status)

        return Wanted(wanted, then)

    def _actions(self, request: Request, job: str | None, *, as_json: bool = False) -> Reply | Wanted:
        """What people did."""
        try:
            wanted = runs.read_actions(request.query, job)
        except runs.BadQuery as error:
            return _json(400, {"error": str(error)})

        def then(answer: Answer) -> Reply:
            rows = answer if isinstance(answer, ActionRows) else None
            why, status = ("", 200) if rows else (_unread(answer), 503)
            if as_json:
                return _json(status, runs.actions_as_json(wanted, rows) if rows else {"error": why})
            page = self._pages.actions(wanted, job, rows, why, self._now(), self._clock())
            return Reply(status, HTML, page)

        return Wanted(wanted, then)

    def _run(self, request: Request, answer: Answer, *, as_json: bool = False) -> Reply:
        if not isinstance(answer, Rows):
            why = _unread(answer)
            if as_json or not wants(request.accept, "text/html"):
                return _json(503, {"error": why})
            return _page(self._pages.runs(Slots(), None, None, why, self._now(), self._clock()), 503)
        if not answer.rows:
            return self._nothing(request)
        if as_json:
            return _json(200, runs.run_as_json(answer.rows))
        return _page(self._pages.run(answer.rows, self._now(), self._clock()))

    def _of_history(self, request: Request, question: Question) -> Reply | None:
        """Answer without the ledger's process if the browser has the page and nothing was committed since."""
        tag = self._pages.has_history(request.had, question, self._clock())
        return _page(Page(tag, None)) if tag else None

    def _scrape(self, content_type: str | None) -> Work[Reply]:
        if content_type is None:
            return Reply(406, TEXT, f"metrics are available as {OPENMETRICS} or {METRICS_TEXT}\n".encode())
        clock = self._clock()
        rendered, parts = self._scrapes.get(content_type, (-SCRAPE_SHARED, ()))
        if clock - rendered >= SCRAPE_SHARED:
            self._state.want_memory(clock)
            jobs = yield from self._state.judged(self._now(), clock)
            yield from self._metrics.measure(jobs)
            parts = yield from self._metrics.openmetrics() if content_type == OPENMETRICS else self._metrics.text()
            self._scrapes[content_type] = clock, parts
        return Reply(200, content_type, b"", more=parts)


def _unread(answer: Answer) -> str:
    return f"The history cannot be read now: {answer.why if isinstance(answer, NoAnswer) else 'it is garbled'}."


def _page(page: Page, status: int = 200) -> Reply:
    """Only a page that is there has a tag: an error is not kept."""
    headers = NOT_KEPT | {"ETag": str(page.tag)} if status == 200 else NOT_KEPT
    return Reply(304, HTML, b"", headers) if page.body is None else Reply(status, HTML, page.body, headers)


def _json(status: int, value: Any, headers: dict[str, str] = NOT_KEPT) -> Reply:
    return Reply(status, JSON, msgspec.json.encode(value) + b"\n", headers)

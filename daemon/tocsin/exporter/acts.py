"""Acting over HTTP: who may act, what a request asks for, and what the reply is. Pure: the server reads, asks and
sends."""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from tocsin.config.access import Access
from tocsin.exporter import views
from tocsin.exporter.accept import wants
from tocsin.exporter.replies import HTML, JSON, NOT_KEPT, Body, ReadBody, Reply, Request, Wanted
from tocsin.ipc.actions import Action, Actor, Answered, FireJob, PauseJob, ReloadConfig, plain
from tocsin.ipc.types import Verb
from tocsin.jobfile import ends
from tocsin.jobfile.values import JOB_NAME

READ = ReadBody(4096, 5.0)  # bytes and seconds: a form has a token, a reason and a duration
LONGEST_WHY = 200  # characters of a reason
FIELDS: dict[Verb, frozenset[str]] = {
    "fire": frozenset({"why"}),
    "pause": frozenset({"why", "for", "until"}),
    "resume": frozenset({"why"}),
    "reload": frozenset({"why"}),
}
BURST, EACH = 30, 1.0  # actions at once, and seconds until one more: a script may act on every job of a group
TOKEN_LIVES = 12  # hours: a page that was open for longer must be loaded again
NOT_DONE = {"unknown": 404, "refused": 409, "silent": 503}  # HTTP statuses
FORM, JSON_BODY = "application/x-www-form-urlencoded", "application/json"

OFF = (
    "nobody may act here: set listen_actor_bearer_env, or listen_actor_user with listen_actor_password_env, or"
    ' listen_actions = "loopback" in [daemon]'
)
DONE: dict[str, str] = {  # what the page says after an action
    "fire": "The job was told to run now.",
    "pause": "The job is paused.",
    "resume": "The job is resumed.",
    "reload": "The job file was loaded again.",
}


class Act(NamedTuple):
    """What a path asks for."""

    verb: Verb
    job: str

    @property
    def page(self) -> str:
        """Return the page to show after the action."""
        return f"/jobs/{self.job}" if self.job else "/"


class Viewer(NamedTuple):
    """What a page offers to its reader."""

    may_act: bool = False
    token: str = ""  # proves that a form comes from this page
    may_sign_in: bool = False


def read_path(path: str) -> Act | None:
    match path.split("/"):
        case ["", "jobs", job, "fire" | "pause" | "resume" as verb] if JOB_NAME.fullmatch(job):
            return Act(verb, job)
        case ["", "reload"]:
            return Act("reload", "")
    return None


@dataclass(frozen=True)
class Refused(Exception):
    status: int
    why: str
    reason: Any = None  # a Refusal, if it is to be counted
    headers: tuple[tuple[str, str], ...] = ()


class Tokens:
    """Signs forms, so that no other page can send one, and nobody can use a form that somebody else was shown."""

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        self._key = key
        self._now = now

    def make(self, authorization: str) -> str:
        """Return the token of forms for whoever sends this Authorization header. It stays the same for an hour."""
        return self._signed(int(self._now() // 3600), authorization)

    def holds(self, token: str, authorization: str) -> bool:
        hour, _, _ = token.partition(".")
        if not (hour.isascii() and hour.isdigit() and len(hour) < 10):
            return False
        fresh = 0 <= int(self._now() // 3600) - int(hour) <= TOKEN_LIVES
        return hmac.compare_digest(token.encode(), self._signed(int(hour), authorization).encode()) and fresh

    def _signed(self, hour: int, authorization: str) -> str:
        text = f"{hour}\n{authorization}".encode("utf-8", "surrogateescape")
        return f"{hour}.{hmac.digest(self._key, text, 'sha256').hex()}"


class Acts:
    """`refused_page` renders a page that says why something was not done."""

    def __init__(
        self,
        access: Access,
        key: bytes,
        now: Callable[[], float],
        clock: Callable[[], float],
        refused_page: Callable[[Act, str], bytes],
    ) -> None:
        self._access = access
        self._tokens = Tokens(key, now)
        self._now = now
        self._clock = clock
        self._refused_page = refused_page
        self._left, self._at = float(BURST), clock()

    def viewer(self, request: Request) -> Viewer:
        if self._actor(request) is None:
            return Viewer(may_sign_in=self._access.actors.password is not None)
        return Viewer(True, self._tokens.make(request.authorization))

    def shown(self, request: Request) -> tuple[Viewer, str]:
        """What a page offers to its reader, and the action after which it is shown, if any."""
        return self.viewer(request), views.did(request.query)

    def sign_in(self, request: Request) -> Reply:
        """Ask the browser for an actor's credentials, and go back to the page."""
        job = dict(parse_qsl(request.query, max_num_fields=5)).get("job", "")
        page = f"/jobs/{job}" if JOB_NAME.fullmatch(job) else "/"
        if self._actor(request) is None:
            return self._refusal(request, Act("reload", ""), self._not_admitted(request))
        return Reply(303, HTML, b"", {"Location": page, **NOT_KEPT})

    def answer(self, request: Request, act: Act) -> Reply | Wanted:
        """Return the reply to a POST to the path, or what it needs first."""
        try:
            actor = self._admitted(request)
        except Refused as refused:
            return self._refusal(request, act, refused)

        def then(body: Body) -> Reply | Wanted:
            try:
                action = self._read(request, act, actor, body)
            except Refused as refused:
                return self._refusal(request, act, refused)
            return Wanted(action, lambda answer: self._answered(request, act, answer))

        return Wanted(READ, then)

    # ---- who

    def _actor(self, request: Request) -> str | None:
        return self._access.actor(request.authorization, request.peer, by_proxy=request.by_proxy)

    def _not_admitted(self, request: Request) -> Refused:
        access = self._access
        if access.actors and access.readers.name(request.authorization) is None:
            reason = "wrong_credentials" if request.authorization else "no_credentials"
            challenge = ("WWW-Authenticate", access.actors.challenge)
            return Refused(401, "credentials of somebody who may act are required", reason, (challenge,))
        if access.actors:
            return Refused(403, "these credentials may read, but not act", "not_allowed")
        if access.open_actions:
            return Refused(403, "without credentials only this machine may act, and not through a proxy", "not_allowed")
        return Refused(403, OFF, "not_allowed")

    def _admitted(self, request: Request) -> Actor:
        name = self._actor(request)
        if name is None:
            raise self._not_admitted(request)
        if request.repeated:
            raise Refused(400, f"the header {request.repeated} is there more than once")
        if request.fetch_site not in ("", "same-origin"):
            raise Refused(403, "the request comes from another site", "forged")
        if request.origin and not self._is_ours(request.origin, request.host):
            why = "the request comes from a page of another site (a proxy must pass the Host header on)"
            raise Refused(403, why, "forged")
        return Actor(plain(name)[:100], "page" if _is_page(request) else "api", request.peer[:100])

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether a page of this listener has this origin. A proxy before it may add TLS, but cannot take it away."""
        scheme, _, there = origin.lower().partition("://")
        schemes = ("https",) if self._access.tls else ("http", "https")
        return scheme in schemes and bool(there) and _with_port(there, scheme) == _with_port(host.lower(), scheme)

    # ---- what

    def _read(self, request: Request, act: Act, actor: Actor, body: Body) -> Action:
        if isinstance(body, int):
            raise Refused(body, f"the body has more than {READ.most} bytes" if body == 413 else "the body did not come")
        media = request.content_type.partition(";")[0].strip().lower()
        fields = _fields(media, body)
        token = fields.pop("token", "")
        bearer = request.authorization.partition(" ")[0].lower() == "bearer"  # a browser never sends it by itself
        if not bearer and media != JSON_BODY and not self._tokens.holds(token, request.authorization):
            why = "the form is too old, or another user's: load the page again"
            if media != FORM:
                why = f"send Content-Type: {JSON_BODY}, which no page of another site can"
            raise Refused(403, why, "forged")
        if unknown := fields.keys() - FIELDS[act.verb]:
            raise Refused(400, f"{sorted(unknown)[0][:60]!r} is not known here: use {', '.join(FIELDS[act.verb])}")
        why = plain(fields.get("why", ""))
        if len(why) > LONGEST_WHY:
            raise Refused(400, f"the reason is longer than {LONGEST_WHY} characters")
        until = self._until(fields) if act.verb == "pause" else None
        self._count()
        if act.verb == "fire":
            return FireJob(act.job, actor, why)
        if act.verb == "reload":
            return ReloadConfig(actor, why)
        return PauseJob(act.job, act.verb == "pause", until, actor, why)

    def _until(self, fields: dict[str, str]) -> float | None:
        length, instant = fields.get("for", ""), fields.get("until", "")
        if length and instant:
            raise Refused(400, "for and until cannot be combined: use one of them")
        try:
            if length:
                return ends.after(length, self._now())
            return ends.at(instant, self._now()) if instant else None
        except ValueError as error:
            raise Refused(400, f"{'for' if length else 'until'}={(length or instant)[:60]}: {error}") from None

    def _count(self) -> None:
        now = self._clock()
        self._left, self._at = min(float(BURST), self._left + (now - self._at) / EACH), now
        if self._left < 1:
            raise Refused(429, "too many actions: try again in a moment", "too_many", (("Retry-After", "2"),))
        self._left -= 1

    # ---- replies

    def _answered(self, request: Request, act: Act, answer: Answered) -> Reply:
        if answer.result != "done":
            return self._refusal(request, act, Refused(NOT_DONE[answer.result], answer.text))
        if _is_page(request):
            return Reply(303, HTML, b"", {"Location": f"{act.page}?did={act.verb}", **NOT_KEPT})
        text = answer.text or f"{act.job} runs now"
        said: dict[str, Any] = {"result": "done", "text": text}
        if answer.run_id:
            said |= {"run_id": answer.run_id, "run": f"/api/runs/{answer.run_id}"}
        return Reply(200, JSON, msgspec.json.encode(said) + b"\n")

    def _refusal(self, request: Request, act: Act, refused: Refused) -> Reply:
        headers = {**NOT_KEPT, **dict(refused.headers)}
        if _is_page(request):
            return Reply(refused.status, HTML, self._refused_page(act, refused.why), headers, refused.reason)
        said = {"error": refused.why or HTTPStatus(refused.status).phrase}
        return Reply(refused.status, JSON, msgspec.json.encode(said) + b"\n", headers, refused.reason)


def _is_page(request: Request) -> bool:
    """Whether a person waits for a page."""
    return wants(request.accept, "text/html") and not request.content_type.lower().startswith(JSON_BODY)


def _with_port(host: str, scheme: str) -> str:
    return host.removesuffix(":443" if scheme == "https" else ":80")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, with every key that it names."""


def _fields(media: str, body: bytes) -> dict[str, str]:
    """Raises Refused."""
    if not body:
        return {}
    try:
        text = body.decode()
        if media == FORM:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=10)
        elif media == JSON_BODY:
            try:
                pairs = json.loads(text, object_pairs_hook=_Pairs)
            except json.JSONDecodeError as error:
                raise Refused(400, f"the body is not JSON: {error.msg} at character {error.pos}") from None
            if not isinstance(pairs, _Pairs):
                raise ValueError
        else:
            raise Refused(415, f"the body must be {FORM} or {JSON_BODY}")
        fields = dict(pairs)
        if len(fields) < len(pairs) or not all(isinstance(one, str) for one in fields.values()):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise Refused(400, "the body must name each field once, with a text as its value") from None
    return fields

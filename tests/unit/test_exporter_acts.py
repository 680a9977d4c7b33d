"""Acting over HTTP: who may, what a form may say, and what comes back. Forgeries are told here, one by one."""

import base64
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from exporter_rig import HOSTILE, NOON, Asked, job, world
from tocsin.config.access import Access
from tocsin.config.credentials import Credentials
from tocsin.config.secrets import Secret
from tocsin.exporter.acts import BURST, TOKEN_LIVES
from tocsin.exporter.replies import Reply
from tocsin.ipc.actions import Actor, Answered, FireJob, PauseJob, ReloadConfig

READ, ACT = "0123456789abcdef-read", "0123456789abcdef-act"
PASSWORD = "hunter2hunter2-act"
FORM = "application/x-www-form-urlencoded"
OPEN = Access(open_actions=True)
PARTED = Access(
    bearer=Secret(READ, "bearer", "READ_TOKEN"),
    actors=Credentials(Secret(ACT, "bearer", "ACT_TOKEN"), "ann", Secret(PASSWORD, "authorization", "ANN")),
)


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


ANN = basic("ann", PASSWORD)


def site(access: Access = OPEN, **changes: Any) -> Asked:
    return Asked(*world(job(**changes), job("off", enabled=False, state="disabled")), access=access)


def token(asked: Asked, authorization: str = "", path: str = "/jobs/sla-check") -> str:
    """What the forms of a page hold for this reader."""
    page = asked.ask(path, accept="text/html", authorization=authorization).body.decode()
    found = set(re.findall(r'name="token" value="([^"]+)"', page))
    assert len(found) == 1
    return str(found.pop())


def post(asked: Asked, path: str, authorization: str = "", token: str = "", **more: Any) -> Reply:
    """As a browser sends the form of a page."""
    fields = more.pop("fields", {})
    more = {"accept": "text/html", "origin": "http://127.0.0.1:9911", "fetch_site": "same-origin", **more}
    more.setdefault("content_type", FORM)
    body = more.pop("body", urlencode({"token": token, **fields}).encode())
    return asked.ask(path, "POST", authorization=authorization, body=body, **more)


def api(asked: Asked, path: str, authorization: str = "", said: Any = None, **more: Any) -> tuple[int, Any]:
    """As a program sends JSON."""
    body = b"" if said is None else json.dumps(said).encode()
    reply = asked.ask(
        path, "POST", authorization=authorization, body=body, content_type="application/json", accept="*/*", **more
    )
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.status, json.loads(reply.body)


def test_run_now_from_the_page() -> None:
    asked = site()
    reply = post(asked, "/jobs/sla-check/fire", token=token(asked))
    assert (reply.status, reply.headers["Location"]) == (303, "/jobs/sla-check?did=fire")
    assert reply.headers["Cache-Control"] == "no-store"
    assert asked.acted == [FireJob("sla-check", Actor("somebody", "page", "127.0.0.1"))]
    after = asked.ask(reply.headers["Location"]).body.decode()
    assert '<p class="said" role="status">The job was told to run now.</p>' in after


def test_pause_with_an_end_and_a_reason_then_resume() -> None:
    asked = site(PARTED)
    said = {"for": "2h", "why": "  deploy\r\nX-Evil: 1\x1b[2J <b>"}
    assert post(asked, "/jobs/sla-check/pause", ANN, token(asked, ANN), fields=said).status == 303
    assert post(asked, "/jobs/sla-check/resume", ANN, token(asked, ANN)).status == 303
    assert post(asked, "/reload", ANN, token(asked, ANN, "/")).headers["Location"] == "/?did=reload"
    ann = Actor("ann", "page", "127.0.0.1")
    assert asked.acted == [
        PauseJob("sla-check", True, NOON + 7200, ann, "deploy X-Evil: 1 [2J <b>"),
        PauseJob("sla-check", False, None, ann),
        ReloadConfig(ann),
    ]


def test_the_api() -> None:
    asked = site(PARTED)
    asked.parent = Answered(1, "done", "", "8ea8a43e-3e36-532b-a535-6ae3331c180e")
    status, said = api(asked, "/jobs/sla-check/fire", f"Bearer {ACT}", {"why": "by hand"})
    assert (status, said["run"]) == (200, "/api/runs/8ea8a43e-3e36-532b-a535-6ae3331c180e")
    assert asked.acted == [FireJob("sla-check", Actor("token ACT_TOKEN", "api", "127.0.0.1"), "by hand")]
    bare = asked.ask("/jobs/sla-check/pause", "POST", authorization=f"bearer {ACT}")
    assert bare.status == 200, "a token needs no body"
    assert api(asked, "/jobs/sla-check/resume", ANN, {})[0] == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post"])
@pytest.mark.parametrize("path", ["/jobs/sla-check/fire", "/jobs/sla-check/pause", "/jobs/sla-check/resume", "/reload"])
def test_nothing_but_post_acts(method: str, path: str) -> None:
    asked = site()
    reply = asked.ask(f"{path}?token={token(asked)}", method)
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert asked.acted == []


FORGED: dict[str, dict[str, Any]] = {
    "another site": {"origin": "https://evil.example", "fetch_site": "cross-site"},
    "another site, by an old browser": {"origin": "https://evil.example", "fetch_site": ""},
    "another port of this machine": {"origin": "http://127.0.0.1:3000", "fetch_site": "same-site"},
    "the same, by an old browser": {"origin": "http://127.0.0.1:3000", "fetch_site": ""},
    "a page without an origin": {"origin": "null", "fetch_site": "cross-site"},
    "the same, by an old browser of its own": {"origin": "null", "fetch_site": ""},
    "a link or a bookmark": {"origin": "", "fetch_site": "none"},
    "a name that begins like ours": {"origin": "http://127.0.0.1:9911.evil.example", "fetch_site": ""},
    "a name that ends like ours": {"origin": "http://evil.example@127.0.0.1:9911", "fetch_site": ""},
    "no site at all": {"origin": "file://", "fetch_site": ""},
    "a script": {"origin": "javascript:127.0.0.1:9911", "fetch_site": ""},
}


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("authorization", ["", ANN])
def test_a_page_of_another_site_cannot_act(case: str, authorization: str) -> None:
    """Not even with the right token, should it have got hold of one."""
    asked = site(PARTED if authorization else OPEN)
    reply = post(asked, "/jobs/sla-check/fire", authorization, token(asked, authorization), **FORGED[case])
    assert (reply.status, reply.refused) == (403, "forged")
    assert asked.acted == []


def test_a_form_needs_its_token() -> None:
    asked = site()
    right = token(asked)
    hour, _, signature = right.partition(".")
    wrong = ["", "x", right[:-1], right + "0", f".{signature}", f"{int(hour) + 1}.{signature}", f"{hour}.{'0' * 64}"]
    wrong += [f"-{right}", "²." + signature, f"{hour}.é", right.upper()[:-1]]
    for one in wrong:
        for headers in ({}, {"origin": "", "fetch_site": ""}):
            reply = post(asked, "/jobs/sla-check/fire", token=one, **headers)
            assert (reply.status, reply.refused) == (403, "forged"), one
    for content_type in (FORM, "text/plain", "multipart/form-data; boundary=x", ""):
        bare = post(asked, "/jobs/sla-check/fire", content_type=content_type, body=b"", origin="", fetch_site="")
        assert bare.status in (403, 415), content_type
    assert asked.acted == []


def test_a_form_that_is_too_old() -> None:
    asked = site()
    right = token(asked)
    asked.now += TOKEN_LIVES * 3600
    assert post(asked, "/jobs/sla-check/fire", token=right).status == 303
    asked.now += 3600
    reply = post(asked, "/jobs/sla-check/fire", token=right)
    assert reply.status == 403
    assert b"load the page again" in reply.body
    asked.now = NOON - 7200
    assert post(asked, "/jobs/sla-check/fire", token=right).status == 403, "from the future"


def test_a_form_that_another_user_was_shown() -> None:
    bob = Access(actors=Credentials(None, "bob", Secret("another-password", "authorization", "BOB")))
    anns, bobs = site(PARTED), site(bob)
    reply = post(bobs, "/jobs/sla-check/fire", basic("bob", "another-password"), token(anns, ANN))
    assert (reply.status, reply.refused, bobs.acted) == (403, "forged", [])
    everyones = site()
    assert post(anns, "/jobs/sla-check/fire", ANN, token(everyones)).status == 403


@pytest.mark.parametrize(
    ("authorization", "status", "refused"),
    [
        ("", 401, "no_credentials"),
        (f"Bearer {READ}", 403, "not_allowed"),
        (f"Bearer {ACT}x", 401, "wrong_credentials"),
        (f"Basic {READ}", 401, "wrong_credentials"),
        (basic("ann", READ), 401, "wrong_credentials"),
        (basic("bob", PASSWORD), 401, "wrong_credentials"),
        ("Bearer", 401, "wrong_credentials"),
    ],
)
def test_who_may_not_act(authorization: str, status: int, refused: str) -> None:
    asked = site(PARTED)
    for accept in ("text/html", "*/*"):
        reply = asked.ask("/jobs/sla-check/fire", "POST", authorization=authorization, accept=accept)
        assert (reply.status, reply.refused) == (status, refused)
        assert ("Basic" in reply.headers.get("WWW-Authenticate", "")) == (status == 401)
        assert ACT.encode() not in reply.body
    assert asked.acted == []


def test_actors_may_read_and_readers_see_no_buttons() -> None:
    asked = site(PARTED)
    assert asked.ask("/", authorization=ANN).status == 200
    for path in ("/", "/jobs/sla-check"):
        page = asked.ask(path, authorization=f"Bearer {READ}").body
        assert b"<button form" not in page
        assert b'name="token"' not in page
        assert b"/sign-in" in page


def test_signing_in_asks_for_the_credentials_of_somebody_who_may_act() -> None:
    open_to_read = site(Access(actors=PARTED.actors))
    refused = open_to_read.ask("/sign-in", accept="text/html")
    assert (refused.status, "Basic" in refused.headers["WWW-Authenticate"]) == (401, True)
    assert open_to_read.ask("/sign-in?job=sla-check", authorization=ANN).headers["Location"] == "/jobs/sla-check"
    for elsewhere in ("//evil.example", "/\\evil.example", "x%0d%0aSet-Cookie:a", "../..", ""):
        assert open_to_read.ask(f"/sign-in?job={elsewhere}", authorization=ANN).headers["Location"] == "/"


def test_without_a_setting_nobody_acts() -> None:
    for access in (Access(), Access(bearer=PARTED.bearer)):
        asked = site(access)
        code, said = api(asked, "/jobs/sla-check/fire", f"Bearer {READ}", {})
        assert code == 403
        assert "listen_actor_bearer_env" in said["error"]
        page = asked.ask("/jobs/sla-check", authorization=f"Bearer {READ}").body
        assert b'method="post"' not in page
        assert b"/sign-in" not in page


@pytest.mark.parametrize(
    "who", [{"peer": "192.0.2.7"}, {"peer": "2001:db8::1"}, {"by_proxy": True}, {"peer": ""}], ids=str
)
def test_loopback_means_this_machine(who: dict[str, Any]) -> None:
    asked = site()
    assert api(asked, "/jobs/sla-check/fire", "", {}, **who)[0] == 403
    assert b'method="post"' not in asked.ask("/", **who).body
    assert asked.acted == []


def test_behind_a_proxy_that_adds_tls_the_origin_is_ours() -> None:
    asked = site(Access(actors=PARTED.actors, hosts=frozenset({"cron.example.com"})))
    headers: dict[str, Any] = {"host": "cron.example.com", "by_proxy": True}
    mine = asked.ask("/", authorization=ANN, **headers).body.decode()
    right = re.findall(r'name="token" value="([^"]+)"', mine)[0]
    for origin in ("https://cron.example.com", "https://cron.example.com:443", "http://cron.example.com:80"):
        assert post(asked, "/jobs/sla-check/fire", ANN, right, origin=origin, **headers).status == 303
    assert (
        post(asked, "/jobs/sla-check/fire", ANN, right, origin="https://cron.example.com:8443", **headers).status == 403
    )


def test_a_name_that_is_not_ours_gets_nowhere() -> None:
    asked = site()
    assert post(asked, "/jobs/sla-check/fire", token=token(asked), host="evil.example").status == 421


BAD: dict[str, tuple[dict[str, Any], int]] = {
    "an unknown field": ({"fields": {"job": "other"}}, 400),
    "a field twice": ({"body": b"why=a&why=b&token="}, 400),
    "many fields": ({"body": b"&".join(b"a%d=1" % number for number in range(50))}, 400),
    "no text": ({"body": b"\xff\xfe=1"}, 400),
    "a long reason": ({"fields": {"why": "x" * 201}}, 400),
    "no duration": ({"fields": {"for": "soon"}}, 400),
    "a very long pause": ({"fields": {"for": "9999999999d"}}, 400),
    "a negative pause": ({"fields": {"for": "-2h"}}, 400),
    "the past": ({"fields": {"until": "2001-01-01T00:00Z"}}, 400),
    "both ends": ({"fields": {"until": "2099-01-01T00:00Z", "for": "1h"}}, 400),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_form_must_not_say(case: str) -> None:
    asked = site()
    more, status = BAD[case]
    reply = post(asked, "/jobs/sla-check/pause", token=token(asked), **more)
    assert reply.status == status, reply.body
    assert asked.acted == []
    assert b"\r" not in reply.body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400), (b"{}", 200), (b"", 200), (b'{"why": "x"}', 200),
        (b'{"why": 1}', 400), (b"1", 400), (b'"why"', 400), (b"null", 400), (b"[1]", 400),
        (b'{"why":"a","why":"b"}', 400),
        (b"{", 400), (b"\xff", 400), (b"[" * 4000, 400), (b'{"for":{"a":"b"}}', 400), (b"[[1,2,3]]", 400),
        (b'[["why","x"]]', 400),
    ],
)  # fmt: skip
def test_what_json_must_not_say(body: bytes, status: int) -> None:
    asked = site()
    reply = asked.ask("/jobs/sla-check/pause", "POST", body=body, content_type="application/json; charset=utf-8")
    assert reply.status == status, reply.body


def test_a_body_that_is_not_json_is_told_so() -> None:
    reply = site().ask("/jobs/sla-check/pause", "POST", body=b'{"why": x}', content_type="application/json")
    assert (reply.status, b"the body is not JSON: Expecting value at character 8" in reply.body) == (400, True)


@pytest.mark.parametrize(("read", "status"), [(413, 413), (408, 408), (400, 400)])
def test_a_body_that_was_not_read(read: int, status: int) -> None:
    asked = site()
    reply = asked.ask("/reload", "POST", body=read, content_type=FORM)  # type: ignore[arg-type]
    assert (reply.status, asked.acted) == (status, [])


def test_a_repeated_header_is_refused() -> None:
    asked = site()
    for name in ("Origin", "Host", "Authorization", "Content-Type"):
        assert post(asked, "/jobs/sla-check/fire", token=token(asked), repeated=name).status == 400


def test_a_refusal_says_why_and_holds_no_injection() -> None:
    asked = site()
    asked.parent = Answered(1, "refused", f"sla-check is already running {HOSTILE}")
    page = post(asked, "/jobs/sla-check/fire", token=token(asked))
    assert page.status == 409
    assert b"is already running" in page.body
    assert b"<script>alert" not in page.body
    code, said = api(asked, "/jobs/sla-check/fire", "", {})
    assert (code, "already running" in said["error"]) == (409, True)
    asked.parent = Answered(1, "silent", "no answer")
    assert api(asked, "/jobs/sla-check/fire", "", {})[0] == 503
    asked.parent = Answered(1, "unknown", "there is no job 'nope'")
    assert api(asked, "/jobs/nope/fire", "", {})[0] == 404
    assert asked.ask(f"/jobs/sla-check?did={HOSTILE[:8]}").body.count(b'class="said"') == 0


def test_paths_that_name_no_job() -> None:
    asked = site()
    for path in ("/jobs/../reload", "/jobs/a b/fire", "/jobs//fire", "/jobs/A/fire", f"/jobs/{'a' * 64}/fire", "/fire"):
        assert asked.ask(path, "POST", body=b"{}", content_type="application/json").status == 405
    assert asked.acted == []


def test_actions_are_limited() -> None:
    asked = site()
    codes = [api(asked, "/jobs/sla-check/fire", "", {})[0] for _ in range(BURST + 3)]
    assert codes == [200] * BURST + [429] * 3
    asked.clock += 2
    assert [api(asked, "/jobs/sla-check/fire", "", {})[0] for _ in range(3)] == [200, 200, 429]
    before = len(asked.acted)
    for _ in range(500):
        post(asked, "/jobs/sla-check/fire", token="forged")
    asked.clock += 1
    assert api(asked, "/jobs/sla-check/fire", "", {})[0] == 200, "forgeries take nothing from those who may act"
    assert len(asked.acted) == before + 1


def test_buttons_are_where_they_belong() -> None:
    asked = site()
    overview = asked.ask("/").body.decode()
    assert 'formaction="/jobs/sla-check/fire"' in overview
    assert 'formaction="/jobs/off/fire"' not in overview, "a disabled job has no process"
    assert 'formaction="/jobs/sla-check/resume"' not in overview
    assert "Pause</button>" in asked.ask("/jobs/sla-check").body.decode()
    assert 'method="post"' not in asked.ask("/jobs/off").body.decode()
    paused = site(OPEN, paused=True, paused_since=NOON, paused_why="<i>", paused_by="<b>")
    assert 'formaction="/jobs/sla-check/resume"' in paused.ask("/").body.decode()
    page = paused.ask("/jobs/sla-check").body.decode()
    assert "Resume</button>" in page
    assert "&lt;i&gt;" in page
    assert "<i>" not in page.replace('<i aria-hidden="true">', "")


def test_who_signs_in_gets_the_rows_with_buttons() -> None:
    """A page that is kept up to date in parts must not keep rows without buttons."""
    asked = site(Access(actors=PARTED.actors))
    with_buttons = asked.ask("/", authorization=ANN)
    without = asked.ask("/")
    assert b"<button form" not in without.body
    tag = without.headers["ETag"]
    assert asked.ask("/", has=tag, takes_parts=True).status == 304
    signed_in = asked.ask("/", authorization=ANN, has=tag, takes_parts=True)
    assert signed_in.body.count(b"<button form") == with_buttons.body.count(b"<button form") > 0
    assert asked.ask("/", authorization=ANN, has=signed_in.headers["ETag"], takes_parts=True).status == 304

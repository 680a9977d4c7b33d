"""The history on pages and as JSON: what an address asks the ledger, and that answers are as docs/openapi.json says."""

import json
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import jsonschema
import pytest

from exporter_rig import HOSTILE, NOON, Asked, job, world
from tocsin.exporter import runs
from tocsin.exporter.routes import SECURITY_HEADERS
from tocsin.ipc.actions import Acted, Actor
from tocsin.ipc.history import AT_MOST, WANTED, ActionRows, Actions, NoAnswer, OneRun, Place, Row, Rows, Slots
from tocsin.ipc.types import Outcome

OPENAPI = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
RUN = Row("sla-check", NOON, NOON, 1, "success", run_id="r-1", trigger="schedule", status=200, started=NOON, node="n",
          finished=NOON + 1, lateness=0.1, duration=1.0, reported={"unassigned": 2.0})  # fmt: skip
MISSED = Row("sla-check", NOON - 180, NOON - 60, 3, "missed", detail="the daemon was stopped")
RUNNING = Row("sla-check", NOON + 60, NOON + 60, 1, "running", run_id="r-2", trigger="manual")


@pytest.fixture
def site() -> Asked:
    site = Asked(*world(job()))
    site.past = Rows(1, (RUNNING, RUN, MISSED), Place(NOON - 180, "sla-check", 0))
    return site


def valid(answer: Any, schema: str) -> None:
    """Checks it against a schema of the OpenAPI file, in which references are resolved from its root."""
    document = {**OPENAPI, "$ref": f"#/components/schemas/{schema}", "unevaluatedProperties": False}
    checker = jsonschema.Draft202012Validator(document, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in checker.iter_errors(answer)] == []


def question(site: Asked, path: str) -> Any:
    assert site.ask(path).status == 200
    return site.asked[-1]


def test_an_address_asks_for_what_it_says(site: Asked) -> None:
    assert question(site, "/api/runs") == Slots()
    assert question(site, "/runs?job=&outcome=&limit=7") == Slots(limit=7)
    assert question(site, "/jobs/sla-check/runs?outcome=failed") == Slots("sla-check", "failed")
    assert question(site, "/jobs/removed-job/runs") == Slots("removed-job")
    assert question(site, "/api/runs?job=a&trigger=manual&node=n1&since=2026-11-28T12:00:00Z") == Slots(
        "a", trigger="manual", node="n1", since=1795867200.0
    )
    assert question(site, "/api/runs?before=2026-11-28") == Slots(before=Place(1795824000.0, "", 0))
    assert question(site, "/api/runs/r-1") == OneRun("r-1")


def test_every_word_of_the_filter_can_be_asked(site: Asked) -> None:
    for word in WANTED:
        assert question(site, f"/runs?outcome={word}") == Slots(outcome=word)  # type: ignore[arg-type]
        assert f'<option value="{word}" selected>'.encode() in site.ask(f"/runs?outcome={word}").body
    listed = OPENAPI["paths"]["/api/runs"]["get"]["parameters"][1]["schema"]["enum"]
    assert tuple(listed) == WANTED
    assert set(get_args(Outcome)) < set(OPENAPI["components"]["schemas"]["Run"]["properties"]["outcome"]["enum"])
    assert [one["name"] for one in OPENAPI["paths"]["/api/runs"]["get"]["parameters"]] == list(runs.KEYS)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcome=broken", "outcome='broken' is not known: use one of success"),
        ("trigger=me", "trigger='me' is not known"),
        ("limit=0", f"limit='0' is not a number from 1 to {AT_MOST}"),
        ("limit=501", "limit='501'"),
        ("limit=²", "limit='²'"),
        ("since=yesterday", "since='yesterday' is not an instant"),
        ("since=0001-01-01", "since='0001-01-01' is not an instant"),
        ("before=1_2", "before='1_2' is not an instant"),
        ("before=9999999999999_1_a", "is not a value from the `next` of an answer"),
        ("before=1.2.3_1_a", "is not a value from the `next` of an answer"),
        ("wat=1", "'wat' is not a parameter: use job, outcome"),
        ("job=a&job=b", "job is given twice"),
        (f"node={'n' * 201}", "node is longer than 200 characters"),
    ],
)
def test_a_bad_address_is_told_what_is_wrong_and_nobody_is_asked(site: Asked, query: str, words: str) -> None:
    status, said = site.json(f"/api/runs?{query}")
    assert status == 400
    assert words in said["error"]
    valid(said, "Error")
    page = site.ask(f"/runs?{query}", accept="text/html")
    assert page.status == 400
    assert page.content_type.startswith("text/html")
    assert not site.asked


def test_json_is_as_the_openapi_file_says(site: Asked) -> None:
    status, said = site.json("/api/runs?outcome=failed&limit=3")
    assert status == 200
    valid(said, "Runs")
    assert [(one["run_id"], one["job"], one["due"], one["outcome"], one["count"]) for one in said["runs"]] == [
        ("r-2", "sla-check", "2026-11-21T12:01:00.000Z", "running", 1),
        ("r-1", "sla-check", "2026-11-21T12:00:00.000Z", "success", 1),
        (None, "sla-check", "2026-11-21T11:57:00.000Z", "missed", 3),
    ]
    following = question(site, said["next"])
    assert following == Slots(outcome="failed", limit=3, before=Place(NOON - 180, "sla-check", 0))
    status, one = site.json("/api/runs/r-1")
    assert status == 200
    valid(one, "OneRun")
    assert one["outcome"] == "running"
    assert len(one["deliveries"]) == 3
    site.past = Rows(1, ())
    assert site.json("/api/runs")[1] == {"runs": [], "next": None}
    status, said = site.json("/api/runs/r-9")
    assert status == 404
    valid(said, "Error")


@pytest.mark.parametrize("spoiled", [{"outcome": "broken"}, {"due": None}, {"extra": 1}, {"count": 0}, {"run_id": 7}])
def test_the_openapi_file_refuses_what_is_wrong(site: Asked, spoiled: dict[str, Any]) -> None:
    _, said = site.json("/api/runs")
    said["runs"][0].update(spoiled)
    with pytest.raises(AssertionError):
        valid(said, "Runs")


def test_no_answer_is_said(site: Asked) -> None:
    site.past = NoAnswer(1, "the ledger's process did not answer within 3 s")
    for path in ("/api/runs", "/api/runs/r-1"):
        status, said = site.json(path)
        assert status == 503
        assert "did not answer within 3 s" in said["error"]
        valid(said, "Error")
    page = site.ask("/runs")
    assert page.status == 503
    assert b"did not answer within 3 s" in page.body
    assert site.ask("/runs/r-1").status == 503


def test_the_pages_link_to_each_other(site: Asked) -> None:
    page = site.ask("/runs?outcome=failed").body.decode()
    assert 'href="/runs/r-1"' in page
    assert "3 slots, to 2026-11-21 11:59:00 UTC" in page
    [older] = [part.split('"')[0] for part in page.split('href="')[1:] if "before=" in part.split('"')[0]]
    assert question(site, older.replace("&amp;", "&")) == Slots(
        outcome="failed", before=Place(NOON - 180, "sla-check", 0)
    )
    assert urlsplit(older).path == "/runs"
    site.past = Rows(1, (RUN,))
    page = site.ask("/runs/r-1").body.decode()
    for words in (
        "It counts as a success.",
        "2026-11-21 12:00:00.000 UTC",
        "unassigned",
        'href="/jobs/sla-check/runs"',
    ):
        assert words in page


def test_hostile_words_are_shown_as_words(site: Asked) -> None:
    site.past = Rows(1, (Row("a", NOON, NOON, 1, "http_error", detail=HOSTILE, run_id=HOSTILE, node=HOSTILE),))
    for path in ("/runs", "/runs/r-1", "/jobs/a/runs", "/runs?node=%3Cscript%3Ealert(1)%3C/script%3E"):
        assert b"<script>alert" not in site.ask(path).body
    assert b"<script>alert" not in site.ask("/runs?outcome=%3Cscript%3Ealert(1)%3C/script%3E").body


def test_what_is_no_id_and_no_job_is_nothing(site: Asked) -> None:
    for path in ("/api/runs/..%2f", "/jobs/NO/runs", "/runs/a/b", "/runs/A"):
        assert site.ask(path).status == 404, path
    assert not site.asked


def test_forms_go_nowhere_else() -> None:
    assert "form-action 'self'" in SECURITY_HEADERS["Content-Security-Policy"]


ACTED = [
    Acted(NOON + 5, "reload", "", Actor("SIGHUP", "signal")),
    Acted(NOON, "pause", "sla-check", Actor("ann", "page", "10.0.0.3"), HOSTILE[:100], NOON + 7200),
    Acted(NOON - 5, "fire", "sla-check", Actor("token ACT", "api", "::1"), run_id="r-1"),
]


def test_what_people_did(site: Asked) -> None:
    site.past = ActionRows(1, tuple(ACTED), NOON - 5)
    status, said = site.json("/api/actions?job=sla-check&since=2026-11-21T00:00Z&limit=3")
    assert (status, site.asked[-1]) == (200, Actions("sla-check", 1795219200.0, None, 3))
    valid(said, "Actions")
    assert [(one["action"], one["job"], one["by"]) for one in said["actions"]] == [
        ("reload", None, "SIGHUP"), ("pause", "sla-check", "ann"), ("fire", "sla-check", "token ACT")
    ]  # fmt: skip
    site.json(said["next"])
    assert site.asked[-1] == Actions("sla-check", 1795219200.0, NOON - 5, 50)
    for path in ("/actions", "/jobs/sla-check/actions"):
        page = site.ask(path, accept="text/html").body.decode()
        assert "ann<small>page, 10.0.0.3</small>" in page
        assert 'href="/runs/r-1"' in page
        assert "<script>alert" not in page
        assert 'rel="next"' in page
    for wrong in ("outcome=failed", "x=1", "before=soon", "limit=0"):
        assert site.json(f"/api/actions?{wrong}")[0] == 400
    site.past = NoAnswer(1, "the ledger's process did not answer within 3 s")
    assert site.json("/api/actions")[0] == 503
    assert site.ask("/actions").status == 503


def test_a_job_has_its_actions_beside_its_slots(site: Asked) -> None:
    site.state.recall_actions(ACTED[1:])
    site.tell(Acted(NOON + 9, "resume", "sla-check", Actor("bob")), Acted(NOON + 9, "fire", "other", Actor()))
    site.state.recall_actions(ACTED)
    page = site.ask("/jobs/sla-check").body.decode()
    section = page[page.index("<h2>Actions") :]
    assert [section.count(f"{name}<small>") for name in ("bob", "ann", "token ACT")] == [1, 1, 1]
    assert section.index("bob") < section.index("ann") < section.index("token ACT")
    assert "SIGHUP" not in section

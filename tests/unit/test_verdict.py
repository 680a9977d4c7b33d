"""Judging a reply: a table of what apps and proxies answer, and that nothing they could answer is an exception."""

import json
import math
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tocsin.call.failures import LONGEST_WAIT, retry_after
from tocsin.call.verdict import EXCERPT, EXCERPT_FROM, Expectation, Verdict, _parsed, excerpt, judge, status_class
from tocsin.config.secrets import Secret
from tocsin.ipc.types import OUTCOMES, STATUS_CLASSES, ReportedError
from tocsin.redact import redact

JSON = "application/json"
HTML = "text/html; charset=utf-8"
PLAIN = Expectation()
PAGE = b"<!DOCTYPE html><html><head><title>Sign in\n - App</title></head></html>"


def reply(value: Any) -> bytes:
    return json.dumps(value).encode()


FINE: list[tuple[int, str, bytes]] = [
    (200, JSON, b'{"success": true, "unassignedCount": 3, "timestamp": "2027-01-15T08:00:00Z", "durationMs": 45}'),
    (200, JSON, b'{"success": 1}'),
    (200, JSON, b'{"ok": true, "error": null}'),
    (200, JSON, b'{"error": ""}'),
    (200, JSON, b'{"error": "  "}'),
    (200, JSON, b'{"errors": 0}'),
    (200, JSON, b'{"errors": []}'),
    (200, JSON, b'{"errors": {}, "error": [], "data": [1]}'),
    (200, JSON, b'{"errors": null, "error": {}, "data": [1]}'),
    (200, JSON, b'{"ok": true, "errors": 2}'),
    (200, JSON, b'{"error": false, "message": "sent"}'),
    (200, JSON, b'{"error": 0}'),
    (200, JSON, b'{"success": true, "errors": ["one of ten was skipped"]}'),  # it says that it is one all the same
    (200, JSON, b'{"ok": 1, "status": "failed", "id": 7}'),  # of what it worked on
    (200, JSON, b'{"status": "success"}'),
    (200, JSON, b'{"status": "ok", "message": "no errors"}'),
    (200, JSON, b'{"status": 500}'),
    (200, JSON, b'{"status": ["error"]}'),
    (200, JSON, b'{"success": "done"}'),
    (200, JSON, b'{"success": 0, "failed": 0}'),  # counts
    (200, JSON, b'{"success": true, "error": "none"}'),
    (200, JSON, b'{"error": " False "}'),
    (200, JSON, b'{"error": {"code": 0, "message": ""}}'),
    (200, JSON, b'{"error": {"code": null, "message": "OK"}}'),
    (200, JSON, b'{"errors": {"email": [], "name": null}}'),
    (200, JSON, b'{"errors": [null]}'),
    (200, JSON, b'{"data": {"success": false, "error": "not ours"}}'),
    (200, JSON, b'[{"success": false}]'),
    (200, JSON, b"null"),
    (200, JSON, b"0"),
    (200, JSON, b""),
    (200, JSON, b" \r\n"),
    (204, "", b""),
    (204, HTML, b""),
    (200, HTML, b"\r\n"),
    (200, HTML, b"OK"),  # as Express, Flask and PHP say of every text
    (200, HTML, b'{"success": true}'),
    (202, "text/plain", b"accepted"),
    (200, "text/plain", b"OK"),
    (200, "", b"\xff\x00\x01"),
    (200, "text/plain", b"{not json"),
    (299, "application/problem+json", b"{}"),
    (200, JSON, b'\xef\xbb\xbf{"success": true}'),
]


@pytest.mark.parametrize(("status", "kind", "body"), FINE)
def test_what_is_fine(status: int, kind: str, body: bytes) -> None:
    assert judge(PLAIN, status, kind, body) == Verdict("success")


INVALID: list[tuple[str, bytes, str]] = [
    (JSON, b'{"success": false}', "answered success: false"),
    (JSON, b'{"success": false, "error": "no database"}', "answered success: false: no database"),
    (JSON, b'{"success": 0}', "answered success: 0"),
    (JSON, b'{"success": 0, "failed": 3}', "answered success: 0"),
    (JSON, b'{"success": false, "failed": 0}', "answered success: false"),
    (JSON, b'{"success": "false", "message": "no database"}', 'answered success: "false": no database'),
    (JSON, b'{"ok": "NO"}', 'answered ok: "NO"'),
    (JSON, b'{"error": {"code": 7}}', "answered an error"),
    (JSON, b'{"error": "0 of 3 done"}', "answered an error: 0 of 3 done"),
    (JSON, b'{"success": 0.0}', "answered success: 0.0"),
    (JSON, b'{"ok": false}', "answered ok: false"),
    (JSON, b'{"success": true, "ok": 0}', "answered ok: 0"),
    (JSON, b'{"success": true, "error": "half of it failed"}', "answered an error: half of it failed"),
    (JSON, b'{"data": null, "error": {"message": "boom", "code": "X1"}}', "answered an error: boom"),
    (JSON, b'{"error": {"code": "X1"}}', "answered an error: X1"),
    (JSON, b'{"error": {"email": ["is taken"]}}', "answered an error"),
    (JSON, b'{"error": true, "message": "boom"}', "answered an error: boom"),
    (JSON, b'{"error": true}', "answered an error"),
    (JSON, b'{"success": true, "error": ["boom", "bang"]}', "answered an error: boom"),
    (JSON, b'{"success": false, "message": "no database"}', "answered success: false: no database"),
    (JSON, b'{"success": false, "error": {"message": "no database"}}', "answered success: false: no database"),
    (JSON, b'{"ok": false, "errors": [{"detail": "no database"}]}', "answered ok: false: no database"),
    (JSON, b'{"data": null, "errors": [{"message": "boom"}, {"message": "bang"}]}', "answered errors: boom"),
    (JSON, b'{"errors": ["boom"], "processed": 3}', "answered errors: boom"),
    (JSON, b'{"errors": {"email": ["is taken"]}, "message": "invalid"}', "answered errors: invalid"),
    (JSON, b'{"errors": true}', "answered errors"),
    (JSON, b'{"status": "error", "message": "no database"}', 'answered status: "error": no database'),
    (JSON, b'{"status": "Fail", "data": {}}', 'answered status: "Fail"'),
    ("", b'{"success": false}', "answered success: false"),
    ("text/plain", b'{"error": "no"}', "answered an error: no"),
    (JSON, b'{"error": "\\ud800\\u001b[31m two\\nlines"}', "answered an error: ��[31m two lines"),
    (JSON, b'{"success": tru', 'the reply is not JSON: {"success": tru'),
    (JSON, b"<html>no</html>", "answered an HTML page: a login or error page?"),
    (JSON, b"\x00\xff", "the reply is not JSON: ��"),
    (JSON, b"[" * 100_000, "the reply is not JSON: " + "[" * (EXCERPT - 1) + "…"),
    (JSON, b"1" * 5000, "the reply is not JSON: " + "1" * (EXCERPT - 1) + "…"),
    (HTML, PAGE, 'answered an HTML page titled "Sign in - App": a login or error page?'),
    (HTML, b" <p>Done</p>", "answered an HTML page: a login or error page?"),
    (HTML, b'{"success": false}', "answered success: false"),
    ("text/plain", b" \n <!doctype HTML><p>", "answered an HTML page: a login or error page?"),
]


@pytest.mark.parametrize(("kind", "body", "detail"), INVALID, ids=range(len(INVALID)))
def test_what_is_invalid(kind: str, body: bytes, detail: str) -> None:
    found = judge(PLAIN, 200, kind, body)
    assert (found.outcome, found.detail) == ("invalid_response", detail)


WRONG_STATUS: list[tuple[int, str, bytes, str, str]] = [
    (401, JSON, b'{"error":"no"}', "unauthorized", '401: {"error":"no"}'),
    (401, "", b"", "unauthorized", "401"),
    (403, "", b"", "http_error", "403 (is the secret right, and is this machine allowed to call?)"),
    (404, HTML, PAGE, "http_error", '404 titled "Sign in - App" (is the path right, and is the app deployed?)'),
    (405, "", b"", "http_error", "405 (is the method right?)"),
    (429, "text/plain", b"slow down", "http_error", "429: slow down (the server asks to be called less often)"),
    (500, "text/plain", b"boom\n at x.js:1", "http_error", "500: boom at x.js:1 (the app's log may say why)"),
    (503, "", b"", "http_error", "503 (the server is starting, stopping or overloaded)"),
    (302, "", b"", "http_error", "302"),
    (100, "", b"", "http_error", "100"),
    (999, "", b"", "http_error", "999 (the app's log may say why)"),
]


@pytest.mark.parametrize(("status", "kind", "body", "outcome", "detail"), WRONG_STATUS)
def test_wrong_statuses(status: int, kind: str, body: bytes, outcome: str, detail: str) -> None:
    assert judge(PLAIN, status, kind, body) == Verdict(outcome, detail)  # type: ignore[arg-type]


EXPECTED: list[tuple[Expectation, int, bytes, str]] = [
    (Expectation(status=["204"]), 200, b"", "http_error"),
    (Expectation(status=["404", "2xx"]), 404, b"", "success"),
    (Expectation(status=["3xx"]), 302, b"", "success"),
    (Expectation(status=["401"]), 401, b"", "success"),
    (Expectation(status=["302"]), 302, PAGE, "success"),
    (Expectation(status=["404"]), 404, b'{"error": "gone"}', "success"),
    (Expectation(status=["404"], json=[("error", "gone")]), 404, b'{"error": "found"}', "invalid_response"),
    (Expectation(html=True), 200, PAGE, "success"),
    (Expectation(html=True), 500, PAGE, "http_error"),
    (Expectation(html=True), 200, b'{"success": false}', "invalid_response"),
    (Expectation(json=[("success", True)]), 200, b'{"success": true, "error": "known"}', "success"),
    (Expectation(json=[("success", False)]), 200, b'{"success": false}', "success"),
    (Expectation(json=[("success", True)]), 200, b'{"success": 1}', "invalid_response"),
    (Expectation(json=[("done", 1.0)]), 200, b'{"done": 1}', "success"),
    (Expectation(json=[("done", 1)]), 200, b'{"done": 1.0}', "success"),
    (Expectation(json=[("done", 1)]), 200, b'{"done": true}', "invalid_response"),
    (Expectation(json=[("done", 1)]), 200, b'{"done": 2}', "invalid_response"),
    (Expectation(json=[("success", True)]), 200, b'{"success": "true"}', "invalid_response"),
    (Expectation(json=[("success", True)]), 200, b"{}", "invalid_response"),
    (Expectation(json=[("success", True)]), 200, b"", "invalid_response"),
    (Expectation(json=[("success", True)]), 200, b"[true]", "invalid_response"),
    (Expectation(json=[("success", True)]), 200, PAGE, "invalid_response"),
    (Expectation(json=[("a.b", 3)]), 200, b'{"a": {"b": 3}}', "success"),
    (Expectation(json=[("a.b", 3)]), 200, b'{"a.b": 3}', "invalid_response"),
    (Expectation(json=[("a.b", 3)]), 200, b'{"a": [3]}', "invalid_response"),
    (Expectation(json=[("a", "x"), ("b", "y")]), 200, b'{"a": "x", "b": "z"}', "invalid_response"),
]


@pytest.mark.parametrize(("expected", "status", "body", "outcome"), EXPECTED)
def test_what_the_job_file_expects_overrides(expected: Expectation, status: int, body: bytes, outcome: str) -> None:
    assert judge(expected, status, "", body).outcome == outcome


def test_what_differs_is_named() -> None:
    expected = Expectation(json=[("a.b", 3)])
    for body, detail in (
        (b'{"a": {"b": "x"}}', 'a.b is "x" where 3 is expected'),
        (b'{"a": {}}', "a.b is missing where 3 is expected"),
        (b'{"a": {"b": [3]}}', "a.b is a list where 3 is expected"),
        (b'{"a": 1, "error": "db down"}', "a.b is missing where 3 is expected: db down"),
        (b'{"message": "db down"}', "a.b is missing where 3 is expected: db down"),
        (b'{"error": {"message": "db\\ndown"}}', "a.b is missing where 3 is expected: db down"),
        (PAGE, 'answered an HTML page titled "Sign in - App": a login or error page?'),
        (b"db down", "the reply is not JSON: db down"),
        (b"", "a.b is missing where 3 is expected"),
    ):
        assert judge(expected, 200, JSON, body).detail == detail


TOTALS: list[tuple[bytes, float | ReportedError]] = [
    (b'{"a": {"n": 3}}', 3.0),
    (b'{"a": {"n": 0}}', 0.0),
    (b'{"a": {"n": 2.5}}', 2.5),
    (b'{"a": {"n": 9007199254740992}}', 2.0**53),
    (b'{"a": {"n": 9007199254740993}}', "not_a_number"),
    (b'{"a": {"n": -1}}', "not_a_number"),
    (b'{"a": {"n": true}}', "not_a_number"),
    (b'{"a": {"n": "3"}}', "not_a_number"),
    (b'{"a": {"n": [3]}}', "not_a_number"),
    (b'{"a": {"n": NaN}}', "not_a_number"),
    (b'{"a": {"n": Infinity}}', "not_a_number"),
    (b'{"a": {"n": 1e999}}', "not_a_number"),
    (b'{"a": {"n": ' + b"9" * 400 + b"}}", "not_a_number"),
    (b'{"a": {"n": null}}', "missing"),
    (b'{"a": {}}', "missing"),
    (b'{"a": [3]}', "missing"),
    (b'{"a.n": 3}', "missing"),
    (b"[]", "missing"),
    (b"", "missing"),
    (b"plain text", "missing"),
]


@pytest.mark.parametrize(("body", "right"), TOTALS, ids=[repr(body[:30]) for body, _ in TOTALS])
def test_totals(body: bytes, right: float | ReportedError) -> None:
    found = judge(Expectation(totals=[("n", "a.n")]), 200, "", body)
    assert found.outcome == "success", "a missing number is no failure"
    if isinstance(right, str):
        assert (found.reported, found.reported_errors) == ({}, {"n": right})
    else:
        assert (found.reported, found.reported_errors) == ({"n": right}, {})
        assert isinstance(found.reported["n"], float)


def test_totals_of_a_failure_are_not_reported() -> None:
    found = judge(Expectation(totals=[("n", "n")]), 200, JSON, b'{"success": false, "n": 3}')
    assert (found.reported, found.reported_errors) == ({}, {})


@pytest.mark.parametrize(
    ("status", "name"),
    [(200, "2xx"), (299, "2xx"), (302, "3xx"), (400, "4xx"), (401, "401"), (403, "403"), (500, "5xx"), (100, "5xx")],
)
def test_status_classes(status: int, name: str) -> None:
    assert status_class(status) == name


def test_an_excerpt_is_one_printable_line() -> None:
    assert excerpt(b" a\n\tb\x00\x1b[2J\xff") == "a b��[2J�"
    assert len(excerpt(b"x" * 10_000)) == EXCERPT


# ---- anything at all

values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from([10**400, -0.0])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["success", "ok", "error", "errors", "a", "n", ""]), inner, max_size=4),
    ),
    max_leaves=6,
)
bodies = st.one_of(
    st.binary(max_size=60),
    values.map(reply),
    values.map(lambda value: reply(value)[:-1]),
    values.map(lambda value: json.dumps(value).encode("utf-16")),
    st.builds(
        lambda depth, close: b'{"a":' + b"[" * depth + b"]" * depth * close + b"}", st.integers(0, 3000), st.booleans()
    ),
)
expectations = st.builds(
    Expectation,
    status=st.sampled_from([["2xx"], ["200", "404"]]),
    json=st.sampled_from([[], [("success", True)], [("a", 1.5)], [("a.n", "x"), ("", 1)]]),
    totals=st.sampled_from([[], [("n", "n"), ("m", "a.n"), ("o", "")]]),
)


@settings(max_examples=300)
@given(expectations, st.integers(0, 1100), st.one_of(st.text(max_size=20), st.sampled_from([JSON, HTML])), bodies)
@example(Expectation(json=[("a", True)]), 200, JSON, b'{"a":' + b"[" * 990 + b"]" * 990 + b"}")
def test_every_reply_ends_in_an_outcome(expected: Expectation, status: int, kind: str, body: bytes) -> None:
    for code in (status, 200):
        found = judge(expected, code, kind, body)
        assert found.outcome in OUTCOMES
        assert found.detail.isprintable()
        assert len(found.detail) <= 2 * EXCERPT + 100
        assert found.outcome == "success" or (found.detail and not found.reported)
        assert all(math.isfinite(number) and number >= 0 for number in found.reported.values())
        assert set(found.reported_errors.values()) <= set(get_args(ReportedError))
        assert status_class(code) in STATUS_CLASSES


@pytest.mark.parametrize("depth", range(900, 1010, 3))
def test_a_nested_reply_at_the_limit_of_recursion(depth: int) -> None:
    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert judge(Expectation(json=[("a", True)]), 200, JSON, body).outcome == "invalid_response"


# ---- Retry-After

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("99999999999999", LONGEST_WAIT),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2077 07:00:00 GMT", LONGEST_WAIT),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Jan 2027 08:00:30 GMT", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


dates = st.text(st.sampled_from("0123456789 :,-+FriJanGMTZ\t()"), max_size=40)


@given(st.one_of(st.text(max_size=30), dates))
def test_any_retry_after_is_a_wait_or_nothing(header: str) -> None:
    found = retry_after(header, NOW)
    assert found is None or 0 <= found <= LONGEST_WAIT


@given(st.one_of(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(reply),
    st.sampled_from([
        b"", b"  ", b'{"a": 1, "a": 2}', b'"\\ud800"', b"\xef\xbb\xbf1", "1".encode("utf-16"), b"NaN", b"-0", b"1e400",
        b"01", b"[1,]", b"'a'", b"\xff", b"1 2", b"18446744073709551616", b"[" * 100_000, b"1E5", b"-",
    ]),
    st.binary(max_size=20),
))  # fmt: skip
def test_the_quick_parser_reads_what_the_thorough_one_reads(body: bytes) -> None:
    def by(parse: Any) -> Any:
        try:
            return repr(parse(body))
        except (ValueError, RecursionError):
            return None

    assert by(_parsed) == by(lambda text: json.loads(text) if text.strip() else None)


@pytest.mark.usefixtures("nothing_is_secret_yet")
@pytest.mark.parametrize("begin", [b" ", b"<title>"])
@pytest.mark.parametrize("status", [200, 500])
def test_of_a_secret_at_the_cut_nothing_is_shown(status: int, begin: bytes) -> None:
    redact.hide(Secret("0123456789abcdef", "bearer", "X").parts())
    for before in range(EXCERPT_FROM - 20, EXCERPT_FROM + 4):
        body = begin + b" " * (before - len(begin)) + b"0123456789abcdef</title>"
        verdict = judge(PLAIN, status, JSON, body[: EXCERPT_FROM + 1] if status == 500 else body)
        assert "0123" not in verdict.detail


@pytest.mark.usefixtures("nothing_is_secret_yet")
def test_a_long_secret_leaves_the_beginning_of_a_reply() -> None:
    redact.hide(Secret("0123-abc." * 100, "bearer", "X").parts())
    assert excerpt(b"the database is down " + b"x " * EXCERPT_FROM).startswith("the database is down")

"""What is kept of an attempt, and for how long."""

import msgspec
import pytest
from msgspec.structs import replace

from ledger_rig import Ledger, T, ask, finished
from tocsin.call.kept import kept, told
from tocsin.call.verdict import EXCERPT_FROM
from tocsin.ipc.channel import MESSAGE_SIZE
from tocsin.ipc.history import OneRun
from tocsin.ipc.job import Finished
from tocsin.ipc.ledger import Entry
from tocsin.ipc.tried import Parts, Tried
from tocsin.ipc.types import (
    ATTEMPT_LENGTH,
    ATTEMPTS_TOLD,
    DETAIL_LENGTH,
    HEAD_LENGTH,
    REPLY_LENGTH,
    Keep,
    Outcome,
)
from tocsin.redact import REDACTED, redact


@pytest.mark.parametrize(
    ("keep", "outcome", "is_kept"),
    [
        ("failures", "success", False),
        ("failures", "http_error", True),
        ("failures", "invalid_response", True),
        ("failures", "cancelled", False),
        ("all", "success", True),
        ("none", "http_error", False),
    ],
)
def test_replies_are_kept_as_the_job_file_says(keep: Keep, outcome: Outcome, is_kept: bool) -> None:
    assert kept(keep, outcome, b"words\nand more") == ("words\nand more" if is_kept else "")


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe\x00", b"GIF89a\x00\x01", b"half \xc3", "caf\u00e9".encode("latin-1"), b"\x1b[31m"]
)
def test_only_text_is_kept(body: bytes) -> None:
    assert kept("all", "success", body) == ""


def test_the_beginning_of_a_long_text_is_kept_in_whole_characters() -> None:
    for long in ("x" * 5000, "\u20ac" * 20_000, "a" + "\u20ac" * 20_000):
        text = kept("all", "success", long.encode())
        assert REPLY_LENGTH - 3 < len(text.encode()) <= REPLY_LENGTH
        assert long.startswith(text)


def test_no_part_of_a_secret_is_kept_wherever_it_stands() -> None:
    secret = "S3cret-of-the-app-0123456789"
    redact.hide([secret])
    for before in (*range(REPLY_LENGTH - 40, REPLY_LENGTH + 2), *range(EXCERPT_FROM - 40, EXCERPT_FROM + 2)):
        text = kept("all", "success", b"x" * before + secret.encode() + b"y" * 100)
        assert "S3cr" not in text
    assert kept("all", "success", f'{{"token": "{secret}"}}'.encode()) == f'{{"token": "{REDACTED}"}}'


def test_the_ledger_keeps_a_reply_for_a_shorter_time_than_its_slot(ledger: Ledger) -> None:
    ledger.ledger.idle(T)  # looks for old rows, and then not for ten minutes
    for due, at in ((T, T + 1), (T + 60, T + 61)):
        ledger.put(ask(due))
        ledger.put(replace(finished(due, "http_error", at=at), reply=f"reply of {due - T:.0f}"))

    def replies() -> list[str]:
        reader = ledger.reader()
        return [reader.find(OneRun(f"run-{due}-0")).rows[0].reply for due in (T, T + 60)]

    assert replies() == ["reply of 0", "reply of 60"]
    ledger.ledger.idle(T + 30 + 7 * 86400)
    assert replies() == ["", "reply of 60"]
    ledger.ledger.idle(T + 61 + 8 * 86400)
    assert replies() == ["", ""]
    assert len(ledger.rows()) == 2


PARTS = Parts(1_500, 300, 20_000, 8_000, 9_000, True)
KEPT = Tried(
    "http_error", "503", 503, T + 0.5, PARTS, "POST https://app.example/api\nHost: app.example", 7, "HTTP/1.1 503", ""
)


def test_a_ledger_gives_back_what_it_was_told_of_a_run(ledger: Ledger) -> None:
    """In both stores: this test runs on PostgreSQL, too."""
    earlier = replace(KEPT, reply="wait\na moment\0")
    failed = replace(
        finished(T, "http_error"),
        reply="busy",
        duration=2.0,
        retries=1,
        parts=PARTS,
        attempts=(earlier, KEPT),
        status=503,
    )
    plain = replace(finished(T + 60), duration=0.25, parts=replace(PARTS, whole=None, lookup=None), started=T + 60.001)
    ledger.put(ask(), failed, ask(T + 60), plain, ask(T + 120), replace(finished(T + 120, "lost"), parts=None))
    [row] = ledger.reader().find(OneRun(failed.run_id)).rows
    assert (row.reply, row.tries) == ("busy", 2)
    assert row.tried[1] == replace(KEPT, reply="busy")
    assert row.tried[0].reply == "wait\na moment\0"
    assert (row.tried[0].parts, row.tried[0].request, row.tried[0].body_size) == (PARTS, KEPT.request, 7)
    [row] = ledger.reader().find(OneRun(plain.run_id)).rows
    assert (row.attempts, row.reply) == ((), "")
    parts = replace(PARTS, whole=250_000, lookup=None)
    assert row.tried == (Tried("success", plain.detail, None, T + 60.001, parts),)
    [row] = ledger.reader().find(OneRun(f"run-{T + 120}-0")).rows
    assert (row.tries, row.tried) == (0, ())


def test_what_is_kept_of_attempts_is_deleted_with_the_replies(ledger: Ledger) -> None:
    run = replace(finished(T, "http_error", at=T), retries=1, parts=PARTS, attempts=(KEPT, KEPT), reply="busy")
    ledger.put(ask(), run)
    ledger.ledger.idle(T + 8 * 86400)
    [row] = ledger.reader().find(OneRun(run.run_id)).rows
    assert (row.tries, row.tried, row.reply) == (2, (), ""), "of two attempts no single one is made up"


def test_the_most_that_is_kept_fits_into_a_message() -> None:
    """Quotes take two bytes in JSON, and no text on a line takes more."""
    quotes = Tried(
        *("invalid_response", "€" * ATTEMPT_LENGTH, 599, T + 0.123456, Parts(2**40, 2**40, 2**40, 2**40, 2**40)),
        *('"' * HEAD_LENGTH, 10**9, '"' * HEAD_LENGTH, '"' * REPLY_LENGTH),
    )
    attempts = told([quotes] * 30)
    assert len(attempts) == ATTEMPTS_TOLD
    run = Finished(
        *("a" * 63, T, "r" * 36, "schedule", 0, "invalid_response", "€" * DETAIL_LENGTH),
        reported={f"{'n' * 60}{number}": 2.0**52 for number in range(8)},
        responses=("4xx",) * 21,
        connection_errors=("connect_timeout",) * 21,
        reply='"' * REPLY_LENGTH,
        attempts=attempts,
    )
    packet = msgspec.json.encode(Entry(2**50, run))
    assert len(packet) < MESSAGE_SIZE - 4096
    assert msgspec.json.decode(packet, type=Entry).body == run


def test_one_attempt_of_which_nothing_is_kept_needs_no_words() -> None:
    plain = Tried("success", "", 200, T + 0.0, PARTS)
    assert told([plain]) == ()
    assert told([plain, plain]) == (plain, plain)
    assert told([KEPT]) == (KEPT,)

"""What is kept of a reply, and for how long."""

import pytest
from msgspec.structs import replace

from ledger_rig import Ledger, T, ask, finished
from tocsin.call.kept import kept
from tocsin.call.verdict import EXCERPT_FROM
from tocsin.ipc.history import OneRun
from tocsin.ipc.types import REPLY_LENGTH, Keep, Outcome
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

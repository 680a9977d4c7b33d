"""The secret: what is refused, how it travels, and that it stays out of sight."""

import json
import os
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import disguises
from tocsin.config import secrets
from tocsin.config.secrets import Secret, SecretError
from tocsin.redact import REDACTED, Redactor, names_a_secret

GOOD = "0123456789abcdef-not-guessed"

REFUSED = [
    ("", "is empty; make one with: openssl rand -hex 32"),
    ("   ", "is empty; make one with: openssl rand -hex 32"),
    ("\n", "is empty; make one with: openssl rand -hex 32"),
    ("undefined", 'holds the word "undefined", not a secret'),
    ("null", 'holds the word "null", not a secret'),
    ("None", 'holds the word "None", not a secret'),
    (" NULL ", 'holds the word "NULL", not a secret'),
    ("line\nbreak-of-a-secret", "holds a line break"),
    ("line\rbreak-of-a-secret", "holds a line break"),
    ("pässword-of-a-secret", "holds characters that are not printable ASCII"),
    ("tab\tof-a-secret", "holds characters that are not printable ASCII"),
    ("nul\0of-a-secret", "holds characters that are not printable ASCII"),
    (" space-of-a-secret", "begins or ends with a space"),
    ("space-of-a-secret ", "begins or ends with a space"),
]


@pytest.mark.parametrize(("value", "why"), REFUSED)
def test_what_is_no_secret_is_refused(value: str, why: str) -> None:
    with pytest.raises(SecretError, match=f"^{why}$"):
        secrets.check(value)
    with pytest.raises(SecretError, match=f"^environment variable CRON_SECRET {why}$"):
        secrets.from_environment("CRON_SECRET", "bearer", {"CRON_SECRET": value})


@given(st.text(max_size=30))
def test_check_accepts_or_refuses_without_repeating(value: str) -> None:
    why = ""
    try:
        assert secrets.check(value) == value
    except SecretError as error:
        why = str(error)
    assert len(value) < 8 or value not in why
    assert why or (value.isascii() and value.isprintable())


def test_the_secret_of_a_variable() -> None:
    secret = secrets.from_environment("CRON_SECRET", "bearer", {"CRON_SECRET": GOOD})
    assert secret == Secret(GOOD, "bearer", "CRON_SECRET")
    assert secret.reread() is secret


def test_a_variable_that_is_not_set_is_named() -> None:
    why = r"^environment variable CRON_SECRET is not set \(set it, or put it into .env\)$"
    with pytest.raises(SecretError, match=why):
        secrets.from_environment("CRON_SECRET", "bearer", {})


@pytest.mark.parametrize("mistake", ["abcdef0123456789abcdef", "deadBEEFdeadBEEF"])
def test_a_secret_in_the_place_of_a_variable_is_not_repeated(mistake: str) -> None:
    with pytest.raises(SecretError) as raised:
        secrets.from_environment(mistake, "bearer", {})
    assert mistake not in str(raised.value)


def test_nothing_shows_the_value() -> None:
    secret = Secret(GOOD, "bearer", "CRON_SECRET")
    assert GOOD not in f"{secret!r} {secret} {secret!s}"


@pytest.mark.parametrize(
    ("sent", "header"),
    [
        ("header:x-cron-secret", ("x-cron-secret", GOOD)),
        ("bearer", ("Authorization", f"Bearer {GOOD}")),
        ("authorization", ("Authorization", GOOD)),
        ("query:secret", None),
    ],
)
def test_the_header_that_carries_it(sent: str, header: tuple[str, str] | None) -> None:
    assert Secret(GOOD, sent, "X").header() == header
    assert (Secret(GOOD, sent, "X").into_query("/x?a=1") == "/x?a=1") == (header is not None)


@pytest.mark.parametrize("target", ["/x", "/x?a=1", "/x?a=%26"])
@pytest.mark.parametrize("value", [GOOD, "a&b=c#d e+f%20/?"])
def test_the_query_carries_it_whole(target: str, value: str) -> None:
    filled = Secret(value, "query:my key", "X").into_query(target)
    assert filled.startswith(target)
    parts = urlsplit(filled)
    assert parse_qsl(parts.query)[-1] == ("my key", value)
    assert parts.path == "/x"
    assert not parts.fragment


@pytest.mark.parametrize("raw", [b"%s", b"%s\n", b"%s\r\n"])
def test_the_secret_of_a_file(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(raw % GOOD.encode())
    assert secrets.from_file(file, "bearer") == Secret(GOOD, "bearer", str(file), file)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is empty"),
        (b"two\nlines-of-a-secret\n", "holds a line break"),
        (b"\n\n", "is empty"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "not printable ASCII"),
        (b"\xff\xfe\x00", "not printable ASCII"),
        (b"x" * 4097, "it is larger than 4096 bytes, too much for a secret"),
    ],
)
def test_a_file_that_holds_no_secret(tmp_path: Path, raw: bytes, why: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(raw)
    with pytest.raises(SecretError) as raised:
        secrets.from_file(file, "bearer")
    assert str(raised.value).removeprefix("cannot read ").startswith(str(file))
    assert why in str(raised.value)
    assert "lines-of" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file, why in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "it is a folder"),
        (tmp_path / "pipe", r"it is a pipe, which can be read only once.* \(op run -- tocsin run\)"),
    ):
        with pytest.raises(SecretError, match=f"cannot read .*: {why}$"):
            secrets.from_file(file, "bearer")


def test_rotation_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("the-first-secret\n")
    first = secrets.from_file(file, "bearer")
    assert first.reread() == first
    file.write_text("the-second-secret\n")
    assert first.reread() == Secret("the-second-secret", "bearer", str(file), file)
    file.unlink()
    with pytest.raises(SecretError):
        first.reread()


# ---- redaction

hard = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20)


@given(hard, st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_a_secret_passes(value: str, before: str, after: str) -> None:
    redact = Redactor()
    secret = Secret(value, "query:s", "X")
    redact.hide(secret.parts())
    query = secret.into_query("/x")
    for form in (value, query, json.dumps({"detail": value}, ensure_ascii=False), json.dumps(query)):
        assert value not in redact(before + form + after).replace(REDACTED, "\0")
    assert json.dumps(value)[1:-1] not in redact(json.dumps(value))


@given(hard, st.text(max_size=5), st.text(max_size=5))
def test_no_disguise_of_a_secret_passes(value: str, before: str, after: str) -> None:
    redact = Redactor()
    redact.hide(Secret(value, "query:s", "X").parts())
    for form in disguises(value):
        assert form not in redact(before + form + after).replace(REDACTED, "\0")
        assert len(form) <= redact.longest


def test_the_old_secret_stays_hidden_after_a_rotation() -> None:
    redact = Redactor()
    assert redact("nothing to hide") == "nothing to hide"
    redact.hide(Secret("the-first-secret", "bearer", "X").parts())
    redact.hide(Secret("the-second-secret", "bearer", "X").parts())
    assert redact("the-first-secret, the-second-secret") == "[redacted], [redacted]"


def test_a_secret_that_an_app_repeats_in_other_letters_is_hidden() -> None:
    redact = Redactor()
    redact.hide(["Ab+Cd-0123456789"])
    assert redact("x-token: ab+cd-0123456789, AB%2BCD-0123456789") == "x-token: [redacted], [redacted]"


def test_the_longer_of_two_secrets_goes_first() -> None:
    redact = Redactor()
    redact.hide(["secret", "secret-and-more"])
    assert redact("secret-and-more") == "[redacted]"


@pytest.mark.parametrize(
    ("sent", "value", "parts"),
    [
        ("bearer", "Basic eDp5", {"Basic eDp5"}),
        ("signature", "whsec_abcd", {"abcd"}),
        ("authorization", "Token abcdef", {"Token abcdef", "abcdef"}),
        ("authorization", "Basic bWU6cGFzc3dvcmQ=", {"Basic bWU6cGFzc3dvcmQ=", "bWU6cGFzc3dvcmQ=", "password"}),
        ("authorization", "Basic bWU6eA==", {"Basic bWU6eA==", "bWU6eA=="}),
        ("authorization", "Basic nonsense!", {"Basic nonsense!", "nonsense!"}),
        ("authorization", "alone", {"alone"}),
    ],
)
def test_what_gives_a_secret_away(sent: str, value: str, parts: set[str]) -> None:
    assert set(Secret(value, sent, "X").parts()) == parts


def test_a_text_made_to_resemble_a_secret_takes_no_longer_for_its_length() -> None:
    """A pattern without bounds looked on from each of the backslashes to the last: a minute for these."""
    redact = Redactor()
    redact.hide(Secret("-0123456789abcdef", "bearer", "X").parts())
    for piece in ("\\", "&#0", "&#x0", "0"):
        text = piece * 300_000 + "0123456789abcdef"
        assert redact(text) == text


HUNG = 5.0  # seconds of a processor; such a search takes milliseconds, or, if it goes back, more than anybody waits
tricky = st.text(st.sampled_from('\\\\\\"&%;#+ /ux025c'), min_size=1, max_size=24)


@given(tricky, st.lists(st.integers(0, 20), max_size=12), st.data())
def test_a_text_that_nearly_holds_a_secret_takes_no_time(value: str, runs: list[int], data: st.DataObject) -> None:
    """Every character in one of its disguises with any number of backslashes before it, but for the last one."""
    redact = Redactor()
    redact.hide([value + "-0123456789abcdef"])
    written = [data.draw(st.sampled_from(sorted(disguises(char))), label="written") for char in value]
    escaped = ["\\" * runs[index % len(runs)] + one if runs else one for index, one in enumerate(written)]
    text = ("".join(escaped) + "-0123456789abcdeX ") * 30 + "0123456789abcdef"
    began = time.process_time()
    assert REDACTED not in redact(text)
    assert time.process_time() - began < HUNG


@pytest.mark.parametrize("secret", ["\\" * 6, '\\"' * 6, '"\\' * 6, "%\\&" * 4, "\\\\/" * 5, "&" * 12, "%" * 12])
def test_a_secret_of_many_disguises_takes_no_time(secret: str) -> None:
    """Six backslashes took 8 s: the pattern divided a run of them in every possible way."""
    redact = Redactor()
    redact.hide([f"{secret}0123456789abcdef"])
    for times in (1, 3, 17):
        nearly = "".join("\\" * times + form for form in disguises(secret)) * 200
        began = time.process_time()
        assert redact(f"{nearly}x0123456789abcdef") == f"{nearly}x0123456789abcdef"
        assert time.process_time() - began < HUNG
        said = redact(f"{nearly}{'x' * (secret[0] == chr(92))}{secret}0123456789abcdef")
        assert said.endswith(REDACTED)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *(
            (name, True)
            for name in ("token", "access_token", "X-Api-Key", "api.key", "client_secret", "sessionid", "sig")
        ),
        *((name, False) for name in ("max_tokens", "token_limit", "token-type", "sessions", "secretary", "cache_key")),
        *(
            (name, False)
            for name in ("sort-key", "Idempotency-Key", "signature_version", "monkey", "statuscode", "stage")
        ),
    ],
)
def test_names_of_secrets(name: str, is_one: bool) -> None:
    assert names_a_secret(name) == is_one

"""Retry-After, in every form a server may send it (RFC 9110, 10.2.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.call.failures import retry_after

DUE = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, 86400.0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60.0),
        ("Fri Jan 15 08:01:00 2027", 60.0),
        ("Fri, 15 Jan 2027 10:01:00 +0200", 60.0),
        ("Fri, 15 Jan 2027 08:01:00 -0000", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 9999 07:00:00 GMT", 86400.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Fri, 99 Jan 2027 07:00:00 GMT", None),
    ],
)
@pytest.mark.usefixtures("in_new_york")
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(header, DUE) == seconds


WORDS = [
    "Fri",
    ",",
    "15",
    "Jan",
    "2027",
    "08:01:00",
    "GMT",
    "+0200",
    "-",
    ":",
    "0",
    "99999999999",
    "AM",
    ".",
    "\0",
    "é",
]


@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join) | st.lists(st.sampled_from(WORDS)).map("".join))
def test_any_retry_after_is_seconds_or_nothing(header: str) -> None:
    seconds = retry_after(header, DUE)
    assert seconds is None or 0 <= seconds <= 86400

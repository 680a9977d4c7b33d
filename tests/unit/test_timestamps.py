import pytest

from tocsin.timestamps import rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_800_000_000.0, "2027-01-15T08:00:00Z"),
        (1_800_000_000.25, "2027-01-15T08:00:00.250Z"),
        (1_800_000_000.0004, "2027-01-15T08:00:00Z"),
        (1_799_999_999.9996, "2027-01-15T08:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ],
)
def test_instants_are_in_utc(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text
    assert rfc3339(seconds, milliseconds=True) == (text if "." in text else text.replace("Z", ".000Z"))

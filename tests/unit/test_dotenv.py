"""The `.env` beside the job file: no value is changed silently."""

from pathlib import Path

import pytest

from config_rig import ENVIRONMENT, GOOD, SECRET, Load, faults
from tocsin.config import dotenv
from tocsin.config.dotenv import Dotenv

Read = dict[str, str]


def read(folder: Path, text: str, environment: Read | None = None, *used: str) -> Dotenv:
    (folder / ".env").write_bytes(text.encode())
    return dotenv.read(folder / "tocsin.toml", environment or {}, set(used or {"X"}))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("X=a", "a"),
        ("X = a ", "a"),
        ("export X=a", "a"),
        ("'X'=a", "a"),
        ("X=", ""),
        ('X=""', ""),
        ("X='k3y${pw}0123'", "k3y${pw}0123"),
        ("X='a\\nb\\\\c$d'", "a\\nb\\\\c$d"),
        ('X="a\\nb\\"c"', 'a\nb"c'),
        ('X="a\\$b\\${c}"', "a$b${c}"),
        ("X=a\\$b\\${c}", "a$b${c}"),
        ("X=a\\nb", "a\\nb"),
        ("X=it's", "it's"),
        ('X=a"b"', 'a"b"'),
        ("X=a # a comment", "a"),
        ("X=a#b # a comment", "a#b"),
        ("X= # a comment", ""),
        ("X='a' # it's a comment", "a"),
        ('X="a # b"#c', "a # b"),
        ("X='a\nb'", "a\nb"),
        ("\ufeffX=a", "a"),
        ("A=1\r\nX=a\r\nB=2\r\n", "a"),
        ("# X=b\n\n  X=a\n#", "a"),
        ("X=${Y:-d}", "d"),
        ("X=${Y:-}b", "b"),
        ("Y=c\nX=${Y:-d}", "c"),
        ("Y=c\nX=\"${Y}-${Y}\"", "c-c"),
        ("X=a\nX=${X}b", "ab"),
        ("X=a$", "a$"),
        ("X=a$$1", "a$$1"),
    ],
)  # fmt: skip
def test_values(tmp_path: Path, written: str, value: str) -> None:
    found = read(tmp_path, written)
    assert (found.values["X"], found.faults, found.unknown) == (value, [], frozenset())


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("X=${pw}", "line 1: X refers to ${pw}, which is not set; set pw, or put the value in single quotes"),
        ('\n\nX="k3y${pw}"', "line 3: X refers to ${pw}, which is not set; set pw, or put the value in single quotes"),
        ("pw=\nX=${pw}", "line 2: X refers to ${pw}, which is empty; set pw, or put the value in single quotes"),
        ("X=${Y}\nY=1", "line 1: X refers to ${Y}, which is not set; set Y, or put the value in single quotes"),
        ("X=${Y-d}", "line 1: X has a ${ that is not ${NAME} or ${NAME:-default}; put the value in single quotes"),
        ("X=${Y", "line 1: X has a ${ that is not ${NAME} or ${NAME:-default}; put the value in single quotes"),
        ("X=${Y:-${Z}}", "line 1: X has a default of Y that contains another reference: use plain text"),
        ("X='it\\'s'", "line 1: is not NAME=VALUE"),
        ("X=a\0b", "line 1: is not NAME=VALUE"),
        ("X: a", "line 1: is not NAME=VALUE"),
        ('X="a', "line 1: is not NAME=VALUE"),
    ],
)
def test_what_has_no_certain_value_is_a_fault(tmp_path: Path, written: str, fault: str) -> None:
    found = read(tmp_path, written)
    (one,) = found.faults
    assert str(one).startswith(f".env: {fault}")
    assert "X" not in found.values
    assert found.unknown == {"X"}


@pytest.mark.parametrize(
    ("written", "value", "warning"),
    [
        ("X=pa$word", "pa$word", "line 1: X has a $ before a word"),
        ('X="pa$word"', "pa$word", "line 1: X has a $ before a word"),
        ("X=a#b", "a#b", "line 1: X contains a #"),
        ("X=`a`", "`a`", "line 1: X is in backticks"),
        ('X="C:\\dir"', "C:\\dir", "line 1: X has a backslash in double quotes"),
        ('X="a\\tb"', "a\tb", "line 1: X has a backslash in double quotes"),
        ("X=1\nY=2\nX=3", "3", "line 3: X is also set in line 1; this one counts"),
    ],
)
def test_what_other_programs_read_in_another_way_is_a_warning(
    tmp_path: Path, written: str, value: str, warning: str
) -> None:
    found = read(tmp_path, written)
    assert (found.values["X"], found.faults) == (value, [])
    (one,) = found.warnings
    assert one.startswith(f".env: {warning}")


def test_only_variables_that_are_used_are_judged(tmp_path: Path) -> None:
    """The file is the app's too."""
    text = "OTHER=${UNSET}\nANOTHER=pa$word\nX=a\n"
    found = read(tmp_path, text)
    assert (found.values["X"], found.faults, found.warnings, found.unknown) == ("a", [], [], frozenset())
    assert "OTHER" not in found.values
    assert read(tmp_path, "X=${UNSET}", {"X": "from the environment"}).faults == []
    (fault,) = read(tmp_path, "Y=${UNSET}\nX=${Y}\n").faults
    assert str(fault).startswith(".env: line 1: Y refers to ${UNSET}"), "what a used one refers to is used"


def test_one_fault_of_the_dotenv_hides_none_of_the_job_file(load: Load) -> None:
    text = GOOD.replace("https://app.example.com", "${API}").replace('"* * * * *"', '"* * * *"')
    found = faults(load, text + 'description = "${NOWHERE}"', {}, "API=https://${HOST}\nCRON_SECRET=${CRON}x\n")
    assert [fault.partition(":")[2].split(":")[0].strip() for fault in found] == [
        "line 1",
        "line 2",
        '[jobs.a] description = "${NOWHERE}"',
        "[jobs.a] schedule",
    ]
    unreadable = faults(load, text, {}, "API=https://app.example.com\n'\n")
    assert len(unreadable) == 2, "what is not set may stand in the line that cannot be read"


@pytest.mark.parametrize("quotes", ["'{}'", '"{}"', "{}"])
def test_a_quoted_secret_is_sent_as_it_stands(load: Load, quotes: str) -> None:
    secret = "k3y${pw}0123456789abcdef"
    written = "CRON_SECRET=" + quotes.format(secret) + "\n"
    if quotes[0] == "'":
        one = load(GOOD, {}, written).jobs["a"].secret
        assert one is not None
        assert one.value == secret
    else:
        (fault,) = faults(load, GOOD, {}, written)
        assert fault.startswith(".env: line 1: CRON_SECRET refers to ${pw}, which is not set")
        assert "0123456789" not in fault
        filled = load(GOOD, {"pw": "p"}, written).jobs["a"].secret
        assert filled is not None
        assert filled.value == "k3yp0123456789abcdef"


def test_warnings_reach_the_config(load: Load) -> None:
    (warning,) = load(GOOD, {}, f"CRON_SECRET={SECRET}$word\n").warnings
    assert warning.startswith(".env: line 1: CRON_SECRET has a $ before a word")
    assert SECRET not in warning


@pytest.mark.parametrize("value", ["$(openssl rand -hex 32)", "<your-secret-of-32-characters>", "{{ cron_secret }}"])
def test_a_secret_that_nobody_made_is_a_warning(load: Load, value: str) -> None:
    (warning,) = load(GOOD, {**ENVIRONMENT, "CRON_SECRET": value}).warnings
    assert warning.startswith("the secret from CRON_SECRET is ")
    assert "the same for everyone who copied it" in warning
    assert value not in warning

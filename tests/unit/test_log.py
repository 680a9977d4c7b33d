"""Log lines: never wait, never mix, never show a secret, always one line."""

import json
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import log
from tocsin.config.secrets import Secret
from tocsin.log import PIPE_BUF, LineWriter
from tocsin.redact import Redactor

SECRET = 'a-secret"with\\quotes and spaces='
Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe2(os.O_CLOEXEC)
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def drained(read: int) -> bytes:
    """All that is in the pipe now."""
    found = b""
    while select.select([read], [], [], 0)[0] and (piece := os.read(read, 65536)):
        found += piece
    return found


def filled(writer: LineWriter) -> int:
    """Write until a line is dropped; how many were taken."""
    count = 0
    while not writer.dropped:
        writer.write(f"line {count}")
        count += 1
    return count - 1


class Captured:
    """The lines that the log of this process writes, in the given form."""

    def __init__(self, writer: LineWriter, read: int) -> None:
        self.writer = writer
        self._read = read

    def lines(self) -> list[str]:
        return drained(self._read).decode().splitlines()


@pytest.fixture
def captured(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    writer = LineWriter(pipe[1])
    monkeypatch.setattr(log, "_writer", lambda: writer)
    redact = Redactor()
    redact.hide(Secret(SECRET, "query:s", "X").parts())
    monkeypatch.setattr(log, "redact", redact)

    def set_up(form: str, level: str = "debug") -> Captured:
        assert log.set_up(level, form) is writer
        return Captured(writer, pipe[0])

    set_up.hide = redact.hide  # type: ignore[attr-defined]
    yield set_up
    for handler in list(log.logger.handlers):
        log.logger.removeHandler(handler)
        handler.close()
    log.logger.setLevel(logging.NOTSET)
    log.logger.propagate = True


# ---- never wait


def test_a_full_pipe_drops_and_counts_and_says_so_later(pipe: Pipe) -> None:
    """Were the writer blocking, this test would not end."""
    read, write = pipe
    writer = LineWriter(write)
    taken = filled(writer)
    for _ in range(9):
        writer.write("lost")
    assert writer.dropped == 10
    assert drained(read).decode().splitlines() == [f"line {number}" for number in range(taken)]
    writer.write("after")
    writer.write("and on")
    lines = drained(read).decode().splitlines()
    assert lines == ["(10 log lines dropped: the reader was too slow, or the disk was full)", "after", "and on"]
    assert writer.dropped == 10, "counted since the start of the process"


def test_the_notice_comes_before_any_later_line(pipe: Pipe) -> None:
    """A short line that would fit must not hide that others were lost before it."""
    writer = LineWriter(pipe[1])
    while not writer.dropped:
        writer.write("x" * 1000)
    for _ in range(100):
        writer.write("y")
    lines = drained(pipe[0]).decode().splitlines()
    if "y" in lines:
        assert "dropped" in lines[lines.index("y") - 1]
    writer.write("z")
    told = sum(int(line[1:].split()[0]) for line in (lines + drained(pipe[0]).decode().splitlines()) if "drop" in line)
    assert told == writer.dropped


def test_the_descriptor_given_stays_blocking_for_others(pipe: Pipe) -> None:
    """O_NONBLOCK belongs to what the shell shares with us; only our own description has it."""
    writer = LineWriter(pipe[1])
    assert os.get_blocking(pipe[1])
    assert writer.descriptor != pipe[1]
    assert not os.get_blocking(writer.descriptor)
    assert not os.get_inheritable(writer.descriptor)


def test_no_reader_is_no_failure(pipe: Pipe) -> None:
    writer = LineWriter(pipe[1])
    os.close(pipe[0])
    writer.write("nobody")
    writer.write("hears")
    assert writer.dropped == 2


def test_a_full_socket_drops_too() -> None:
    ours, theirs = socket.socketpair()
    writer = LineWriter(ours.fileno())
    assert filled(writer) > 0
    theirs.close()
    writer.write("nobody hears")
    assert writer.dropped == 2
    ours.close()


def test_a_file_takes_everything(tmp_path: Path) -> None:
    file = tmp_path / "log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(descriptor)
    for number in range(3):
        writer.write(f"line {number}")
    os.close(descriptor)
    assert file.read_text() == "line 0\nline 1\nline 2\n"


# ---- never mix


@given(st.text(st.sampled_from("aü€𝄞"), min_size=1000, max_size=5000))
def test_a_line_is_at_most_what_a_pipe_takes_whole(text: str) -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        LineWriter(write).write(text)
        data = drained(read)
        assert len(data) <= PIPE_BUF
        assert data.endswith(b"\n")
        line = data.decode()[:-1]  # still UTF-8, though cut
        assert line == text or (line[-1] == "…" and text.startswith(line[:-1]))
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("length", [PIPE_BUF - 2, PIPE_BUF - 1, PIPE_BUF, PIPE_BUF + 1])
def test_the_newline_counts(pipe: Pipe, length: int) -> None:
    LineWriter(pipe[1]).write("x" * length)
    data = drained(pipe[0])
    assert len(data) <= PIPE_BUF
    assert (b"\xe2\x80\xa6" not in data) == (length < PIPE_BUF)


# ---- what a line says


def test_console(captured: Any) -> None:
    out = captured("console")
    log.info("tocsin starts", pid=3, nothing=None, name="a b", quoted='say "x"', empty="", equal="a=b", far=1234567.0)
    (line,) = out.lines()
    when, rest = line.split(" ", 1)
    assert when.endswith("Z")
    assert rest == r'info    tocsin starts pid=3 name="a b" quoted="say \"x\"" empty="" equal="a=b" far=1234567'


def test_a_secret_that_is_a_number_or_a_key_garbles_no_json(captured: Any) -> None:
    seen = captured("json")
    captured.hide(["pid", "20", "4242"])
    log.info("pid 4242", pid=4242, where="port 4242")
    (line,) = map(json.loads, seen.lines())
    assert (line["pid"], line["where"], line["message"]) == (4242, "port [redacted]", "[redacted] [redacted]")


def test_json(captured: Any) -> None:
    out = captured("json")
    log.warning("a word", pid=3, nothing=None, path=Path("/x"), ratio=0.5, text="ü\n\x1b")
    entry = json.loads(out.lines()[0])
    assert entry.pop("time").endswith("Z")
    assert list(entry.items()) == [
        ("level", "warning"),
        ("message", "a word"),
        ("pid", 3),
        ("path", "/x"),
        ("ratio", 0.5),
        ("text", "ü\n\x1b"),
    ]


def test_no_field_takes_the_place_of_what_every_line_has(captured: Any) -> None:
    """`message` and `level` may be the names of totals; the message comes by position."""
    out = captured("json")
    log.error("the message", message="another", level=7, time="never", exception="none")
    entry = json.loads(out.lines()[0])
    assert (entry["message"], entry["level"]) == ("the message", "error")
    assert entry["time"] != "never"


def test_levels(captured: Any) -> None:
    out = captured("console", "warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line.split()[1:] for line in out.lines()] == [["warning", "c"], ["error", "d"]]


def test_setting_up_again_does_not_double_the_lines(captured: Any) -> None:
    captured("console")
    out = captured("json")
    log.info("once")
    assert len(out.lines()) == 1
    assert log.lines_dropped() == 0


texts = st.text(st.characters(codec=None), max_size=50)
awkward = st.one_of(texts, st.sampled_from(["\n", "\r", "\x1b[2J", "\x9b2J", "\u2028", "\u0085", "\x00", "\udc80"]))


@given(awkward, awkward)
def test_console_lines_hold_no_control_characters(message: str, value: str) -> None:
    record = logging.LogRecord("tocsin", logging.INFO, "", 0, "%s", (message,), None)
    record.fields = {"key": value}
    line = log._Console(colours=False).format(record)
    assert line.isprintable()


@given(awkward, st.dictionaries(st.text(max_size=20), st.one_of(awkward, st.integers(), st.text(max_size=3000))))
def test_a_json_line_parses_whatever_it_says_however_much(message: str, fields: dict[str, Any]) -> None:
    record = logging.LogRecord("tocsin", logging.INFO, "", 0, "%s", (message * 200,), None)
    record.fields = fields
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        LineWriter(write).write(log._Json().format(record))
        data = drained(read)
    finally:
        os.close(read)
        os.close(write)
    assert len(data) <= PIPE_BUF
    assert data.count(b"\n") == 1
    entry = json.loads(data)
    assert entry["level"] == "info"
    assert not any(char in data.decode() for char in "\r\x1b\x00")


def test_the_notice_of_dropped_lines_has_the_form_of_the_log(captured: Any) -> None:
    out = captured("json")
    filled(out.writer)
    out.lines()
    log.info("after")
    notice, after = map(json.loads, out.lines())
    assert notice["message"] == "1 log lines dropped: the reader was too slow, or the disk was full"
    assert notice["level"] == "warning"
    assert after["message"] == "after"


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_line_shows_the_secret(captured: Any, form: str) -> None:
    out = captured(form)
    shown = Secret(SECRET, "query:s", "X").into_query("/x")
    log.info(f"a message with {SECRET} in it")
    log.info("a field", value=SECRET, url=shown)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.logger.exception("it failed with %s", SECRET)
    lines = out.lines()
    assert len(lines) == 3
    for line in lines:
        assert "[redacted]" in line
        assert "quotes" not in line, "no piece of it either"


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_exception_stays_in_one_line(captured: Any, form: str) -> None:
    out = captured(form)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.logger.exception("it failed")
    (line,) = out.lines()
    assert "ValueError: two" in line
    assert "test_log.py" in line


CUT = """
import resource, sys
from tocsin.log import LineWriter
writer = LineWriter(1)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (25, hard))  # a file that may not grow takes a part of a line, as a full disk
for line in ("first line", "second line", "third line", "fourth line"):
    writer.write(line)
assert writer.dropped == 2, writer.dropped
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.write("fifth line")
assert writer.dropped == 2, writer.dropped
"""


def test_a_line_that_the_disk_took_half_of_is_counted_and_ended(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        subprocess.run([sys.executable, "-c", CUT], stdout=stream, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [
        "first line",
        "second line",
        "th",
        "(2 log lines dropped: the reader was too slow, or the disk was full)",
        "fifth line",
    ]

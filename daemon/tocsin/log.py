"""Writes log lines to standard output without ever blocking: lines that the reader does not accept are counted.

A full pipe (a stopped supervisord, a stuck `less`) must not stop the parent or a child. Lines have at most PIPE_BUF
bytes, so that lines of several processes never mix (pipe(7)).
"""

import contextlib
import functools
import json
import logging
import os
import select
import socket
import stat
import time
import traceback
from collections.abc import Iterator

from tocsin.redact import redact
from tocsin.timestamps import rfc3339

PIPE_BUF = select.PIPE_BUF  # bytes that a pipe accepts all at once or not at all
OWN_KEYS = frozenset({"time", "level", "message", "node", "exception"})  # of a JSON line: no field may have these names
_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m", "DEBUG": "\033[2m"}

logger = logging.getLogger("tocsin")


class LineWriter:
    """Writes whole lines to a file descriptor without waiting."""

    def __init__(self, descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        self.dropped = 0  # lines, since the start of this process
        self._untold = 0  # dropped lines that the log has not mentioned yet
        self._is_cut = False  # whether the last write ended in the middle of a line
        self.notice = _console_notice  # writes the notice in the format of the other lines
        self._is_socket = stat.S_ISSOCK(mode)
        self.descriptor = descriptor  # must stay open in forked children
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            self.descriptor = _own_description(descriptor, stat.S_ISFIFO(mode))

    def write(self, line: str) -> None:
        if self._untold and self._put(self.notice(self._untold)):
            self._untold = 0
        if self._untold or not self._put(line):
            self.dropped += 1
            self._untold += 1

    def _put(self, line: str) -> bool:
        data = line.encode("utf-8", "backslashreplace")
        if len(data) >= PIPE_BUF:
            data = data[: PIPE_BUF - 5].decode("utf-8", "ignore").encode() + "…".encode()
        data = b"\n" * self._is_cut + data + b"\n"
        try:
            if self._is_socket:
                with socket.socket(fileno=os.dup(self.descriptor)) as sock:
                    written = sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            else:
                written = os.write(self.descriptor, data)
        except OSError:  # the pipe is full or its reader is gone: the caller counts the line
            return False
        if written == len(data):
            self._is_cut = False
            return True
        self._is_cut = not data[:written].endswith(b"\n")  # a full disk or a limit on the file's size cut the line
        return False


def _own_description(descriptor: int, is_pipe: bool) -> int:
    """Return a non-blocking descriptor of the same pipe or terminal.

    O_NONBLOCK belongs to the open file description, which the shell may share, so open the file again. A pipe of
    another user (supervisord as root) cannot be reopened, but no other process writes to it: set the flag on it.
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        if is_pipe:
            os.set_blocking(descriptor, False)
        return descriptor


class _Handler(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self.writer.write(self.format(record))


class _Console(logging.Formatter):
    def __init__(self, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        values = " ".join(f"{key}={_console_value(value)}" for key, value in fields.items() if value is not None)
        moment = rfc3339(record.created, milliseconds=True)
        line = f"{moment} {record.levelname.lower():7} {record.getMessage()} {values}".rstrip()
        if record.exc_info:
            line += " | " + " | ".join(traceback.format_exception(*record.exc_info)).replace("\n", " ")
        line = redact(line)
        if not line.isprintable():
            line = "".join(char if char.isprintable() else "�" for char in line)
        colour = _COLOURS.get(record.levelname) if self._colours else None
        return f"{colour}{line}\033[0m" if colour else line


class _Json(logging.Formatter):
    """Formats one JSON object for each line. docs/log.schema.json describes it."""

    def __init__(self, node: str = "") -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {"time": rfc3339(record.created, milliseconds=True)}
        entry |= {"level": record.levelname.lower(), "message": record.getMessage()}
        if self._node:
            entry["node"] = self._node
        fields, data = getattr(record, "fields", {}), getattr(record, "data", None)
        entry |= data if data is not None else {k: v for k, v in fields.items() if v is not None and k not in OWN_KEYS}
        if record.exc_info:
            entry["exception"] = redact("".join(traceback.format_exception(*record.exc_info)))[-2000:]
        return _line({key: _plain(value) for key, value in entry.items()})


def _plain(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, dict):
        return {redact(str(key)): _plain(one) for key, one in value.items()}
    return redact(str(value))


def _line(entry: dict[str, object]) -> str:
    """Return the entry as JSON in one line. Long values are cut, so that the line can be written at once."""
    line = json.dumps(entry, ensure_ascii=False, default=str)
    longest = PIPE_BUF
    while len(line.encode("utf-8", "backslashreplace")) >= PIPE_BUF and longest > 1:
        longest //= 2
        cut = {key: _cut(value, longest) for key, value in entry.items()}
        line = json.dumps(cut, ensure_ascii=False, default=str)
    return line


def _cut(value: object, longest: int) -> object:
    if value is None or isinstance(value, int | float | dict):  # a table has at most 8 numbers
        return value
    text = str(value)
    return text if len(text) <= longest else text[:longest] + "…"


def _console_notice(count: int) -> str:
    return f"({count} log lines dropped: the reader was too slow, or the disk was full)"


def _json_notice(count: int) -> str:
    message = f"{count} log lines dropped: the reader was too slow, or the disk was full"
    return _line({"time": rfc3339(time.time(), milliseconds=True), "level": "warning", "message": message})


def _console_value(value: object) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    quoted = not text or " " in text or '"' in text or "=" in text
    return json.dumps(text, ensure_ascii=False) if quoted else text


def set_up(level: str = "info", form: str = "console", node: str = "") -> LineWriter:
    """Write this process's log to standard output. Call it again to change level or format. `node` is this machine's
    name in JSON lines."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        if isinstance(handler, _Handler):
            handler.close()
    writer = _writer()
    writer.notice = _json_notice if form == "json" else _console_notice
    handler = _Handler(writer)
    colours = os.isatty(1) and "NO_COLOR" not in os.environ
    handler.setFormatter(_Json(node) if form == "json" else _Console(colours))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(level.upper())
    return writer


@functools.cache
def _writer() -> LineWriter:
    """Return the writer of this process, which forked children share."""
    return LineWriter(1)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Log nothing in this block."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def lines_dropped() -> int:
    """Return how many log lines this process has dropped since its start."""
    return _writer().dropped


def log(level: int, message: str, data: dict[str, object] | None = None, /, **fields: object) -> None:
    """Log one line: a sentence, then `key=value` pairs. Cheap if the level is off. In JSON, `data` replaces the pairs,
    and None is null."""
    if logger.isEnabledFor(level):
        record = logging.LogRecord(logger.name, level, "", 0, "%s", (message,), None)  # the caller is not needed
        record.fields, record.data = fields, data
        logger.handle(record)


def debug(message: str, /, **fields: object) -> None:
    log(logging.DEBUG, message, **fields)


def info(message: str, /, **fields: object) -> None:
    log(logging.INFO, message, **fields)


def warning(message: str, /, **fields: object) -> None:
    log(logging.WARNING, message, **fields)


def error(message: str, /, **fields: object) -> None:
    log(logging.ERROR, message, **fields)

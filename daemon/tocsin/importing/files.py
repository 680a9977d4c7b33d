"""Files of other schedulers: reads them and finds out their format."""

import io
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tocsin import files
from tocsin.importing import cron_jobs, crontab, json_text, kubernetes, vercel
from tocsin.importing.found import Found, fault
from tocsin.jobfile.faults import ConfigError

FILE_SIZE = 2 * 1024**2  # bytes: a hundred jobs take 10 KB; a larger file is something else
Reader = Callable[[str, str], Found]
_BY_HAND = "write a table for each job, with schedule, timezone and url (docs/moving.md)"
_YAML = re.compile(r"(\s*(#.*)?\n)*(---|- |[A-Za-z][\w-]*:(\s|$))")
_OTHERS = (
    (
        re.compile(r"^kind:\s*[\"']?CronJob\b", re.MULTILINE),
        "a Kubernetes CronJob in YAML: convert it to JSON "
        "(kubectl create --dry-run=client -o json -f FILE | tocsin import -)",
    ),
    (
        re.compile(r"^\[job-(exec|run|local|service-run|compose)\b", re.MULTILINE),
        f"Ofelia's INI, which is not read; {_BY_HAND}",
    ),
    (re.compile(r"^\[Timer\]", re.MULTILINE), f"a systemd timer, which is not read; {_BY_HAND}"),
    (
        re.compile(r"^on:(\s.*)?\n(.*\n)*?\s*schedule:", re.MULTILINE),
        f"a GitHub Actions workflow, which is not read; {_BY_HAND}",
    ),
    (re.compile(r"\A\s*<(\?xml|!DOCTYPE|html|plist)"), f"XML, which is not read; {_BY_HAND}"),
)
READERS: dict[str, Reader] = {
    "vercel": vercel.read,
    "crontab": crontab.read,
    "cron-jobs": cron_jobs.read,
    "kubernetes": kubernetes.read,
}


def text_of(file: Path, source: str, *, again: bool = False) -> str:
    """Return the text of a file, which faults call `source`. `again`: the daemon reads it at each reload, so it must be
    a regular file, not a pipe. Raises ConfigError."""
    try:
        if again:
            return decoded(io.BytesIO(files.read(file, FILE_SIZE, "jobs")), source)
        with file.open("rb") as stream:
            return decoded(stream, source)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        why = error.strerror if isinstance(error, OSError) else "is not a file name"
        raise ConfigError([fault(source, "", "", f"cannot read it: {why}")]) from None


def decoded(stream: BinaryIO, source: str) -> str:
    raw = stream.read(FILE_SIZE + 1)
    if len(raw) > FILE_SIZE:
        raise ConfigError([fault(source, "", "", f"is larger than {FILE_SIZE} bytes; is it the right file?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError([fault(source, "", "", "is not UTF-8 text")]) from None


def kind_of(text: str, source: str) -> str:
    """Return which of READERS reads the text, by its content and, if that is ambiguous, by the file's name. Raises
    ConfigError."""
    name = Path(source).name.lower()
    if other := _other(text):
        why = f"is {other}"
    elif text.lstrip()[:1] in ("{", "[") or name.endswith(".json"):
        document = json_text.parse(text, source)
        if kubernetes.is_cron_job(document):
            return "kubernetes"
        if isinstance(document, list) or (isinstance(document, dict) and document.keys() & set(cron_jobs.LISTS)):
            return "cron-jobs"
        if isinstance(document, dict) and ("crons" in document or name.startswith("vercel")):
            return "vercel"
        why = 'is neither a vercel.json with "crons" nor a list of jobs'
    elif crontab.looks_like(text) or name.startswith("crontab"):
        return "crontab"
    else:
        why = "does not look like a vercel.json, a crontab or a list of jobs; name its kind with --from"
    raise ConfigError([fault(source, "", "", why)])


def _other(text: str) -> str:
    """Say what a text is that no reader can read, and what to do with it. "" if unknown."""
    for pattern, what in _OTHERS:
        if pattern.search(text):
            return what
    if re.match(r"\s*(#.*\n\s*)*\[[A-Za-z]", text):
        try:
            tomllib.loads(text)
        except (ValueError, RecursionError):
            return f"INI, which is not read; {_BY_HAND}"
        return f"TOML, which is not read; if it is a job file, copy its tables; else {_BY_HAND}"
    if not text.lstrip().startswith(("{", "[")) and not crontab.looks_like(text) and _YAML.match(text):
        return f"YAML, which is not read; {_BY_HAND}"
    return ""

"""The job file as it is written: tables, keys, types, defaults. `config.py` turns it into what the daemon uses.

Every key stands here once, with the rule for its value. A validator raises ValueError with "why"; who reports
it adds the file, the job, the key and the value.
"""

import math
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tocsin.urls import MAX_URL, check_url
from tocsin.zones import load_zone

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d{1,9}(?:ms|s|m|h|d))+")
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = re.compile(r"(\d{1,9})\s*(B|[KMG]i?B)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, 5.6.2: a header's name
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
LEAST_MEMORY = 48 * 1024**2  # bytes of data for a job's process: 26 MB measured before it does anything
MAX_TOTALS = 8  # series a job may add to the metrics

# Headers that the call itself sets: a second one would contradict the first (RFC 9110, RFC 9112).
OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "accept-encoding", "te"}
    | {"upgrade", "expect", "trailer"}
)


def parse_duration(text: object) -> float:
    """Seconds of "90s", "5m", "1h30m", "500ms", "2d". Raises ValueError."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError('is no duration; write a number with its unit, as "90s", "5m", "1h30m" or "500ms"')
    return math.fsum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|s|m|h|d)", text))


def _positive(seconds: float) -> float:
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("must be more than nothing and at most 366 days")
    return seconds


def parse_size(text: object) -> int:
    """Bytes of "512KiB", "1MiB". Raises ValueError."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise ValueError('is no size; write a number with its unit, as "64KiB" or "1MiB"')
    return int(found[1]) * _SIZES[found[2]]


def _memory_limit(text: object) -> int | None:
    if text == "":
        return None
    if (limit := parse_size(text)) < LEAST_MEMORY:
        raise ValueError(f"is too little: a job's process alone takes half of {LEAST_MEMORY // 1024**2}MiB")
    return limit


def parse_address(text: object) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9911" or "[::1]:9911". Raises ValueError."""
    why = 'is no address; write host:port, as "127.0.0.1:9911" or "[::1]:9911"'
    if not isinstance(text, str):
        raise ValueError(why)
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(why) from None
    if not host or not port or parts.netloc != text or "@" in text:
        raise ValueError(why)
    return host, port


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is no header name (letters, digits and hyphens)")
    return name


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        _header_name(name)
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"sets {name}, which Tocsin sets itself")
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"has a value of {name} that would break the request; use printable ASCII")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("names one header twice")
    return headers


def _content_type(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise ValueError("would break the request; use printable ASCII")
    return text


def _zone(name: str) -> str:
    try:
        load_zone(name)
    except ValueError as error:
        raise ValueError(str(error).rpartition(": ")[2]) from None
    return name


def _send_secret(text: str) -> str:
    kind, _, name = text.partition(":")
    if text in ("bearer", "authorization", "none") or (kind == "query" and name):
        return text
    if kind == "header" and name:
        if _header_name(name).lower() in OWN_HEADERS:
            raise ValueError(f"names the header {name}, which Tocsin sets itself")
        return text
    raise ValueError('must be "header:NAME", "bearer", "authorization", "query:NAME" or "none"')


def _variable(name: str) -> str:
    if name and not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable, not the secret itself")
    return name


def _file(name: str) -> str:
    if "\0" in name:
        raise ValueError("is no file's name")
    return name


def _user(name: str) -> str:
    if ":" in name or not name.isascii() or not name.isprintable():  # RFC 7617, 2
        raise ValueError("must be printable ASCII without a colon")
    return name


def _path(path: str) -> str:
    if len(path) > MAX_URL:
        raise ValueError(f"is longer than {MAX_URL} characters")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise ValueError('must start with "/", without spaces or "#", percent-encoded where needed')
    return path


def _base_url(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("must end before the query: the path of a job follows it")
    return url


def _dotted(totals: dict[str, str]) -> dict[str, str]:
    if len(totals) > MAX_TOTALS:
        raise ValueError(f"has {len(totals)} names; at most {MAX_TOTALS}")
    for name, path in totals.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            raise ValueError(f'has the name "{name[:40]}"; use a-z, 0-9 and _ (at most 40, a letter first)')
        if not path or not all(path.split(".")):
            raise ValueError(f'"{name}" must name a place in the reply, as "summary.breached"')
    return totals


def _status(patterns: list[str]) -> list[str]:
    if not all(re.fullmatch(r"[1-5](xx|[0-9][0-9])", pattern) for pattern in patterns):
        raise ValueError('has what is no status; write "2xx" or "204"')
    if not patterns:
        raise ValueError('is empty; write the statuses that are right, as ["2xx"]')
    return patterns


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("must be text, a number, true or false")
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive)]
SecondsOrNone = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=1)]
Url = Annotated[str, AfterValidator(check_url)]
Variable = Annotated[str, AfterValidator(_variable)]
File = Annotated[str, AfterValidator(_file)]
SendSecret = Annotated[str, AfterValidator(_send_secret)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DaemonTable(Table):
    state_dir: File = Field("var", min_length=1)
    listen: Annotated[tuple[str, int], BeforeValidator(parse_address)] = ("127.0.0.1", 9911)
    listen_cert: File = ""
    listen_key: File = ""
    listen_client_ca: File = ""
    listen_bearer_env: Variable = ""
    listen_bearer_file: File = ""
    listen_user: Annotated[str, Field(max_length=100), AfterValidator(_user)] = ""
    listen_password_env: Variable = ""
    listen_password_file: File = ""
    ledger: str = "sqlite"
    node: str = Field("", max_length=63)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
    drain: SecondsOrNone = 30.0
    jobs_from: list[Annotated[File, Field(min_length=1)]] = Field([], max_length=20)
    keep: Seconds = 90 * 86400.0


class TargetTable(Table):
    base_url: Annotated[str, AfterValidator(_base_url)] = ""
    secret_env: Variable = "CRON_SECRET"
    secret_file: File = ""
    send_secret: SendSecret = "header:x-cron-secret"
    ca_file: File = ""
    client_cert: File = ""
    client_key: File = ""
    signing_secret_env: Variable = ""
    allow_insecure: bool = False


class ExpectTable(Table):
    status: Annotated[list[str], AfterValidator(_status)] = ["2xx"]
    json_: dict[str, Annotated[Any, AfterValidator(_scalar)]] = Field({}, alias="json")


class JobTable(Table):
    schedule: str = ""
    every: str = ""
    path: Annotated[str, AfterValidator(_path)] = ""
    url: Url = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    enabled: bool = True
    description: str = Field("", max_length=500)
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = {}
    json_: Any = Field(None, alias="json")
    body: str | None = None
    content_type: Annotated[str, AfterValidator(_content_type)] = ""
    secret_env: Variable = ""
    secret_file: File = ""
    send_secret: Annotated[str, AfterValidator(lambda text: text and _send_secret(text))] = ""
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    timeout: Seconds = 300.0
    connect_timeout: Seconds = 10.0
    grace: SecondsOrNone = 60.0
    arm: bool = True
    catch_up: Literal["last", "all", "none"] = "last"
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    retry_on: list[Literal["timeout", "5xx", "reset"]] = []
    delivery: Literal["at-most-once", "at-least-once"] = "at-most-once"
    expect: ExpectTable = Field(default_factory=ExpectTable.model_construct)
    totals: Annotated[dict[str, str], AfterValidator(_dotted)] = {}
    max_reply: Size = 1024**2
    memory_limit: Annotated[int | None, BeforeValidator(_memory_limit)] = None

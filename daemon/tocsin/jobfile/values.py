"""The values of the job file: the rule for each kind of value, and the rule's JSON Schema for editors.

A validator raises ValueError with only the reason. The code that reports it adds file, table, key and value. A rule for
an entry of a table or list is attached to the entry, so that every faulty entry is found.
"""

import math
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tocsin.jobfile.urls import MAX_URL, check_url
from tocsin.schedule.zones import load_zone

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+")
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = re.compile(r"([0-9]{1,9})\s*(B|[KMG]i?B)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, 5.6.2: a header's name
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TOTAL = re.compile(r"[a-z][a-z0-9_]{0,39}")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?")
_STATUS = re.compile(r"[1-5](xx|[0-9][0-9])")
LEAST_MEMORY = 48 * 1024**2  # bytes of data for a job's process: 26 MB measured before it does anything
MAX_TOTALS = 8  # series that a job may add to the metrics

# Headers that the call itself sets: a second one would contradict the first (RFC 9110, RFC 9112).
OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "accept-encoding", "te"}
    | {"upgrade", "expect", "trailer"}
)


def parse_duration(text: object) -> float:
    """Return the seconds of "90s", "5m", "1h30m", "500ms" or "2d". Raises ValueError."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError('is not a duration: use a number with a unit, for example "90s", "5m", "1h30m" or "500ms"')
    return math.fsum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|s|m|h|d)", text))


def _positive(seconds: float) -> float:
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("must be more than 0 and at most 366 days")
    return seconds


def _interval(text: str) -> str:
    """Check an interval of whole seconds. Returns the text, which a schedule uses after `@every`."""
    if text and (seconds := parse_duration(text)) != int(seconds):
        raise ValueError("must be whole seconds")
    return text


def parse_size(text: object) -> int:
    """Return the bytes of "512KiB" or "1MiB". Raises ValueError."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise ValueError('is not a size: use a number with a unit, for example "64KiB" or "1MiB"')
    return int(found[1]) * _SIZES[found[2]]


def _memory_limit(text: object) -> int | None:
    if text == "":
        return None
    if (limit := parse_size(text)) < LEAST_MEMORY:
        raise ValueError(f"is too little: a job's process alone needs half of {LEAST_MEMORY // 1024**2}MiB")
    return limit


def parse_address(text: object) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:9911" or "[::1]:9911". Raises ValueError."""
    why = 'is not an address: use host:port, for example "127.0.0.1:9911" or "[::1]:9911"'
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


def _host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise ValueError('is not a host name: leave out scheme, port and wildcards, for example "tocsin.internal"')
    return name


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a header name (letters, digits and hyphens)")
    if name.lower() in OWN_HEADERS:
        raise ValueError("is a header that Tocsin sets itself")
    return name


def _header_value(value: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise ValueError("has a value that would break the request: use printable ASCII")
    return value


def _each_once(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("names one header twice")
    return headers


def _content_type(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise ValueError("would break the request: use printable ASCII")
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
        try:
            _header_name(name)
        except ValueError as error:
            raise ValueError(f'"{name[:40]}" {error}') from None
        return text
    raise ValueError('must be "header:NAME", "bearer", "authorization", "query:NAME" or "none"')


def _variable(name: str) -> str:
    if name and not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable, not the secret itself")
    return name


def _file(name: str) -> str:
    if "\0" in name:
        raise ValueError("is not a file name")
    return name


def _schema(name: str) -> str:
    if not _SCHEMA.fullmatch(name) or name.startswith("pg_"):
        raise ValueError("must be a name in PostgreSQL: a-z, 0-9 and _, at most 63 characters, not beginning with pg_")
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
        raise ValueError("must not have a query: a job's path is added to it")
    return url


def _total(name: str) -> str:
    if not _TOTAL.fullmatch(name):
        raise ValueError("is not a name for a total: use a-z, 0-9 and _ (at most 40, a letter first)")
    return name


def _few(totals: dict[str, str]) -> dict[str, str]:
    if len(totals) > MAX_TOTALS:
        raise ValueError(f"has {len(totals)} names; at most {MAX_TOTALS}")
    return totals


def _place(path: str) -> str:
    if not all(path.split(".")):
        raise ValueError('must name a place in the reply, for example "summary.breached"')
    return path


def _status(pattern: str) -> str:
    if not _STATUS.fullmatch(pattern):
        raise ValueError('is not a status: use for example "2xx" or "204"')
    return pattern


def _some(patterns: list[str]) -> list[str]:
    if not patterns:
        raise ValueError('is empty: list the statuses that are right, for example ["2xx"]')
    return patterns


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("must be text, a number, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a JSON number: nan and inf never match")
    return value


def whole(value: object) -> object:
    """Refuse true and 3.0, which pydantic takes for whole numbers. Text such as "3" may come from a variable."""
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number")
    return value


def _switch(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _as(title: str, pattern: re.Pattern[str] | str, **more: Any) -> WithJsonSchema:
    """Return the JSON Schema of a text that must match all of `pattern`. `title` is a short name for it."""
    whole = pattern if isinstance(pattern, str) else pattern.pattern
    return WithJsonSchema({"type": "string", "title": title, "pattern": f"^(?:{whole})$", **more})


def table_as(title: str, names: str, values: dict[str, Any], **more: Any) -> WithJsonSchema:
    """Return the JSON Schema of a table: its keys must match `names`, its values the schema `values`."""
    made = {"type": "object", "title": title, "propertyNames": {"pattern": names}, "additionalProperties": values}
    return WithJsonSchema({**made, **more})


_DURATION_AS = _as("duration", _DURATION)
_PLACE_AS = r"^[^.]+(?:\.[^.]+)*$"
Seconds = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive), _DURATION_AS]
SecondsOrNone = Annotated[float, BeforeValidator(parse_duration), _DURATION_AS]
Interval = Annotated[str, AfterValidator(_interval), _DURATION_AS]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=1), _as("size", _SIZE)]
MemoryLimit = Annotated[int | None, BeforeValidator(_memory_limit), _as("size", f"|{_SIZE.pattern}")]
Address = Annotated[tuple[str, int], BeforeValidator(parse_address), _as("address", r"[^\s/@?#]+:[0-9]{1,5}")]
Host = Annotated[str, AfterValidator(_host), _as("host name", _HOST)]
Url = Annotated[str, AfterValidator(check_url), _as("URL", "https?://[!-~]+", maxLength=MAX_URL)]
BaseUrl = Annotated[str, AfterValidator(_base_url), _as("URL", "https?://[!->@-~]+", maxLength=MAX_URL)]
Path = Annotated[str, AfterValidator(_path), _as("path", '/[!-"$-~]*', maxLength=MAX_URL)]
Variable = Annotated[str, AfterValidator(_variable), _as("name of a variable", f"|{_VARIABLE.pattern}")]
File = Annotated[str, AfterValidator(_file), Field(title="file")]
_WAYS = "header:NAME, bearer, authorization, query:NAME or none"
_SENT = f"header:{_TOKEN.pattern}|bearer|authorization|query:.+|none"
SendSecret = Annotated[str, AfterValidator(_send_secret), _as(_WAYS, _SENT)]
OwnSendSecret = Annotated[str, AfterValidator(lambda text: text and _send_secret(text)), _as(_WAYS, f"|{_SENT}")]
ContentType = Annotated[str, AfterValidator(_content_type), _as("text", "[ -~]*")]
Switch = Annotated[bool, BeforeValidator(_switch)]
Schema = Annotated[str, AfterValidator(_schema), _as("name of a schema", f"(?!pg_){_SCHEMA.pattern}")]
Zone = Annotated[str, AfterValidator(_zone)]
User = Annotated[str, AfterValidator(_user), _as("text", "[ -9;-~]*", maxLength=100)]
Headers = Annotated[
    dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_value)]],
    AfterValidator(_each_once),
    table_as("table of texts", f"^{_TOKEN.pattern}$", {"type": "string", "pattern": "^[ -~]*$"}),
]
Totals = Annotated[
    dict[Annotated[str, AfterValidator(_total)], Annotated[str, AfterValidator(_place)]],
    AfterValidator(_few),
    table_as(
        "table of places in the reply",
        f"^{_TOTAL.pattern}$",
        {"type": "string", "pattern": _PLACE_AS},
        maxProperties=MAX_TOTALS,
    ),
]
Statuses = Annotated[
    list[Annotated[str, AfterValidator(_status)]],
    AfterValidator(_some),
    WithJsonSchema(
        {
            "type": "array",
            "title": "list of statuses",
            "minItems": 1,
            "items": {"type": "string", "pattern": f"^{_STATUS.pattern}$"},
        }
    ),
]
Scalars = Annotated[
    dict[Annotated[str, AfterValidator(_place)], Annotated[Any, AfterValidator(_scalar)]],
    table_as("table of values", _PLACE_AS, {"type": ["string", "number", "boolean"]}),
]

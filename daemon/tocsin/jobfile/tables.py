"""The job file as it is written: tables, keys, types, defaults. `tocsin.config` turns it into what the daemon uses.

Every key stands here once, with the rule for its value, what an editor may know of that rule (its JSON Schema,
`schema.py`) and what it is for. A validator raises ValueError with "why"; who reports it adds the file, the
job, the key and the value.
"""

import math
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tocsin.jobfile.urls import MAX_URL, check_url
from tocsin.schedule.zones import load_zone

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+")
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_SIZE = re.compile(r"([0-9]{1,9})\s*(B|[KMG]i?B)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, 5.6.2: a header's name
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TOTAL = re.compile(r"[a-z][a-z0-9_]{0,39}")
_STATUS = re.compile(r"[1-5](xx|[0-9][0-9])")
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
        if not _TOTAL.fullmatch(name):
            raise ValueError(f'has the name "{name[:40]}"; use a-z, 0-9 and _ (at most 40, a letter first)')
        if not path or not all(path.split(".")):
            raise ValueError(f'"{name}" must name a place in the reply, as "summary.breached"')
    return totals


def _status(patterns: list[str]) -> list[str]:
    if not all(_STATUS.fullmatch(pattern) for pattern in patterns):
        raise ValueError('has what is no status; write "2xx" or "204"')
    if not patterns:
        raise ValueError('is empty; write the statuses that are right, as ["2xx"]')
    return patterns


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("must be text, a number, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a number that JSON knows: nan and inf never match")
    return value


def _places(values: dict[str, Any]) -> dict[str, Any]:
    for path in values:
        if not all(path.split(".")):
            raise ValueError(f'"{path}" must name a place in the reply, as "summary.ok"')
    return values


def _whole(value: object) -> object:
    """Before pydantic, to which true is 1 and "3" is 3: a variable's text may fill it in."""
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number")
    return value


def _switch(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _as(title: str, pattern: re.Pattern[str] | str, **more: Any) -> WithJsonSchema:
    """The JSON Schema of a text that must match the whole of `pattern`; `title` says in a word what it is."""
    whole = pattern if isinstance(pattern, str) else pattern.pattern
    return WithJsonSchema({"type": "string", "title": title, "pattern": f"^(?:{whole})$", **more})


_DURATION_AS = _as("duration", _DURATION)
Seconds = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_positive), _DURATION_AS]
SecondsOrNone = Annotated[float, BeforeValidator(parse_duration), _DURATION_AS]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=1), _as("size", _SIZE)]
MemoryLimit = Annotated[int | None, BeforeValidator(_memory_limit), _as("size", f"|{_SIZE.pattern}")]
Address = Annotated[tuple[str, int], BeforeValidator(parse_address), _as("address", r"[^\s/@?#]+:[0-9]{1,5}")]
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
User = Annotated[str, AfterValidator(_user), _as("text", "[ -9;-~]*", maxLength=100)]
Headers = Annotated[
    dict[str, str],
    AfterValidator(_headers),
    WithJsonSchema(
        {
            "type": "object",
            "title": "table of texts",
            "propertyNames": {"pattern": f"^{_TOKEN.pattern}$"},
            "additionalProperties": {"type": "string", "pattern": "^[ -~]*$"},
        }
    ),
]
Totals = Annotated[
    dict[str, str],
    AfterValidator(_dotted),
    WithJsonSchema(
        {
            "type": "object",
            "title": "table of places in the reply",
            "maxProperties": MAX_TOTALS,
            "propertyNames": {"pattern": f"^{_TOTAL.pattern}$"},
            "additionalProperties": {"type": "string", "pattern": r"^[^.]+(?:\.[^.]+)*$"},
        }
    ),
]
Statuses = Annotated[
    list[str],
    AfterValidator(_status),
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
    dict[str, Annotated[Any, AfterValidator(_scalar)]],
    AfterValidator(_places),
    WithJsonSchema(
        {
            "type": "object",
            "title": "table of values",
            "propertyNames": {"pattern": r"^[^.]+(?:\.[^.]+)*$"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }
    ),
]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DaemonTable(Table):
    state_dir: File = Field("var", min_length=1, description="Folder of the lock, the ledger and the control socket.")
    listen: Address = Field(
        ("127.0.0.1", 9911), description='Where pages and metrics are served; IPv6 in brackets, as "[::1]:9911".'
    )
    listen_cert: File = Field("", description="Certificate chain of the listener, PEM. Set: TLS only.")
    listen_key: File = Field("", description="Its private key, PEM, unencrypted; may be in the same file.")
    listen_client_ca: File = Field("", description="Authority whose client certificates are required, PEM.")
    listen_bearer_env: Variable = Field("", description="Environment variable that holds a token for readers.")
    listen_bearer_file: File = Field("", description="File that holds a token for readers.")
    listen_user: User = Field("", max_length=100, description="User name for readers, with a password below.")
    listen_password_env: Variable = Field("", description="Environment variable that holds that user's password.")
    listen_password_file: File = Field("", description="File that holds that user's password.")
    ledger: str = Field("sqlite", description='Where slots are recorded; "sqlite" is the one there is.')
    node: str = Field("", max_length=63, description="Name of this machine in the ledger; else the host name.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug shows every step, info one line a run."
    )
    log_format: Literal["console", "json"] = Field("console", description="For people, or one JSON object a line.")
    drain: SecondsOrNone = Field(30.0, description="How long running calls may finish at a stop.")
    jobs_from: list[Annotated[File, Field(min_length=1)]] = Field(
        [], max_length=20, description='Files with jobs of other schedulers, read as they stand: "vercel.json".'
    )
    keep: Seconds = Field(90 * 86400.0, description="How long the ledger remembers a slot.")


class TargetTable(Table):
    base_url: BaseUrl = Field(
        "", description="Where the app is; a job's path follows it. Required by jobs with a path."
    )
    secret_env: Variable = Field("CRON_SECRET", description="Environment variable that holds the secret.")
    secret_file: File = Field(
        "", description="File that holds the secret; wins over secret_env, is read again at a 401."
    )
    send_secret: SendSecret = Field(
        "header:x-cron-secret",
        description="How the secret is sent; bearer and authorization are Authorization headers.",
    )
    ca_file: File = Field("", description="Authority to believe instead of the system's, PEM.")
    client_cert: File = Field("", description="This client's certificate, PEM.")
    client_key: File = Field("", description="Its private key, PEM; may be in the same file.")
    signing_secret_env: Variable = Field(
        "", description="Environment variable that holds the key of Standard Webhooks signatures; empty: none are sent."
    )
    allow_insecure: Switch = Field(False, description="Lets calls go to public hosts over plain http://.")


class ExpectTable(Table):
    status: Statuses = Field(["2xx"], description='Statuses that are right, as "2xx" or "204".')
    json_: Scalars = Field(
        {},
        alias="json",
        description="Places in the JSON reply and the values they must hold. Replaces the default rule.",
    )
    html: Switch = Field(False, description="true: an HTML page is a right reply; else it is a login or error page.")


class JobTable(Table):
    schedule: str = Field(
        "", description='Cron expression: five fields, six with seconds first, or "@daily" and the like.'
    )
    every: Annotated[str, _DURATION_AS] = Field("", description="Interval instead of a schedule, in whole seconds.")
    path: Path = Field("", description="What follows base_url, query included.")
    url: Url = Field("", description="Full address instead of a path. The target's secret goes to its own origin only.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field("POST", description="Method of the request.")
    enabled: Switch = Field(True, description="false: no process, no fires.")
    description: str = Field("", max_length=500, description="Shown on the status page.")
    headers: Headers = Field({}, description="More request headers, printable ASCII.")
    json_: Any = Field(None, alias="json", description="JSON body of the request.")
    body: str | None = Field(None, description="Text body of the request, instead of json.")
    content_type: ContentType = Field("", description="Content-Type of the body; else application/json or text/plain.")
    secret_env: Variable = Field("", description="Environment variable with a secret of this job's own.")
    secret_file: File = Field("", description="File with a secret of this job's own.")
    send_secret: OwnSendSecret = Field("", description="How this job's secret is sent; else as the target says.")
    timezone: Annotated[str, AfterValidator(_zone)] = Field("UTC", description='IANA time zone, as "Europe/Berlin".')
    timeout: Seconds = Field(
        300.0, description="One deadline for the whole call: DNS, connecting, TLS, the reply, waits between attempts."
    )
    connect_timeout: Seconds = Field(10.0, description="For each address of the host, and once more for TLS.")
    grace: SecondsOrNone = Field(60.0, description="How late a slot may start; later it is missed.")
    arm: Switch = Field(
        True, description="Connects shortly before the instant, so that at the instant one send is left to do."
    )
    catch_up: Literal["last", "all", "none"] = Field(
        "last", description="Which of the slots within grace run after downtime."
    )
    retries: Annotated[int, Field(ge=0, le=20), BeforeValidator(_whole)] = Field(
        3, description="Further attempts, of what surely was not processed and of 429 and 503."
    )
    retry_on: list[Literal["timeout", "5xx", "reset"]] = Field(
        [], description="What else is tried again; only for jobs that may run twice."
    )
    delivery: Literal["at-most-once", "at-least-once"] = Field(
        "at-most-once", description="Whether a run that was cut off is repeated, with the same Idempotency-Key."
    )
    expect: ExpectTable = Field(default_factory=ExpectTable.model_construct, description="What counts as success.")
    totals: Totals = Field({}, description="Counts to sum up, name = place in the JSON reply; at most 8.")
    max_reply: Size = Field(1024**2, description="A larger reply is a failure.")
    memory_limit: MemoryLimit = Field(
        None, description='Most memory of data of the job\'s process (RLIMIT_DATA), at least "48MiB"; empty: no limit.'
    )

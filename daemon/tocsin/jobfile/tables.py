"""The tables of the job file as written: keys, types, defaults. `tocsin.config` turns them into what the daemon uses.

Every key is here once, with its default and its purpose. `values.py` has the rule for each kind of value and the rule's
JSON Schema. The code that reports a fault adds the file, the job, the key and the value.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tocsin.jobfile.labels import Labels
from tocsin.jobfile.values import (
    Address,
    BaseUrl,
    ContentType,
    File,
    Headers,
    Host,
    Interval,
    MemoryLimit,
    OwnSendSecret,
    Path,
    Scalars,
    Schema,
    Seconds,
    SecondsOrNone,
    SendSecret,
    Size,
    Statuses,
    Switch,
    Totals,
    Url,
    User,
    Variable,
    Zone,
    whole,
)


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


RENAMED = {"keep": "retention"}  # old key -> new key


class DaemonTable(Table):
    state_dir: File = Field("var", min_length=1, description="Folder of the lock, the ledger and the control socket.")
    listen: Address = Field(
        ("127.0.0.1", 9911), description='Address of pages and metrics; IPv6 in brackets, for example "[::1]:9911".'
    )
    listen_hosts: list[Host] = Field(
        [],
        max_length=50,
        description="Host names that a listener without TLS and credentials answers to, besides IP addresses, "
        "localhost and the machine's own name; others get 421.",
    )
    listen_cert: File = Field(
        "", description="Certificate chain of the listener, PEM. If set, the listener accepts only TLS."
    )
    listen_key: File = Field("", description="Its private key, PEM, unencrypted; may be in the same file.")
    listen_client_ca: File = Field("", description="CA whose client certificates are required, PEM.")
    listen_bearer_env: Variable = Field("", description="Environment variable that holds the bearer token for clients.")
    listen_bearer_file: File = Field("", description="File that holds the bearer token for clients.")
    listen_user: User = Field("", max_length=100, description="User name for clients; also set a password below.")
    listen_password_env: Variable = Field("", description="Environment variable that holds that user's password.")
    listen_password_file: File = Field("", description="File that holds that user's password.")
    listen_actions: Literal["credentials", "loopback"] = Field(
        "credentials",
        description="Who may fire, pause, resume and reload on the listener: clients with the credentials below, or, "
        'with "loopback", any client on this machine that may read the pages.',
    )
    listen_actor_bearer_env: Variable = Field(
        "", description="Environment variable that holds the bearer token of clients that may act."
    )
    listen_actor_bearer_file: File = Field("", description="File that holds that token.")
    listen_actor_user: User = Field(
        "", max_length=100, description="User name of people who may act; also set a password below."
    )
    listen_actor_password_env: Variable = Field("", description="Environment variable that holds that user's password.")
    listen_actor_password_file: File = Field("", description="File that holds that user's password.")
    ledger: str = Field(
        "sqlite",
        description='Where slots are recorded: "sqlite", a file in the state folder, or a PostgreSQL server, as '
        '"postgresql://user@host/database".',
    )
    ledger_password_env: Variable = Field(
        "", description="Environment variable that holds the password of the ledger's user on PostgreSQL."
    )
    ledger_password_file: File = Field("", description="File that holds that password; it is read at each connection.")
    ledger_schema: Schema = Field("tocsin", description="Schema of the ledger's tables on PostgreSQL.")
    node: str = Field("", max_length=63, description="Name of this machine in the ledger; by default the host name.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug logs every step, info one line for each run."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="For people, or one JSON object in each line."
    )
    drain: SecondsOrNone = Field(30.0, description="How long running calls may take to finish when the daemon stops.")
    jobs_from: list[Annotated[File, Field(min_length=1)]] = Field(
        [], max_length=20, description='Files of other schedulers to take jobs from, for example "vercel.json".'
    )
    retention: Seconds = Field(90 * 86400.0, description="How long the ledger keeps the record of a slot.")
    keep_replies: Literal["failures", "all", "none"] = Field(
        "failures", description="The same as keep_replies of a job, for all that do not say otherwise."
    )
    replies_retention: Seconds = Field(7 * 86400.0, description="How long the ledger keeps a reply.")


class TargetTable(Table):
    base_url: BaseUrl = Field(
        "", description="Address of the app; a job's path is added to it. Required by jobs with a path."
    )
    secret_env: Variable = Field("CRON_SECRET", description="Environment variable that holds the secret.")
    secret_file: File = Field(
        "", description="File that holds the secret; wins over secret_env and is read again after a 401."
    )
    send_secret: SendSecret = Field(
        "header:x-cron-secret",
        description="How the secret is sent; bearer and authorization are Authorization headers.",
    )
    ca_file: File = Field("", description="CA bundle to trust instead of the system's, PEM.")
    client_cert: File = Field("", description="This client's certificate, PEM.")
    client_key: File = Field("", description="Its private key, PEM; may be in the same file.")
    signing_secret_env: Variable = Field(
        "",
        description="Environment variable that holds the key for Standard Webhooks signatures; empty: none are sent.",
    )
    allow_insecure: Switch = Field(False, description="Allows calls to public hosts over plain http://.")


class NotifyTable(Table):
    urls_env: Variable = Field(
        "",
        description="Environment variable that holds the addresses to write to, as Apprise takes them, separated by "
        "spaces or lines.",
    )
    urls_file: File = Field("", description="File that holds these addresses, instead of urls_env.")
    gather: SecondsOrNone = Field(
        30.0,
        le=3600.0,
        description="How long a message waits for more of the same: one outage is one message. So does the word that "
        "it is over.",
    )
    max_per_hour: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole)] = Field(
        20, description="Messages in any hour; what is beyond that comes as one digest."
    )
    page_url: BaseUrl = Field(
        "", description='Address of the pages for who reads a message, for example "https://tocsin.example.com".'
    )
    heartbeat_url_env: Variable = Field(
        "",
        description="Environment variable that holds a URL to ping each minute while all is well: whoever watches it "
        "notices when Tocsin falls silent.",
    )
    ping_style: Literal["auto", "healthchecks", "uptime-kuma", "betterstack", "plain"] = Field(
        "auto",
        description="The service that heartbeat_url_env and ping_url_env belong to; auto: by the address. plain: one "
        "GET for each success, and nothing else.",
    )


class ExpectTable(Table):
    status: Statuses = Field(["2xx"], description='Statuses that count as success, for example "2xx" or "204".')
    json_: Scalars = Field(
        {},
        alias="json",
        description="Paths in the JSON reply and the values they must have. Replaces the default rule.",
    )
    html: Switch = Field(
        False, description="Whether an HTML page is a success; otherwise it counts as a login or error page."
    )
    cached: Switch = Field(
        False, description="Whether a reply from a cache is a success; otherwise it is a failure, because nothing ran."
    )


class JobTable(Table):
    schedule: str = Field(
        "", description='Cron expression: five fields, six with seconds first, or for example "@daily".'
    )
    every: Interval = Field("", description="Interval instead of a schedule, in whole seconds.")
    path: Path = Field("", description="Path added to base_url, including the query.")
    url: Url = Field(
        "", description="Full address instead of a path. The target's secret is sent only to the target's own origin."
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field("POST", description="HTTP method of the request.")
    enabled: Switch = Field(True, description="If false, the job has no process and does not run.")
    description: str = Field("", max_length=500, description="Shown on the status page.")
    labels: Labels = Field(
        {},
        description='Groups of the job, for example { team = "billing" }, at most 8: filters on the status page, and '
        "labels of tocsin_job_info. A job's own labels are added to those of [defaults].",
    )
    headers: Headers = Field({}, description="Additional request headers, printable ASCII.")
    json_: Any = Field(None, alias="json", description="JSON body of the request.")
    body: str | None = Field(None, description="Text body of the request, instead of json.")
    content_type: ContentType = Field(
        "", description="Content-Type of the body; by default application/json or text/plain."
    )
    secret_env: Variable = Field("", description="Environment variable that holds this job's own secret.")
    secret_file: File = Field("", description="File that holds this job's own secret.")
    send_secret: OwnSendSecret = Field("", description="How this job's secret is sent; by default as set in [target].")
    timezone: Zone = Field("UTC", description='IANA time zone, for example "Europe/Berlin".')
    timeout: Seconds = Field(
        300.0, description="Deadline for the whole call: DNS, connecting, TLS, the reply, and waits between attempts."
    )
    connect_timeout: Seconds = Field(
        10.0, description="Limit for connecting to each address of the host, and again for the TLS handshake."
    )
    grace: SecondsOrNone = Field(60.0, description="How late a slot may start; a later slot is missed.")
    arm: Switch = Field(
        True, description="Whether to connect shortly before the due instant, so that only one send remains."
    )
    catch_up: Literal["last", "all", "none"] = Field("last", description="Which slots within grace run after downtime.")
    retries: Annotated[int, Field(ge=0, le=20), BeforeValidator(whole)] = Field(
        3, description="Further attempts, for calls that were certainly not processed, and for 429 and 503."
    )
    retry_on: list[Literal["timeout", "5xx", "reset"]] = Field(
        [], description="What else is retried; only for jobs that may run twice."
    )
    delivery: Literal["at-most-once", "at-least-once"] = Field(
        "at-most-once", description="Whether a run that was cut off is repeated, with the same Idempotency-Key."
    )
    alert_after: Annotated[int, Field(ge=0, le=1000), BeforeValidator(whole)] = Field(
        0, description="Failures in a row that alert; 0: 1 where the next fire is over an hour away, else 3."
    )
    notify: Switch = Field(True, description="Whether [notify] tells of this job.")
    notify_after: Annotated[int, Field(ge=0, le=1000), BeforeValidator(whole)] = Field(
        0, description="Failures in a row from which on [notify] tells of them; 0: as alert_after."
    )
    ping_url_env: Variable = Field(
        "",
        description="Environment variable that holds a URL to ping at the start and the end of each run, for "
        "Healthchecks and the like.",
    )
    expect: ExpectTable = Field(default_factory=ExpectTable.model_construct, description="What counts as success.")
    totals: Totals = Field({}, description="Counts to add up: name = path in the JSON reply; at most 8.")
    keep_replies: Literal["failures", "all", "none"] = Field(
        "failures",
        description="The attempts of which request and reply are kept: headers, and the first 4 KiB of a reply that is "
        "text, without secrets. By default as set in [daemon].",
    )
    max_reply: Size = Field(1024**2, description="A larger reply is a failure.")
    memory_limit: MemoryLimit = Field(
        None,
        description='Memory limit for data of the job\'s process (RLIMIT_DATA), at least "48MiB"; empty: no limit.',
    )

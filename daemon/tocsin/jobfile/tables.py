"""The tables of the job file as they are written: keys, types, defaults. `tocsin.config` turns them into what the
daemon uses.

Every key stands here once, with its default and what it is for; `values.py` has the rule for its value and what an
editor may know of that rule. Whoever reports a fault adds the file, the job, the key and the value.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tocsin.jobfile.values import (
    Address,
    BaseUrl,
    ContentType,
    File,
    Headers,
    Host,
    Interval,
    Labels,
    MemoryLimit,
    OwnSendSecret,
    Path,
    Scalars,
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


class DaemonTable(Table):
    state_dir: File = Field("var", min_length=1, description="Folder of the lock, the ledger and the control socket.")
    listen: Address = Field(
        ("127.0.0.1", 9911), description='Where pages and metrics are served; IPv6 in brackets, as "[::1]:9911".'
    )
    listen_hosts: list[Host] = Field(
        [],
        max_length=50,
        description="Names by which requests may ask for a listener without TLS and credentials, beside IP addresses, "
        "localhost and the machine's own name; others get 421.",
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
    cached: Switch = Field(
        False, description="true: a reply from a cache is a right reply; else it is a failure, since nothing ran."
    )


class JobTable(Table):
    schedule: str = Field(
        "", description='Cron expression: five fields, six with seconds first, or "@daily" and the like.'
    )
    every: Interval = Field("", description="Interval instead of a schedule, in whole seconds.")
    path: Path = Field("", description="What follows base_url, query included.")
    url: Url = Field("", description="Full address instead of a path. The target's secret goes to its own origin only.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field("POST", description="Method of the request.")
    enabled: Switch = Field(True, description="false: no process, no fires.")
    description: str = Field("", max_length=500, description="Shown on the status page.")
    labels: Labels = Field(
        {},
        description='Groups of the job, as { team = "billing" }, at most 8: filters of the status page, and labels of '
        "tocsin_job_info. A job's own are added to those of [defaults].",
    )
    headers: Headers = Field({}, description="More request headers, printable ASCII.")
    json_: Any = Field(None, alias="json", description="JSON body of the request.")
    body: str | None = Field(None, description="Text body of the request, instead of json.")
    content_type: ContentType = Field("", description="Content-Type of the body; else application/json or text/plain.")
    secret_env: Variable = Field("", description="Environment variable with a secret of this job's own.")
    secret_file: File = Field("", description="File with a secret of this job's own.")
    send_secret: OwnSendSecret = Field("", description="How this job's secret is sent; else as the target says.")
    timezone: Zone = Field("UTC", description='IANA time zone, as "Europe/Berlin".')
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
    retries: Annotated[int, Field(ge=0, le=20), BeforeValidator(whole)] = Field(
        3, description="Further attempts, of what surely was not processed and of 429 and 503."
    )
    retry_on: list[Literal["timeout", "5xx", "reset"]] = Field(
        [], description="What else is tried again; only for jobs that may run twice."
    )
    delivery: Literal["at-most-once", "at-least-once"] = Field(
        "at-most-once", description="Whether a run that was cut off is repeated, with the same Idempotency-Key."
    )
    alert_after: Annotated[int, Field(ge=0, le=1000), BeforeValidator(whole)] = Field(
        0, description="Failures in a row that alert; 0: 1 where the next fire is over an hour away, else 3."
    )
    expect: ExpectTable = Field(default_factory=ExpectTable.model_construct, description="What counts as success.")
    totals: Totals = Field({}, description="Counts to sum up, name = place in the JSON reply; at most 8.")
    max_reply: Size = Field(1024**2, description="A larger reply is a failure.")
    memory_limit: MemoryLimit = Field(
        None, description='Most memory of data of the job\'s process (RLIMIT_DATA), at least "48MiB"; empty: no limit.'
    )

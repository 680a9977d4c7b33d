"""The job file: every fault at once, by its place; nothing of what a variable holds in any error."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tocsin import config
from tocsin.config import Config, Job
from tocsin.faults import ConfigError, Fault, shown
from tocsin.jobfile import DaemonTable, JobTable, TargetTable
from tocsin.schedule import Schedule

SECRET = "0123456789abcdef-not-guessed"
SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ENVIRONMENT = {"CRON_SECRET": SECRET}
TARGET = '[target]\nbase_url = "https://app.example.com"\n'
JOB = '[jobs.a]\nschedule = "* * * * *"\npath = "/x"\n'
GOOD = TARGET + JOB

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, environment: dict[str, str] | None = None, dotenv: str | bytes | None = None) -> Config:
        file = tmp_path / "tocsin.toml"
        file.write_text(text)
        if dotenv is not None:
            (tmp_path / ".env").write_bytes(dotenv if isinstance(dotenv, bytes) else dotenv.encode())
        return config.load(file, ENVIRONMENT if environment is None else environment)

    return load


def faults(load: Load, text: str, *args: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(text, *args)
    assert raised.value.faults, "an error lists what is wrong"
    assert str(raised.value) == "\n".join(map(str, raised.value.faults))
    return [str(fault) for fault in raised.value.faults]


def outcome(call: Callable[[], Config]) -> Config | list[Fault]:
    """What was loaded, or the faults; any other exception passes."""
    try:
        return call()
    except ConfigError as error:
        return error.faults


def job(load: Load, keys: str = "", target: str = "", *args: Any) -> Job:
    return load(TARGET + target + JOB + keys, *args).jobs["a"]


# ---- the contract


def test_the_defaults_of_every_key(load: Load, tmp_path: Path) -> None:
    loaded = load(GOOD)
    assert loaded.file == tmp_path / "tocsin.toml"
    assert loaded.state_dir == tmp_path / "var"
    assert loaded.listen == ("127.0.0.1", 9911)
    assert (loaded.ledger, loaded.log_level, loaded.log_format, loaded.drain) == ("sqlite", "info", "console", 30.0)
    assert loaded.node
    assert loaded.warnings == ()
    one = loaded.jobs["a"]
    assert one.schedule == Schedule("* * * * *", "UTC")
    assert (one.name, one.method, one.url) == ("a", "POST", "https://app.example.com/x")
    assert (one.enabled, one.description, one.headers, one.body) == (True, "", (), None)
    assert (one.timeout, one.connect_timeout, one.grace, one.catch_up) == (300.0, 10.0, 60.0, "last")
    assert (one.retries, one.retry_on, one.delivery) == (3, (), "at-most-once")
    assert (one.expect_status, one.expect_json, one.totals) == (("2xx",), (), ())
    assert (one.max_reply, one.memory_limit) == (1024**2, None)
    assert one.secret is not None
    assert (one.secret.value, one.secret.sent, one.secret.source) == (SECRET, "header:x-cron-secret", "CRON_SECRET")
    assert one.longest_run == 300.0


EVERY_KEY = """
[daemon]
state_dir = "elsewhere"
listen = "[::1]:9000"
ledger = "sqlite"
node = "web-1"
log_level = "debug"
log_format = "json"
drain = "5s"
[target]
base_url = "https://app.example.com/base/"
secret_env = "OTHER_SECRET"
send_secret = "bearer"
signing_secret_env = "SIGNING"
[defaults]
timezone = "Europe/Berlin"
[jobs.sla-check]
schedule = "0 5 * * MON"
path = "/api?a=%20b&c"
method = "PUT"
totals = { unassigned = "unassignedCount", deep = "summary.breached" }
enabled = false
description = "what it is for"
headers = { X-One = "1" }
json = { a = [1, 2.5, true, "x"] }
timeout = "1h30m"
connect_timeout = "500ms"
grace = "0s"
arm = false
catch_up = "all"
retries = 0
retry_on = ["timeout", "5xx", "reset"]
delivery = "at-least-once"
expect = { status = ["204", "3xx"], json = { success = true, n = 1 } }
max_reply = "64KiB"
memory_limit = "256MiB"
[jobs."b.2_c"]
every = "90s"
url = "https://elsewhere.example/x"
body = "text"
content_type = "text/csv"
"""


def test_every_key_of_the_contract(load: Load, tmp_path: Path) -> None:
    loaded = load(EVERY_KEY, {"OTHER_SECRET": SECRET, "SIGNING": SIGNING})
    assert loaded.state_dir == tmp_path / "elsewhere"
    assert (loaded.listen, loaded.node, loaded.drain) == (("::1", 9000), "web-1", 5.0)
    assert (loaded.log_level, loaded.log_format) == ("debug", "json")
    one, two = loaded.jobs["sla-check"], loaded.jobs["b.2_c"]
    assert one.schedule == Schedule("0 5 * * MON", "Europe/Berlin")
    assert one.url == "https://app.example.com/base/api?a=%20b&c"
    assert one.public_url == "https://app.example.com/base/api"
    assert (one.method, one.enabled, one.description) == ("PUT", False, "what it is for")
    assert one.totals == (("unassigned", "unassignedCount"), ("deep", "summary.breached"))
    assert dict(one.headers) == {"X-One": "1", "Content-Type": "application/json"}
    assert one.body == b'{"a":[1,2.5,true,"x"]}'
    assert (one.timeout, one.connect_timeout, one.grace, one.catch_up) == (5400.0, 0.5, 0.0, "all")
    assert (one.retries, one.retry_on, one.delivery) == (0, ("timeout", "5xx", "reset"), "at-least-once")
    assert one.expect_status == ("204", "3xx")
    assert dict(one.expect_json) == {"success": True, "n": 1}
    assert (one.max_reply, one.memory_limit) == (65536, 256 * 1024**2)
    assert one.secret is not None
    assert (one.secret.source, one.secret.sent) == ("OTHER_SECRET", "bearer")
    assert one.signing_secret is not None
    assert one.signing_secret.value == SIGNING
    assert two.signing_secret is None, "that of the target is for the target"
    assert two.schedule == Schedule("@every 90s", "Europe/Berlin")
    assert (two.body, dict(two.headers)) == (b"text", {"Content-Type": "text/csv"})
    assert two.host == "elsewhere.example"
    assert list(loaded.enabled_jobs) == ["b.2_c"]


OWN_TESTS = (
    *("jobs_from",),  # in test_jobs_from.py
    *("keep", "allow_insecure", "secret_file", "ca_file", "client_cert", "client_key"),
    *("listen_cert", "listen_key", "listen_client_ca"),  # and these, in test_access.py
    *("listen_bearer_env", "listen_bearer_file", "listen_user", "listen_password_env", "listen_password_file"),
)


def test_files_of_tls_are_read_at_load_and_named_once(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("tocsin").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----")
    file = tmp_path / "tocsin.toml"

    def why(keys: str) -> list[str]:
        two = "".join(f'[jobs.{name}]\nevery = "1m"\npath = "/{name}"\n' for name in "ab")
        elsewhere = '[jobs.c]\nevery = "1m"\nurl = "https://elsewhere.example/c"\n'
        file.write_text(f'[target]\nbase_url = "https://a.example"\nsend_secret = "none"\n{keys}\n{two}{elsewhere}')
        try:
            jobs = config.load(file, {}).jobs
        except ConfigError as error:
            return [str(fault) for fault in error.faults]
        assert jobs["a"].tls == jobs["b"].tls
        assert jobs["a"].tls.ca_file == tmp_path / "ca.pem"
        assert jobs["c"].tls.ca_file is None  # the target's files are for the target alone
        assert jobs["c"].tls.client_cert is None
        return []

    assert why('ca_file = "ca.pem"\nclient_cert = "client.pem"') == []
    assert why('ca_file = "gone.pem"') == [
        f"tocsin.toml: [target] ca_file: cannot use {tmp_path}/gone.pem: No such file or directory"
    ]
    (fault,) = why('ca_file = "broken.pem"')
    assert fault.startswith(f"tocsin.toml: [target] ca_file: cannot use {tmp_path}/broken.pem")
    (fault,) = why('client_cert = "ca.pem"')
    assert fault.startswith(f"tocsin.toml: [target] client_cert: cannot use {tmp_path}/ca.pem")
    assert why('client_key = "client.pem"') == ["tocsin.toml: [target] client_key: stands without client_cert"]


def test_every_key_of_the_tables_stands_in_a_test() -> None:
    for table in (DaemonTable, TargetTable, JobTable):
        for name, field in table.model_fields.items():
            key = field.alias or name
            if key not in OWN_TESTS:
                assert re.search(rf"\b{key} = ", EVERY_KEY), key


@pytest.mark.parametrize("form", ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "*/10 * * * * *"])
def test_forms_of_schedules(load: Load, form: str) -> None:
    loaded = load(GOOD.replace("* * * * *", form))
    assert loaded.jobs["a"].schedule == Schedule(form)


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:9911", ("127.0.0.1", 9911)),
        ("[::1]:9911", ("::1", 9911)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses(load: Load, address: str, parsed: tuple[str, int]) -> None:
    assert load(f'[daemon]\nlisten = "{address}"\n{GOOD}').listen == parsed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("2d", 172800), ("1s500ms", 1.5), ("366d", 31622400)],
)
def test_durations(load: Load, text: str, seconds: float) -> None:
    assert job(load, f'timeout = "{text}"').timeout == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("64KiB", 65536), ("1MB", 10**6), ("2 GiB", 2 * 1024**3), ("3KB", 3000)]
)
def test_sizes(load: Load, text: str, size: int) -> None:
    assert job(load, f'max_reply = "{text}"').max_reply == size


def test_a_long_run_counts_the_retries_after_a_timeout(load: Load) -> None:
    assert job(load, 'timeout = "10s"\nretry_on = ["timeout"]').longest_run == 40.0
    assert job(load, 'timeout = "10s"\nretry_on = ["5xx"]').longest_run == 10.0


# ---- every fault at once


def test_five_faults_are_listed_at_once_each_with_its_place(load: Load) -> None:
    found = faults(
        load,
        """
[daemon]
listen = "nowhere"
[target]
base_url = "app.example.com"
[defaults]
retries = 99
[jobs.a]
schedule = "* * * *"
path = "/x"
timout = "5s"
[jobs.b]
every = "90s"
path = "x"
[other]
""",
    )
    assert set(found) == {
        'tocsin.toml: [daemon] listen = "nowhere": is no address; write host:port, as "127.0.0.1:9911" or "[::1]:9911"',
        'tocsin.toml: [target] base_url = "app.example.com": is no URL; write it in full, as '
        '"https://app.example.com/path"',
        "tocsin.toml: [defaults] retries = 99: must be less than or equal to 20",
        'tocsin.toml: [jobs.a] timout = "5s": unknown key; did you mean "timeout"?',
        'tocsin.toml: [jobs.b] path = "x": must start with "/", without spaces or "#", percent-encoded where needed',
        "tocsin.toml: other: is not a table of the job file",
    }
    assert len(found) == 6


BAD_JOB_KEYS = [
    ("timeout = 5", 'timeout = 5: is no duration; write a number with its unit, as "90s", "5m", "1h30m" or "500ms"'),
    ('timeout = "0s"', 'timeout = "0s": must be more than nothing and at most 366 days'),
    ('timeout = "367d"', 'timeout = "367d": must be more than nothing and at most 366 days'),
    (
        'grace = "soon"',
        'grace = "soon": is no duration; write a number with its unit, as "90s", "5m", "1h30m" or "500ms"',
    ),
    ('method = "HEAD"', "method = \"HEAD\": must be 'GET', 'POST', 'PUT', 'PATCH' or 'DELETE'"),
    ('catch_up = "some"', "catch_up = \"some\": must be 'last', 'all' or 'none'"),
    ('delivery = "once"', "delivery = \"once\": must be 'at-most-once' or 'at-least-once'"),
    ("retries = -1", "retries = -1: must be greater than or equal to 0"),
    ("retries = 21", "retries = 21: must be less than or equal to 20"),
    ('retry_on = ["timeout", "4xx"]', "retry_on.1 = \"4xx\": must be 'timeout', '5xx' or 'reset'"),
    ("description = 5", "description = 5: must be text, in quotes"),
    (
        'timezone = "Europe/Berln"',
        'timezone = "Europe/Berln": no such zone; did you mean Europe/Berlin or Europe/Dublin or Europe/Belfast?',
    ),
    ('max_reply = "1 meg"', 'max_reply = "1 meg": is no size; write a number with its unit, as "64KiB" or "1MiB"'),
    ('max_reply = "0B"', 'max_reply = "0B": must be greater than or equal to 1'),
    ("memory_limit = 5", 'memory_limit = 5: is no size; write a number with its unit, as "64KiB" or "1MiB"'),
    (
        'totals = { "Un-assigned" = "x" }',
        'totals = {"Un-assigned": "x"}: has the name "Un-assigned"; use a-z, 0-9 and _ (at most 40, a letter first)',
    ),
    ('totals = { a = "b..c" }', 'totals = {"a": "b..c"}: "a" must name a place in the reply, as "summary.breached"'),
    (
        "totals = { a='x',b='x',c='x',d='x',e='x',f='x',g='x',h='x',i='x' }",
        'totals = {"a": "x", "b": "x", "c": "x", "d": "x", "e": "x", "f": "x", "g": "x", "h": "x"…: '
        "has 9 names; at most 8",
    ),
    ('expect = { status = ["6xx"] }', 'expect.status = ["6xx"]: has what is no status; write "2xx" or "204"'),
    ("expect = { status = [] }", 'expect.status = []: is empty; write the statuses that are right, as ["2xx"]'),
    ("expect = { json = { a = [1] } }", "expect.json.a = [1]: must be text, a number, true or false"),
    ("expect = { body = 'x' }", 'expect.body = "x": unknown key'),
    (
        "json = { when = 2026-01-01 }",
        "json: cannot be written as JSON; dates and times go in quotes, nan and inf nowhere",
    ),
    ("json = [nan]", "json: cannot be written as JSON; dates and times go in quotes, nan and inf nowhere"),
    ("json = {}\nbody = 'x'", "body: stands beside json; a request has one body"),
    ('content_type = "text/plain\\r\\nX: y"', None),
    ('send_secret = "cookie"', None),
    ('send_secret = "header:a b"', 'send_secret = "header:a b": is no header name (letters, digits and hyphens)'),
    ('every = "90s"', 'schedule: is missing; write schedule = "* * * * *" or every = "90s", one of the two'),
    ('url = "https://x.example/"', 'path: is missing; write path = "/api/…" or url = "https://…", one of the two'),
    ("schedul = 'x'", 'schedul = "x": unknown key; did you mean "schedule"?'),
    ("json_ = 1", 'json_ = 1: unknown key; did you mean "json"?'),
]


@pytest.mark.parametrize(("line", "message"), BAD_JOB_KEYS, ids=[line[:40] for line, _ in BAD_JOB_KEYS])
def test_bad_keys_of_a_job(load: Load, line: str, message: str | None) -> None:
    (fault,) = faults(load, GOOD + line)
    key = line.split(" ")[0]
    if message is None:
        assert fault.startswith(f"tocsin.toml: [jobs.a] {key} = ")
    else:
        assert fault == f"tocsin.toml: [jobs.a] {message}"
    assert "\n" not in fault
    assert "\r" not in fault


BAD_SCHEDULES = [
    ("* * * *", "schedule: cannot read schedule '* * * *': it has 4 fields"),
    ("61 * * * *", "schedule: cannot read schedule '61 * * * *': minute 61"),
    ("@sometimes", "schedule: cannot read schedule '@sometimes'"),
]


@pytest.mark.parametrize(("expression", "message"), BAD_SCHEDULES)
def test_bad_schedules(load: Load, expression: str, message: str) -> None:
    (fault,) = faults(load, GOOD.replace("* * * * *", expression))
    assert fault.startswith(f"tocsin.toml: [jobs.a] {message[:40]}")


@pytest.mark.parametrize(
    ("every", "why"),
    [
        ("500ms", '= "500ms": must be whole seconds'),
        ("0s", "at least 1s"),
        ("400d", "at most 366d"),
        ("99", "is no duration"),
    ],
)
def test_bad_intervals(load: Load, every: str, why: str) -> None:
    (fault,) = faults(load, GOOD.replace('schedule = "* * * * *"', f'every = "{every}"'))
    assert fault.startswith("tocsin.toml: [jobs.a] every")
    assert why in fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tocsin.toml: [jobs]: has no job; add a table such as [jobs.sla-check]"),
        ("jobs = 3", "tocsin.toml: [jobs] = 3: must be a table"),
        ("[jobs]\na = 3", "tocsin.toml: [jobs] a = 3: must be a table"),
        (
            JOB.replace(".a]", ".A]").replace("path", "url").replace("/x", "https://x.example/"),
            "tocsin.toml: [jobs.A]: a job's name has a-z, 0-9, '.', '_' and '-', a letter or digit first, at most 63",
        ),
        (JOB, "tocsin.toml: [target] base_url: is required by job a, which gives a path"),
        ("jobs = [", "tocsin.toml: is not TOML: Invalid value (at end of document)"),
        (f"target = 1\n{JOB}", "tocsin.toml: [target] = 1: must be a table"),
        (f"[targt]\n{GOOD}", 'tocsin.toml: targt: is not a table of the job file; did you mean "target"?'),
    ],
)
def test_bad_files(load: Load, text: str, message: str) -> None:
    assert message in faults(load, text)


BAD_DAEMON = [
    ('listen = "127.0.0.1"', "is no address"),
    ('listen = "127.0.0.1:0"', "is no address"),
    ('listen = "127.0.0.1:65536"', "is no address"),
    ('listen = "me@127.0.0.1:1"', "is no address"),
    ("listen = 9911", "is no address"),
    ('log_level = "loud"', "must be 'debug', 'info', 'warning' or 'error'"),
    ('log_format = "xml"', "must be 'console' or 'json'"),
    ('state_dir = ""', "at least 1 character"),
    ('drain = "long"', "is no duration"),
    ('keep = "0s"', "must be more than nothing"),
    ('listen_user = "a:b"', "must be printable ASCII without a colon"),
    ('listen_user = "ü"', "must be printable ASCII without a colon"),
    ('listen_cert = "a\\u0000b"', "is no file's name"),
    ('ledger = "postgresql://u@h/db"', 'must be "sqlite" in this version'),
    ('lissten = ""', 'unknown key; did you mean "listen"?'),
]


@pytest.mark.parametrize(("line", "why"), BAD_DAEMON)
def test_bad_keys_of_the_daemon(load: Load, line: str, why: str) -> None:
    (fault,) = faults(load, f"[daemon]\n{line}\n{GOOD}")
    assert fault.startswith(f"tocsin.toml: [daemon] {line.split()[0]}")
    assert why in fault


BAD_URLS = [
    "app.example.com",
    "ftp://app.example.com",
    "https://",
    "https://user:pass@app.example.com",
    "https://app.example.com/#top",
    "https://app.example.com:0/",
    "https://app.example.com:99999/",
    "https://[::1/",
    "https://app.example.com/a b",
    "https://äpp.example.com/",
    "https://app.example.com/" + "x" * 2000,
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_urls(load: Load, url: str) -> None:
    for key, text in (
        ("[jobs.a] url", f'{TARGET}[jobs.a]\nschedule = "* * * * *"\nurl = "{url}"'),
        ("[target] base_url", f'[target]\nbase_url = "{url}"\n{JOB}'),
    ):
        (fault,) = faults(load, text)
        assert fault.startswith(f"tocsin.toml: {key} = ")


@pytest.mark.parametrize("path", ["x", "", "/a b", "/a#b", "/ü", "/a\\n", "/" + "x" * 2000])
def test_bad_paths(load: Load, path: str) -> None:
    (fault,) = faults(load, GOOD.replace('"/x"', f'"{path}"'))
    assert fault.startswith("tocsin.toml: [jobs.a] path = ")


def test_the_base_url_has_no_query(load: Load) -> None:
    (fault,) = faults(load, GOOD.replace(".com", ".com/?a=1"))
    assert fault.endswith("must end before the query: the path of a job follows it")


@pytest.mark.parametrize("given", ["neither", "both"])
def test_schedule_or_every_and_path_or_url(load: Load, given: str) -> None:
    keys = 'schedule = "* * * * *"\nevery = "5s"\npath = "/x"\nurl = "https://x.example"' if given == "both" else ""
    found = faults(load, f"{TARGET}[jobs.a]\n{keys}")
    assert len(found) == 2
    assert "schedule: is missing; write schedule" in found[0]
    assert "path: is missing; write path" in found[1]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the job file .*tocsin.toml: No such file or directory"):
        config.load(tmp_path / "tocsin.toml", {})
    with pytest.raises(ConfigError, match="Is a directory"):
        config.load(tmp_path, {})


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    for raw, why in ((b"\xff\xfe", "is not TOML"), (b"#" * (config.FILE_SIZE + 1), "is it the job file?")):
        file.write_bytes(raw)
        with pytest.raises(ConfigError, match=re.escape(why)):
            config.load(file, {})


@pytest.mark.parametrize("depth", [300, 420, 480, 800, 5000])
def test_a_list_in_a_list_in_a_list(load: Load, depth: int) -> None:
    found = outcome(lambda: load(GOOD + "json = " + "[" * depth + "]" * depth))
    assert isinstance(found, Config) or len(found) == 1


def test_a_value_in_an_error_is_cut(load: Load) -> None:
    (fault,) = faults(load, GOOD + f'catch_up = "{"x" * 500}"')
    assert len(fault) < 200
    assert "…" in fault


# ---- variables


def test_variables_come_from_the_environment_and_from_dotenv(load: Load) -> None:
    text = GOOD.replace("https://app.example.com", "${BASE}").replace("/x", "/${A:-x}/${B:-}")
    dotenv = "BASE=https://dot.example\nCRON_SECRET=from-the-dotenv-file\n# a comment\nA=\n"
    one = load(text, {}, dotenv).jobs["a"]
    assert one.url == "https://dot.example/x/"
    assert one.secret is not None
    assert one.secret.value == "from-the-dotenv-file"
    assert load(text, {"BASE": "https://env.example", "A": "a", "B": "b"}).jobs["a"].url == "https://env.example/a/b"


def test_variables_deep_in_a_table(load: Load) -> None:
    one = job(
        load, 'json = { a = ["${X}", { b = "-${X}-${X}" }] }\nheaders = { X-A = "${X}" }', "", {**ENVIRONMENT, "X": "v"}
    )
    assert one.body == b'{"a":["v",{"b":"-v-v"}]}'
    assert dict(one.headers)["X-A"] == "v"


def test_what_looks_almost_like_a_reference_stays(load: Load) -> None:
    assert (
        job(load, 'description = "$X ${1X} ${} {X} $${HOME"', "", ENVIRONMENT).description == "$X ${1X} ${} {X} $${HOME"
    )


@pytest.mark.parametrize(("environment", "state"), [({}, "not set"), ({"BASE": ""}, "empty")])
def test_a_variable_that_is_missing_is_named_once(load: Load, environment: dict[str, str], state: str) -> None:
    (fault,) = faults(load, GOOD.replace("https://app.example.com", "${BASE}"), {**ENVIRONMENT, **environment})
    assert fault == (
        f'tocsin.toml: [target] base_url = "${{BASE}}": environment variable BASE is {state} '
        "(set it, or put it into .env)"
    )


def test_dotenv_that_is_not_text(load: Load) -> None:
    (fault,) = faults(load, GOOD, ENVIRONMENT, b"A=\xff\xfe")
    assert fault.startswith(".env: cannot read ")
    assert fault.endswith(": is not UTF-8")


LEAK = "Leak:of-a_secret 0*?/x"
LEAKS = [
    'schedule = "${LEAK}"\npath = "/x"',
    'schedule = "${LEAK} * * * *"\npath = "/x"',
    'every = "${LEAK}"\npath = "/x"',
    *(
        f'schedule = "* * * * *"\npath = "/x"\n{key}'
        for key in (
            'timezone = "${LEAK}"',
            'timeout = "${LEAK}"',
            'max_reply = "${LEAK}"',
            'method = "${LEAK}"',
            'enabled = "${LEAK}"',
            'retries = "${LEAK}"',
            'retry_on = ["${LEAK}"]',
            'catch_up = "${LEAK}"',
            'headers = { a = "${LEAK}\\n" }',
            'headers = { Host = "${LEAK}" }',
            'expect = { status = ["${LEAK}"] }',
            'expect = { "${LEAK}" = 1, json = { a = ["${LEAK}"] } }',
            'totals = { a = "${LEAK}..x" }',
            'secret_env = "${LEAK}"',
            'secret_file = "${LEAK}"',
            'send_secret = "${LEAK}"',
            'json = ["${LEAK}", nan]',
            'body = "${LEAK}"\njson = 1',
            'content_type = "${LEAK}\\n"',
            'url = "${LEAK}"',
            'description = "' + "${LEAK}" * 40 + '"',
        )
    ),
    'schedule = "* * * * *"\npath = "${LEAK}"',
]


@pytest.mark.parametrize("keys", LEAKS, ids=[keys.replace("\n", " ")[-40:] for keys in LEAKS])
@pytest.mark.parametrize("leak", [LEAK, LEAK.replace(" ", "") * 4])
@pytest.mark.parametrize("table", ["[jobs.a]", "[defaults]"])
def test_what_a_variable_holds_never_reaches_an_error(load: Load, keys: str, leak: str, table: str) -> None:
    text = TARGET + (f"[jobs.a]\n{keys}" if table == "[jobs.a]" else f"{JOB}[defaults]\n{keys}")
    found = faults(load, text, {**ENVIRONMENT, "LEAK": leak})
    pieces = {piece for piece in re.split(r"[ :/*?]", leak) if len(piece) > 3} | {leak[:10]}
    for fault in found:
        assert not any(piece in fault for piece in pieces), fault


@pytest.mark.parametrize("key", ["base_url", "secret_env", "secret_file", "send_secret", "allow_insecure"])
def test_nor_from_the_target(load: Load, key: str) -> None:
    text = f'[target]\n{key} = "${{LEAK}}"\n{JOB}'
    for fault in faults(load, text, {"LEAK": LEAK}):
        assert "Leak:of" not in fault


@pytest.mark.parametrize("mistake", ["my-own secret!", "0123456789abcdef0123", "deadbeefcafe0123", "MixedCase0123abc"])
@pytest.mark.parametrize("table", ["target", "defaults", "jobs.a"])
def test_a_secret_written_into_secret_env_is_not_repeated(load: Load, mistake: str, table: str) -> None:
    line = f'secret_env = "{mistake}"\n'
    text = {
        "target": TARGET + line + JOB,
        "defaults": f"[defaults]\n{line}{GOOD}",
        "jobs.a": GOOD + line,
    }[table]
    found = faults(load, text)
    assert len(found) == 1
    assert "secret_env" in found[0]
    assert mistake not in found[0]


# ---- the table of defaults


def test_defaults_are_merged(load: Load) -> None:
    text = f"[defaults]\ntimeout = '5s'\nretries = 1\nheaders = {{ X-A = 'a' }}\n{GOOD}retries = 2\n"
    one = load(text).jobs["a"]
    assert (one.timeout, one.retries, one.headers) == (5.0, 2, (("X-A", "a"),))


@pytest.mark.parametrize(
    "line",
    [
        "timeout = '5'",
        "tiemout = '5s'",
        "timezone = 'Nowhere/X'",
        "headers = { Host = 'x' }",
        "retry_on = ['${UNSET}']",
    ],
)
def test_a_faulty_default_is_reported_once(load: Load, line: str) -> None:
    more = "".join(JOB.replace("jobs.a", f"jobs.{name}") for name in "bcd")
    (fault,) = faults(load, f"[defaults]\n{line}\n{GOOD}{more}")
    assert fault.startswith("tocsin.toml: [defaults] ")


@pytest.mark.parametrize("line", ["schedule = '* * * * *'", "every = '5s'", "path = '/x'", "url = 'https://x.example'"])
def test_some_keys_belong_to_one_job(load: Load, line: str) -> None:
    (fault,) = faults(load, f"[defaults]\n{line}\n{GOOD}")
    assert "belongs to a job, not to all of them" in fault


# ---- the daemon's variables

VARIABLES: list[tuple[str, str, str, Any]] = [
    ("TOCSIN_LISTEN", "0.0.0.0:80", "listen", ("0.0.0.0", 80)),
    ("TOCSIN_NODE", "web-2", "node", "web-2"),
    ("LOG_LEVEL", "WARNING", "log_level", "warning"),
    ("LOG_LEVEL", "warn", "log_level", "warning"),
    ("TOCSIN_LOG_FORMAT", "json", "log_format", "json"),
    ("TOCSIN_LEDGER", "sqlite", "ledger", "sqlite"),
]


@pytest.mark.parametrize(("variable", "value", "key", "right"), VARIABLES)
def test_the_environment_wins_over_the_file(load: Load, variable: str, value: str, key: str, right: Any) -> None:
    written = '[daemon]\nlisten = "127.0.0.1:1"\nnode = "web-1"\nlog_level = "error"\nlog_format = "console"\n'
    assert getattr(load(written + GOOD, {**ENVIRONMENT, variable: value}), key) == right
    assert getattr(load(GOOD, {**ENVIRONMENT, variable: value}), key) == right
    kept = load(written + GOOD, {**ENVIRONMENT, variable: ""})
    assert getattr(kept, key) == getattr(load(written + GOOD), key), "an empty variable says nothing"


def test_the_state_folder_of_the_environment(load: Load, tmp_path: Path) -> None:
    assert load(GOOD, {**ENVIRONMENT, "TOCSIN_STATE_DIR": "/srv/tocsin"}).state_dir == Path("/srv/tocsin")
    assert load(GOOD, {**ENVIRONMENT, "TOCSIN_STATE_DIR": "here"}).state_dir == tmp_path / "here"


def test_a_faulty_variable_is_named(load: Load) -> None:
    (fault,) = faults(load, GOOD, {**ENVIRONMENT, "LOG_LEVEL": "loud"})
    assert fault.startswith("tocsin.toml: [environment LOG_LEVEL] log_level")
    assert fault.endswith("must be 'debug', 'info', 'warning' or 'error'")


def test_a_right_variable_mends_a_wrong_key(load: Load) -> None:
    assert load(f'[daemon]\nlog_level = "loud"\n{GOOD}', {**ENVIRONMENT, "LOG_LEVEL": "info"}).log_level == "info"


def test_where_the_job_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.find(None, {}) == tmp_path / "tocsin.toml"
    assert config.find(None, {"TOCSIN_CONFIG": "/etc/tocsin.toml"}) == Path("/etc/tocsin.toml")
    assert config.find("other.toml", {"TOCSIN_CONFIG": "/etc/tocsin.toml"}) == tmp_path / "other.toml"


# ---- in the clear

PRIVATE = ["localhost", "127.0.0.1", "[::1]", "10.1.2.3", "192.168.1.1", "app", "app.internal", "x.local", "[fd00::1]"]
PUBLIC = ["app.example.com", "8.8.8.8", "[2606:4700::1111]", "localhost.example.com", "localhost.."]


@pytest.mark.parametrize("host", PRIVATE)
def test_plain_http_within_the_house(load: Load, host: str) -> None:
    assert load(f'[target]\nbase_url = "http://{host}:8080"\n{JOB}').jobs["a"].url == f"http://{host}:8080/x"


@pytest.mark.parametrize("host", PUBLIC[:4])
def test_plain_http_to_the_world_is_refused_unless_allowed(load: Load, host: str) -> None:
    text = f'[target]\nbase_url = "http://{host}"\n{JOB}{JOB.replace("jobs.a", "jobs.b")}'
    why = "would go in the clear to a public host; use https://, or set allow_insecure = true in [target]"
    assert faults(load, text) == [f"tocsin.toml: [target] base_url: {why}"]
    assert load(text.replace("[target]", "[target]\nallow_insecure = true")).jobs["a"].url == f"http://{host}/x"
    url = f'{TARGET}[jobs.a]\nschedule = "* * * * *"\nurl = "http://{host}/x"\n'
    assert faults(load, url) == [f"tocsin.toml: [jobs.a] url: {why}"]


# ---- secrets


def elsewhere(keys: str = "", url: str = "https://elsewhere.example/x") -> str:
    return f'{TARGET}[jobs.a]\nschedule = "* * * * *"\nurl = "{url}"\n{keys}'


ORIGINS = [
    ("https://app.example.com/other", True),
    ("https://APP.example.com:443/other", True),
    ("https://app.example.com:8443/x", False),
    ("https://elsewhere.example/x", False),
    ("https://app.example.com.evil.example/x", False),
    ("https://sub.app.example.com/x", False),
]


@pytest.mark.parametrize(("url", "sent"), ORIGINS)
@pytest.mark.parametrize("how", ["", '[defaults]\nsend_secret = "bearer"\n', None])
def test_the_secret_of_the_target_is_sent_to_its_origin_alone(
    load: Load, url: str, sent: bool, how: str | None
) -> None:
    """However a job or [defaults] say that it is to be sent."""
    text = elsewhere('send_secret = "bearer"\n', url) if how is None else how + elsewhere("", url)
    assert (load(text).jobs["a"].secret is not None) == sent


def test_plain_and_encrypted_are_two_origins(load: Load) -> None:
    text = elsewhere("", "http://app.example.com/x").replace("[target]", "[target]\nallow_insecure = true")
    assert load(text).jobs["a"].secret is None


def test_a_secret_of_its_own_goes_where_the_job_says(load: Load) -> None:
    one = load(elsewhere('secret_env = "OTHER"\nsend_secret = "query:key"'), {"OTHER": SECRET}).jobs["a"]
    assert one.secret is not None
    assert (one.secret.source, one.secret.sent) == ("OTHER", "query:key")


def test_no_secret_where_none_is_sent(load: Load) -> None:
    assert job(load, 'send_secret = "none"', "", {}).secret is None
    assert job(load, "", 'send_secret = "none"\n', {}).secret is None


def test_the_secret_of_a_file_beside_the_job_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cron").write_text(SECRET + "\n")
    for text in (TARGET + 'secret_file = "cron"\n' + JOB, GOOD + 'secret_file = "cron"\n'):
        one = load(text, {}).jobs["a"]
        assert one.secret is not None
        assert (one.secret.value, one.secret.file) == (SECRET, tmp_path / "cron")


REFUSED = ["", "  ", "a-secret-with\nnewline", "sécret-of-a-kind", "undefined", "null", "NULL"]


@pytest.mark.parametrize("value", REFUSED)
def test_secrets_that_are_none(load: Load, tmp_path: Path, value: str) -> None:
    more = JOB.replace("jobs.a", "jobs.b")
    (fault,) = faults(load, GOOD + more, {"CRON_SECRET": value})
    assert fault.startswith("tocsin.toml: [target] secret_env: environment variable CRON_SECRET ")
    assert "a-secret" not in fault
    assert "cret-of" not in fault
    (tmp_path / "cron").write_text(value)
    (fault,) = faults(load, f'{TARGET}secret_file = "cron"\n{JOB}{more}')
    assert fault.startswith("tocsin.toml: [target] secret_file: ")


def test_a_short_secret_is_warned_of(load: Load) -> None:
    loaded = load(GOOD, {"CRON_SECRET": "fifteen-letters"})
    (warning,) = loaded.warnings
    assert "the secret from CRON_SECRET has fewer than 16 characters" in warning
    assert "fifteen-letters" not in warning
    assert load(GOOD, {"CRON_SECRET": "sixteen--letters"}).warnings == ()


def test_nothing_of_a_config_shows_a_secret(load: Load) -> None:
    loaded = load(GOOD)
    assert SECRET not in repr(loaded)
    assert [secret.value for secret in loaded.secrets] == [SECRET]


# ---- headers

BAD_HEADERS = [
    ('{ X-A = "a\\r\\nX-B: b" }', "has a value of X-A that would break the request; use printable ASCII"),
    ('{ X-A = "a\\u0000" }', "has a value of X-A that would break the request; use printable ASCII"),
    ('{ X-A = "ü" }', "has a value of X-A that would break the request; use printable ASCII"),
    ('{ "X A" = "a" }', "is no header name (letters, digits and hyphens)"),
    ('{ "X-A:" = "a" }', "is no header name (letters, digits and hyphens)"),
    ('{ "" = "a" }', "is no header name (letters, digits and hyphens)"),
    ('{ "X\\r\\nY" = "a" }', "is no header name (letters, digits and hyphens)"),
    ('{ Host = "a" }', "sets Host, which Tocsin sets itself"),
    ('{ content-length = "1" }', "sets content-length, which Tocsin sets itself"),
    ('{ Transfer-Encoding = "chunked" }', "sets Transfer-Encoding, which Tocsin sets itself"),
    ('{ X-A = "1", x-a = "2" }', "names one header twice"),
]


@pytest.mark.parametrize(("headers", "why"), BAD_HEADERS)
def test_headers_that_would_break_the_request(load: Load, headers: str, why: str) -> None:
    (fault,) = faults(load, GOOD + f"headers = {headers}")
    assert fault.startswith("tocsin.toml: [jobs.a] headers = ")
    assert fault.endswith(f": {why}")
    assert "\n" not in fault


def test_a_content_type_of_the_headers_stays(load: Load) -> None:
    one = job(load, 'headers = { content-type = "text/csv" }\nbody = "a,b"')
    assert one.headers == (("content-type", "text/csv"),)


# ---- the hash


def test_the_hash_covers_all_but_the_secrets(load: Load) -> None:
    text = GOOD.replace("app.example", "${HOST}.example")
    first = load(text, {"CRON_SECRET": SECRET, "HOST": "a"}).hash
    assert load(text, {"CRON_SECRET": "another-secret-of-the-app", "HOST": "a"}).hash == first
    assert load(text, {"CRON_SECRET": SECRET, "HOST": "b"}).hash != first
    assert load(text + "# more", {"CRON_SECRET": SECRET, "HOST": "a"}).hash != first
    assert load(text, {"CRON_SECRET": SECRET, "HOST": "a", "TOCSIN_NODE": "x"}).hash != first


# ---- anything at all

scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.text(max_size=8),
    st.sampled_from(
        ["${X}", "${UNSET}", "${X:-d}", "5s", "* * * * *", "/x", "https://x.example/", "1MiB", "bearer", "none"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def table_of(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    keys = sorted({field.alias or name for name, field in model.model_fields.items()} | {"json_", "model_config", ""})
    return st.dictionaries(st.sampled_from(keys), values, max_size=5)


good_job = st.sampled_from(
    [{"schedule": "* * * * *", "path": "/x"}, {"every": "5s", "url": "https://app.example.com/y"}, {}]
)
jobs = st.builds(lambda good, drawn: {**good, **drawn}, good_job, table_of(JobTable))
good_target = st.sampled_from([{"base_url": "https://app.example.com"}, {}])
files = st.fixed_dictionaries(
    {},
    optional={
        "daemon": st.one_of(table_of(DaemonTable), values),
        "target": st.one_of(
            st.builds(lambda good, drawn: {**good, **drawn}, good_target, table_of(TargetTable)), values
        ),
        "defaults": st.one_of(table_of(JobTable), values),
        "jobs": st.one_of(st.dictionaries(st.sampled_from(["a", "b", "A", ""]), jobs, max_size=2), values),
        "more": values,
    },
)


@given(files, st.sampled_from([ENVIRONMENT, {}, {**ENVIRONMENT, "X": "x", "TOCSIN_LISTEN": "x", "LOG_LEVEL": "X"}]))
def test_any_file_is_loaded_or_its_faults_are_named(
    tmp_path: Path, written: dict[str, Any], environment: dict[str, str]
) -> None:
    """Below the TOML: whatever tables and values a file holds."""
    (tmp_path / "tocsin.toml").write_text("")
    with patch.object(tomllib, "loads", return_value=written):
        found = outcome(lambda: config.load(tmp_path / "tocsin.toml", environment))
    if isinstance(found, list):
        assert found
        assert all(fault.why for fault in found)
    else:
        for one in found.jobs.values():
            assert one.timeout > 0
            assert one.max_reply >= 1
            assert one.body is None or isinstance(one.body, bytes)
            assert one.schedule.next_due(0) > 0


@given(st.binary(max_size=60), st.text(max_size=60))
def test_any_bytes_are_a_job_file_or_a_config_error(tmp_path: Path, raw: bytes, text: str) -> None:
    file = tmp_path / "tocsin.toml"
    for content in (raw, text.encode("utf-8", "replace"), GOOD.encode() + text.encode("utf-8", "replace")):
        file.write_bytes(content)
        assert outcome(lambda: config.load(file, ENVIRONMENT))


def test_the_table_of_bad_keys_speaks_of_values_as_json() -> None:
    assert shown({"a": "ü"}) == json.dumps({"a": "ü"}, ensure_ascii=False)


# ---- loading again


Again = Callable[..., Config]


@pytest.fixture
def again(tmp_path: Path) -> Again:
    """Loads one text after another, as a daemon that reloads."""
    known = config.Known()

    def again(text: str, environment: dict[str, str] = ENVIRONMENT) -> Config:
        (tmp_path / "tocsin.toml").write_text(text)
        return config.load(tmp_path / "tocsin.toml", environment, known)

    return again


def test_a_job_that_did_not_change_is_not_made_again(again: Again) -> None:
    two = GOOD + JOB.replace("jobs.a", "jobs.b")
    before, after = again(two), again(two.replace("/x", "/y", 1))
    assert after.jobs["a"].url.endswith("/y")
    assert after.jobs["b"] is before.jobs["b"]
    assert again(GOOD).jobs.keys() == {"a"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GOOD + "json = { dry = 1 }", GOOD + "json = { dry = true }"),  # equal in Python
        (GOOD + "json = { a = 1, b = 2 }", GOOD + "json = { b = 2, a = 1 }"),
        ("[defaults]\ntimeout = '5s'\n" + GOOD, "[defaults]\ntimeout = '6s'\n" + GOOD),
        (GOOD, GOOD.replace("app.example.com", "other.example.com")),
        (GOOD, GOOD.replace("[target]", '[target]\nsend_secret = "bearer"')),
    ],
)
def test_a_job_whose_meaning_changed_is_made_again(again: Again, before: str, after: str) -> None:
    known = again(before).jobs["a"]
    assert again(after).jobs["a"] != known
    assert again(before).jobs["a"] == known


def test_a_job_is_made_again_when_what_it_is_read_with_changed(again: Again, tmp_path: Path) -> None:
    text = TARGET + JOB.replace("/x", "/${WHICH}")
    assert again(text, {**ENVIRONMENT, "WHICH": "one"}).jobs["a"].url.endswith("/one")
    assert again(text, {**ENVIRONMENT, "WHICH": "two"}).jobs["a"].url.endswith("/two")
    (tmp_path / "secret").write_text(SECRET)
    text = GOOD.replace("[target]", '[target]\nsecret_file = "secret"')
    again(text)
    (tmp_path / "secret").write_text(SECRET[::-1])
    secret = again(text).jobs["a"].secret
    assert secret is not None
    assert secret.value == SECRET[::-1]


def test_faults_are_the_same_whatever_was_known(again: Again, load: Load, tmp_path: Path) -> None:
    faulty = GOOD + JOB.replace("jobs.a", "jobs.b").replace("* * * * *", "nonsense")
    expected = faults(load, faulty)
    kept = again(GOOD).jobs["a"]
    assert faults(again, faulty) == expected
    assert again(GOOD).jobs["a"] is kept, "a faulty file changes nothing of what is known"
    (tmp_path / "secret").write_text(SECRET)
    text = GOOD.replace("[target]", '[target]\nsecret_file = "secret"')
    again(text)
    (tmp_path / "secret").unlink()
    assert "cannot read" in faults(again, text)[0]


@pytest.mark.parametrize(
    "text",
    [
        '[daemon]\nstate_dir = "here"\n' + GOOD,
        GOOD + '[daemon]\nstate_dir = "here"\n',
        'daemon.state_dir = "here"\n' + GOOD,
        '[daemon]\nnode = """\n[jobs.a]\n"""\nstate_dir = "here"\n' + GOOD,
        '[daemon]\nstate_dir = "here"\n' + GOOD + "[jobs.b",
    ],
)
def test_the_state_folder_is_found_wherever_the_file_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "tocsin.toml").write_text(text)
    assert config.state_dir(tmp_path / "tocsin.toml", {}) == tmp_path / "here"

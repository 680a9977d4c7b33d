"""The job file as it should not be: every fault at once, by its place."""

import re
from pathlib import Path

import pytest

from config_rig import ENVIRONMENT, GOOD, JOB, TARGET, Load, faults, outcome
from tocsin import config
from tocsin.config import Config
from tocsin.jobfile.faults import ConfigError


def test_seven_faults_are_listed_at_once_each_with_its_place(load: Load) -> None:
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
        'tocsin.toml: [daemon] listen = "nowhere": is not an address: use host:port, for example '
        '"127.0.0.1:9911" or "[::1]:9911"',
        'tocsin.toml: [target] base_url = "app.example.com": is not a URL: write it in full, for example '
        '"https://app.example.com/path"',
        "tocsin.toml: [defaults] retries = 99: must be less than or equal to 20",
        "tocsin.toml: [jobs.a] schedule: cannot read schedule '* * * *': it has 4 fields: use five (minute hour "
        "day-of-month month day-of-week) or six, second first",
        'tocsin.toml: [jobs.a] timout = "5s": unknown key; did you mean "timeout"?',
        'tocsin.toml: [jobs.b] path = "x": must start with "/", without spaces or "#", percent-encoded where needed',
        "tocsin.toml: other: is not a table of the job file",
    }
    assert len(found) == 7


def test_a_key_that_cannot_be_read_hides_no_other_fault_of_its_job(load: Load) -> None:
    found = faults(load, GOOD.replace("* * * * *", "0 0 30 2 *") + 'timeout = "soon"\n')
    assert [fault.partition(":")[2].split()[1] for fault in found] == ["timeout", "schedule:"]
    assert "it would never fire" in found[1]


def test_every_faulty_entry_of_a_table_or_list_is_named(load: Load) -> None:
    found = faults(
        load,
        GOOD
        + 'headers = { Host = "a", Te = "b", X-A = "ü", "X B" = "${UNSET}" }\n'
        + 'expect = { status = ["2xx", "6xx", "all"], json = { "a..b" = 1, c = [1] } }\n'
        + 'totals = { A = "x", b = "x..y" }\n',
    )
    assert sorted(fault.split()[2].rstrip(":") for fault in found if "headers" not in fault) == [
        *("expect.json.a..b", "expect.json.c", "expect.status.1", "expect.status.2", "totals.A", "totals.b")
    ]
    assert len([fault for fault in found if "] headers." in fault]) == 4


BAD_JOB_KEYS = [
    (
        "timeout = 5",
        'timeout = 5: is not a duration: use a number with a unit, for example "90s", "5m", "1h30m" or "500ms"',
    ),
    ('timeout = "0s"', 'timeout = "0s": must be more than 0 and at most 366 days'),
    ('timeout = "367d"', 'timeout = "367d": must be more than 0 and at most 366 days'),
    (
        'grace = "soon"',
        'grace = "soon": is not a duration: use a number with a unit, for example "90s", "5m", "1h30m" or "500ms"',
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
    (
        'max_reply = "1 meg"',
        'max_reply = "1 meg": is not a size: use a number with a unit, for example "64KiB" or "1MiB"',
    ),
    ('max_reply = "0B"', 'max_reply = "0B": must be greater than or equal to 1'),
    ("memory_limit = 5", 'memory_limit = 5: is not a size: use a number with a unit, for example "64KiB" or "1MiB"'),
    (
        'totals = { "Un-assigned" = "x" }',
        "totals.Un-assigned: is not a name for a total: use a-z, 0-9 and _ (at most 40, a letter first)",
    ),
    ('totals = { a = "b..c" }', 'totals.a = "b..c": must name a place in the reply, for example "summary.breached"'),
    (
        "totals = { a='x',b='x',c='x',d='x',e='x',f='x',g='x',h='x',i='x' }",
        'totals = {"a": "x", "b": "x", "c": "x", "d": "x", "e": "x", "f": "x", "g": "x", "h": "x"…: '
        "has 9 names; at most 8",
    ),
    ('expect = { status = ["6xx"] }', 'expect.status.0 = "6xx": is not a status: use for example "2xx" or "204"'),
    (
        'labels = { "a-b" = "x" }',
        "labels.a-b: is not a name for a label: use letters, digits and _ (at most 40, no digit and no __ first)",
    ),
    ('labels = { host = "x" }', "labels.host: is a label that the metrics have already"),
    ('labels = { a = "" }', 'labels.a = "": must be printable text of 1 to 100 characters'),
    ("labels = { a = 1 }", "labels.a = 1: must be text, in quotes"),
    (
        "labels = { " + ", ".join(f'l{n} = "x"' for n in range(9)) + " }",
        'labels = {"l0": "x", "l1": "x", "l2": "x", "l3": "x", "l4": "x", "l5": "x", "l6": "x", "…: '
        "has 9 names, with those of [defaults]; at most 8",
    ),
    ("expect = { status = [] }", 'expect.status = []: is empty: list the statuses that are right, for example ["2xx"]'),
    ("expect = { json = { a = [1] } }", "expect.json.a = [1]: must be text, a number, true or false"),
    ("expect = { body = 'x' }", 'expect.body = "x": unknown key'),
    (
        "json = { when = 2026-01-01 }",
        "json: cannot be written as JSON: put dates and times in quotes; JSON has no nan and inf",
    ),
    ("json = [nan]", "json: cannot be written as JSON: put dates and times in quotes; JSON has no nan and inf"),
    ("json = {}\nbody = 'x'", "body: cannot be combined with json: use only one of them"),
    ('content_type = "text/plain\\r\\nX: y"', None),
    ('send_secret = "cookie"', None),
    (
        'send_secret = "header:a b"',
        'send_secret = "header:a b": "a b" is not a header name (letters, digits and hyphens)',
    ),
    ('content_type = "text/csv"', 'content_type = "text/csv": needs a body: set body or json'),
    ('every = "90s"', 'every = "90s": cannot be combined with schedule: use only one of them'),
    ('url = "https://x.example/"', "url: cannot be combined with path: use only one of them"),
    ("expect = 200", "expect = 200: must be a table: { … }"),
    (
        "expect = { json = { a = inf } }",
        "expect.json.a = Infinity: must be a JSON number: nan and inf never match",
    ),
    ('headers = "x: y"', 'headers = "x: y": must be a table: { … }'),
    (
        'headers = { b = "${UNSET}" }',
        'headers.b = "${UNSET}": environment variable UNSET is not set (set it, or put it into .env)',
    ),
    ('retry_on = "5xx"', 'retry_on = "5xx": must be a list: [ … ]'),
    ("retries = true", "retries = true: must be a whole number"),
    ("retries = 3.0", "retries = 3.0: must be a whole number"),
    ('retries = "three"', 'retries = "three": must be a whole number'),
    ("enabled = 1", "enabled = 1: must be true or false"),
    ('arm = "maybe"', 'arm = "maybe": must be true or false'),
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
        ("99", "is not a duration"),
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
            "tocsin.toml: [jobs.A]: is not a job name: use a-z, 0-9, '.', '_' and '-', a letter or digit first, "
            "at most 63",
        ),
        (JOB, "tocsin.toml: [target] base_url: is required by job a, which has a path"),
        ("jobs = [", "tocsin.toml: is not TOML: Invalid value (at end of document)"),
        (f"target = 1\n{JOB}", "tocsin.toml: [target] = 1: must be a table"),
        (f"[targt]\n{GOOD}", 'tocsin.toml: targt: is not a table of the job file; did you mean "target"?'),
    ],
)
def test_bad_files(load: Load, text: str, message: str) -> None:
    assert message in faults(load, text)


BAD_DAEMON = [
    ('listen = "127.0.0.1"', "is not an address"),
    ('listen = "127.0.0.1:0"', "is not an address"),
    ('listen = "127.0.0.1:65536"', "is not an address"),
    ('listen = "me@127.0.0.1:1"', "is not an address"),
    ("listen = 9911", "is not an address"),
    ('log_level = "loud"', "must be 'debug', 'info', 'warning' or 'error'"),
    ('log_format = "xml"', "must be 'console' or 'json'"),
    ('state_dir = ""', "at least 1 character"),
    ('drain = "long"', "is not a duration"),
    ('retention = "0s"', "must be more than 0"),
    ('keep = "90d"', "keep is now called retention"),
    ('listen_user = "a:b"', "must be printable ASCII without a colon"),
    ('listen_user = "ü"', "must be printable ASCII without a colon"),
    ('listen_cert = "a\\u0000b"', "is not a file name"),
    ('ledger = "mysql://u@h/db"', 'must be "sqlite" or an address as "postgresql://user@host/database"'),
    ('ledger = "postgresql://u@h"', "names no database"),
    ('ledger_schema = "Tocsin"', "must be a name in PostgreSQL"),
    ('ledger_password_env = "PW"', "needs a ledger on PostgreSQL"),
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
    "https://app.example.com/#",
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
    assert fault.endswith("must not have a query: a job's path is added to it")


def test_schedule_or_every_and_path_or_url(load: Load) -> None:
    found = faults(load, f"{TARGET}[jobs.a]\n")
    assert len(found) == 2
    assert "schedule: is missing: set schedule" in found[0]
    assert "path: is missing: set path" in found[1]


@pytest.mark.parametrize("url", ["HTTP://app.example.com", "Http://app.example.com"])
def test_a_public_host_in_the_clear_however_written(load: Load, url: str) -> None:
    (fault,) = faults(load, GOOD.replace("https://app.example.com", url))
    assert "calls would be sent unencrypted to a public host" in fault


@pytest.mark.parametrize(
    "host",
    [
        *("web", "WEB.", "localhost", "app.localhost.:3000", "127.0.0.1", "[::1]:3000", "[fe80::1%25lo]", "[fd00::1]"),
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "100.127.255.254:3000"),
        *("[::ffff:10.0.0.1]", "pi.local", "printer.local.", "host.docker.internal.:3000", "app.railway.internal"),
        *("web.default.svc:3000", "web.production.svc.cluster.local.:3000", "app.flycast", "pi.home.arpa", "a.test:1"),
        *("web.service.consul", "App.FlyCast", "host.containers.internal", "web.dns.podman"),
    ],
)
def test_hosts_of_a_private_network_may_be_called_in_the_clear(load: Load, host: str) -> None:
    assert load(GOOD.replace("https://app.example.com", f"http://{host}")).jobs["a"].host == host


@pytest.mark.parametrize(
    ("host", "why"),
    [
        *(
            (host, "calls would be sent unencrypted to a public host")
            for host in ("app.example.com", "app.example.com.")
        ),
        *(
            (host, "calls would be sent unencrypted to a public host")
            for host in ("8.8.8.8", "134744072", "0x08080808")
        ),
        *(
            (host, "calls would be sent unencrypted to a public host")
            for host in ("100.63.0.1", "100.128.0.1", "[2600::1]")
        ),
        *(
            (host, "calls would be sent unencrypted to a public host")
            for host in ("[::ffff:8.8.8.8]", "local.example.com")
        ),
        *(
            (host, "calls would be sent unencrypted to a public host")
            for host in ("evil-internal.com", "arpa.com", "a.svc.com")
        ),
        *(
            (host, "calls may be sent unencrypted beyond this network")
            for host in ("web.production:3000", "nas.lan:8080")
        ),
    ],
)
def test_hosts_that_may_be_public_need_https(load: Load, host: str, why: str) -> None:
    (fault,) = faults(load, GOOD.replace("https://app.example.com", f"http://{host}"))
    assert fault.startswith(f"tocsin.toml: [target] base_url: {why}")


def test_a_host_that_was_meant_to_be_a_reference(load: Load) -> None:
    (fault,) = faults(load, GOOD.replace("app.example.com", "${api-base}"))
    assert fault.endswith("has an invalid host: a reference to a variable is ${NAME} or ${NAME:-default}")


@pytest.mark.parametrize("held", ["tickets.example.org", "tickets.example.org:8443/app", "localhost:3000"])
def test_a_variable_with_a_host_instead_of_a_url(load: Load, held: str) -> None:
    text = GOOD.replace("https://app.example.com", "${HOME_OF_APP}")
    (fault,) = faults(load, text, {**ENVIRONMENT, "HOME_OF_APP": held})
    assert fault.endswith(
        "environment variable HOME_OF_APP has no https:// in front: for example HOME_OF_APP=https://app.example.com"
    )
    assert held not in fault


def test_the_name_of_a_variable_that_is_empty(load: Load) -> None:
    (fault,) = faults(load, GOOD.replace("[jobs.a]", 'secret_env = ""\n[jobs.a]'))
    assert fault == 'tocsin.toml: [target] secret_env: names no variable; to send no secret, set send_secret = "none"'


def test_a_number_that_is_too_long_to_be_read(load: Load) -> None:
    (fault,) = faults(load, GOOD + f"retries = {'1' * 5000}")
    assert fault.startswith("tocsin.toml: is not TOML: ")


def test_a_path_that_is_no_text_can_be_said(tmp_path: Path) -> None:
    folder = tmp_path / "b\udcff"
    folder.mkdir()
    (folder / "tocsin.toml").write_text(GOOD.replace("[target]", '[target]\nsecret_file = "none"'))
    with pytest.raises(ConfigError) as error:
        config.load(folder / "tocsin.toml", ENVIRONMENT)
    assert f"cannot read {tmp_path}/b?/none: No such file" in str(error.value).encode().decode()


def test_a_byte_order_mark_is_no_fault(load: Load) -> None:
    assert load("\ufeff" + GOOD).jobs.keys() == {"a"}


@pytest.mark.parametrize(
    ("text", "line"), [('CRON_SECRET="0123456789abcdef\nX=1\n', 1), ("A=1\n\n=two\n", 3), ("A='x' y z\n", 1)]
)
def test_a_line_of_dotenv_that_cannot_be_read(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "tocsin.toml").write_text(GOOD)
    (tmp_path / ".env").write_text(text)
    with pytest.raises(ConfigError) as raised:
        config.load(tmp_path / "tocsin.toml", ENVIRONMENT)
    assert str(raised.value) == f".env: line {line}: is not NAME=VALUE (is a quote left open?)"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the job file .*tocsin.toml: No such file or directory"):
        config.load(tmp_path / "tocsin.toml", {})
    with pytest.raises(ConfigError, match="it is a folder"):
        config.load(tmp_path, {})


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    for raw, why in ((b"\xff\xfe", "is not TOML"), (b"#" * (config.FILE_SIZE + 1), "too much for a job file")):
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

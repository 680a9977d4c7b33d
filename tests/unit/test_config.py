"""The job file as it should be: every key, the table of defaults, the variables of the daemon, the hash."""

import re
from pathlib import Path
from typing import Any

import pytest
import trustme

from config_rig import ENVIRONMENT, GOOD, JOB, SECRET, SIGNING, TARGET, Load, faults, job
from tocsin import config
from tocsin.config.access import Access
from tocsin.config.notify import Notify
from tocsin.jobfile.faults import ConfigError
from tocsin.jobfile.tables import DaemonTable, JobTable, NotifyTable, TargetTable
from tocsin.schedule import Schedule

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
    assert (one.retries, one.retry_on, one.delivery, one.alert_after) == (3, (), "at-most-once", 0)
    assert (one.expect_status, one.expect_json, one.totals) == (("2xx",), (), ())
    assert (one.max_reply, one.memory_limit) == (1024**2, None)
    assert one.secret is not None
    assert (one.secret.value, one.secret.sent, one.secret.source) == (SECRET, "header:x-cron-secret", "CRON_SECRET")
    assert one.longest_run == 300.0


EVERY_KEY = """
[daemon]
state_dir = "elsewhere"
listen = "[::1]:9000"
keep_replies = "all"
replies_retention = "3d"
listen_hosts = ["tocsin.internal", "Tocsin."]
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
[notify]
heartbeat_url_env = "PING"
gather = "1m"
max_per_hour = 3
page_url = "https://tocsin.example.com/"
ping_style = "plain"
[defaults]
timezone = "Europe/Berlin"
[jobs.sla-check]
schedule = "0 5 * * MON"
path = "/api?a=%20b&c"
method = "PUT"
totals = { unassigned = "unassignedCount", deep = "summary.breached" }
enabled = false
description = "what it is for"
labels = { team = "billing" }
headers = { X-One = "1" }
json = { a = [1, 2.5, true, "x"] }
timeout = "1h30m"
connect_timeout = "500ms"
grace = "0s"
arm = false
catch_up = "all"
retries = 0
alert_after = 2
notify = false
notify_after = 5
ping_url_env = "PING"
retry_on = ["timeout", "5xx", "reset"]
delivery = "at-least-once"
expect = { status = ["204", "3xx"], json = { success = true, n = 1 }, html = true }
max_reply = "64KiB"
memory_limit = "256MiB"
[jobs."b.2_c"]
every = "90s"
url = "https://elsewhere.example/x"
body = "text"
content_type = "text/csv"
"""


def test_every_key_of_the_contract(load: Load, tmp_path: Path) -> None:
    loaded = load(EVERY_KEY, {"OTHER_SECRET": SECRET, "SIGNING": SIGNING, "PING": "https://hc-ping.com/1"})
    assert loaded.state_dir == tmp_path / "elsewhere"
    assert (loaded.listen, loaded.node, loaded.drain) == (("::1", 9000), "web-1", 5.0)
    assert (loaded.log_level, loaded.log_format) == ("debug", "json")
    one, two = loaded.jobs["sla-check"], loaded.jobs["b.2_c"]
    assert one.schedule == Schedule("0 5 * * MON", "Europe/Berlin")
    assert one.url == "https://app.example.com/base/api?a=%20b&c"
    assert one.public_url == "https://app.example.com/base/api"
    assert (one.method, one.enabled, one.description) == ("PUT", False, "what it is for")
    assert one.labels == (("team", "billing"),)
    assert one.totals == (("unassigned", "unassignedCount"), ("deep", "summary.breached"))
    assert dict(one.headers) == {"X-One": "1", "Content-Type": "application/json"}
    assert one.body == b'{"a":[1,2.5,true,"x"]}'
    assert (one.timeout, one.connect_timeout, one.grace, one.catch_up) == (5400.0, 0.5, 0.0, "all")
    assert (one.retries, one.retry_on, one.delivery) == (0, ("timeout", "5xx", "reset"), "at-least-once")
    assert one.alert_after == 2
    assert (one.notify, one.notify_after, one.ping_url) == (False, 5, "https://hc-ping.com/1")
    assert loaded.notify == Notify((), 60.0, 3, "https://tocsin.example.com", "https://hc-ping.com/1", "plain")
    assert one.expect_status == ("204", "3xx")
    assert dict(one.expect_json) == {"success": True, "n": 1}
    assert one.expect_html
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
    *("retention", "allow_insecure", "secret_file", "ca_file", "client_cert", "client_key"),
    *("ledger_password_env", "ledger_password_file", "ledger_schema"),  # in test_config_ledger.py
    *("urls_env", "urls_file"),  # in test_config_notify.py
    *("listen_cert", "listen_key", "listen_client_ca"),  # and these, in test_access.py
    *("listen_actions", "listen_actor_bearer_env", "listen_actor_bearer_file", "listen_actor_user"),
    *("listen_actor_password_env", "listen_actor_password_file"),
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
    assert why('client_key = "client.pem"') == ["tocsin.toml: [target] client_key: needs client_cert"]


def test_every_key_of_the_tables_stands_in_a_test() -> None:
    for table in (DaemonTable, TargetTable, NotifyTable, JobTable):
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


# ---- the table of defaults


def test_defaults_are_merged(load: Load) -> None:
    text = f"[defaults]\ntimeout = '5s'\nretries = 1\nheaders = {{ X-A = 'a' }}\n{GOOD}retries = 2\n"
    one = load(text).jobs["a"]
    assert (one.timeout, one.retries, one.headers) == (5.0, 2, (("X-A", "a"),))


def test_labels_of_a_job_are_added_to_those_of_the_defaults(load: Load) -> None:
    defaults = '[defaults]\nlabels = { team = "billing", tier = "1" }\n'
    assert load(defaults + GOOD).jobs["a"].labels == (("team", "billing"), ("tier", "1"))
    own = load(defaults + GOOD + 'labels = { team = "ops", app = "web" }\n').jobs["a"]
    assert own.labels == (("app", "web"), ("team", "ops"), ("tier", "1"))


def test_the_names_of_labels_are_few_in_all(load: Load) -> None:
    def jobs(many: int) -> str:
        return "".join(
            f'[jobs.j{n}]\nschedule = "@daily"\npath = "/x"\nlabels = {{ l{n} = "x" }}\n' for n in range(many)
        )

    assert len(load(TARGET + jobs(16)).jobs) == 16
    (fault,) = faults(load, TARGET + jobs(17))
    assert "labels: have 17 names in all (l0, l1, l10, l11, l12, …); at most 16" in fault


@pytest.mark.parametrize(
    ("own", "status", "json"),
    [
        ("", ("204",), (("ready", True),)),
        ('expect.status = ["200"]\n', ("200",), (("ready", True),)),
        ("expect.json = { done = 1 }\n", ("204",), (("done", 1),)),
    ],
)
def test_each_key_of_expect_has_its_own_default(
    load: Load, own: str, status: tuple[str, ...], json: tuple[tuple[str, object], ...]
) -> None:
    text = f"[defaults.expect]\nstatus = ['204']\njson = {{ ready = true }}\n{GOOD}{own}"
    one = load(text).jobs["a"]
    assert (one.expect_status, one.expect_json) == (status, json)


def test_a_jobs_own_word_on_one_thing_ends_the_defaults(load: Load, tmp_path: Path) -> None:
    (tmp_path / "shared").write_text(SECRET[::-1])
    text = f"[defaults]\nsecret_file = 'shared'\njson = {{ a = 1 }}\n{GOOD}secret_env = 'OWN'\nbody = 'b'\n"
    jobs = load(text + JOB.replace("jobs.a", "jobs.b"), {"OWN": SECRET}).jobs
    assert [(one.secret and one.secret.value, one.body) for one in jobs.values()] == [
        (SECRET, b"b"),
        (SECRET[::-1], b'{"a":1}'),
    ]


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
    (
        "TOCSIN_LISTEN_HOSTS",
        "Tocsin, tocsin.internal. ",
        "access",
        Access(hosts=frozenset({"tocsin", "tocsin.internal"})),
    ),
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


def test_a_faulty_name_of_a_variable_is_said(load: Load) -> None:
    (fault,) = faults(load, GOOD, {**ENVIRONMENT, "TOCSIN_LISTEN_HOSTS": "tocsin, http://tocsin"})
    assert fault.startswith("tocsin.toml: [environment TOCSIN_LISTEN_HOSTS] listen_hosts.1 = ")


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


# ---- the hash


def test_the_hash_covers_all_but_the_secrets(load: Load) -> None:
    text = GOOD.replace("app.example", "${HOST}.example")
    first = load(text, {"CRON_SECRET": SECRET, "HOST": "a"}).hash
    assert load(text, {"CRON_SECRET": "another-secret-of-the-app", "HOST": "a"}).hash == first
    assert load(text, {"CRON_SECRET": SECRET, "HOST": "b"}).hash != first
    assert load(text + "# more", {"CRON_SECRET": SECRET, "HOST": "a"}).hash != first
    assert load(text, {"CRON_SECRET": SECRET, "HOST": "a", "TOCSIN_NODE": "x"}).hash != first


def test_a_state_folder_that_is_no_file_name_is_a_doubt(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('[daemon]\nstate_dir = "\\u0000"\n')
    folder, doubt = config.locate(file, {})
    assert folder == tmp_path / "var"
    assert "[daemon] state_dir: is not a file name" in doubt

"""Crontabs: what a line asks for becomes the job's keys; what is not understood is listed; no secret is written."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import config
from tocsin.importing import crontab, toml
from tocsin.importing.found import Found
from tocsin.importing.shell import Unclear, parse
from tocsin.jobfile.faults import ConfigError

SAMPLES = sorted((Path(__file__).parent.parent / "samples" / "crontab").iterdir())
URL = "https://app.example.com/x"
FORM = "application/x-www-form-urlencoded"


def read(text: str) -> Found:
    return crontab.read(text, "crontab")


def keys(command: str) -> dict[str, Any]:
    """The keys of the one job that a command becomes, but for those that every one here has."""
    found = read(f"5 * * * * {command}\n")
    assert len(found.jobs) == 1, found.notes
    table = found.jobs[0].table
    assert {"schedule", "method", "url", "send_secret"} <= table.keys(), "no default of the job file comes in"
    common = {"schedule": "5 * * * *", "method": "GET", "url": URL, "send_secret": "none"}
    return {key: value for key, value in table.items() if common.get(key) != value}


def left_out(text: str) -> str:
    """Why the one line is no job."""
    found = read(text)
    assert not found.jobs, toml.job_file([found], with_target=False)
    (note,) = [note for note in found.notes if note.kind == "left out"]
    return note.text


def notes(text: str, kind: str) -> list[str]:
    return [f"{note.place}: {note.text}".removeprefix(": ") for note in read(text).notes if note.kind == kind]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"curl {URL}", {}),
        (f"curl -fsS {URL} >/dev/null 2>&1", {}),
        (f"/usr/bin/curl --silent --show-error --fail '{URL}' &> /dev/null", {}),
        (f"curl -sS -o /dev/null -w '%{{http_code}}' {URL}".replace("%", r"\%"), {}),
        (f"curl -X POST {URL}", {"method": "POST"}),
        (f"curl -XDELETE {URL}", {"method": "DELETE"}),
        (f"curl -fsSm 30 {URL}", {"timeout": "30s"}),
        (f"curl -m2.5 {URL}", {"timeout": "2500ms"}),
        (f"curl --max-time 0 {URL}", {}),
        (f"curl --connect-timeout 5 --retry 3 {URL}", {"connect_timeout": "5s", "retries": 3}),
        (f"curl --retry 99 {URL}", {"retries": 20}),
        (f"wget -q -t 0 {URL}", {"retries": 20}),
        (
            f"curl -d a -d b --json '{{}}' {URL}",
            {
                "method": "POST",
                "body": "a&b{}",
                "content_type": "application/json",
                "headers": {"Accept": "application/json"},
            },
        ),
        (
            f"curl -H 'Accept: text/plain' --json '{{}}' {URL}",
            {"method": "POST", "body": "{}", "content_type": "application/json", "headers": {"Accept": "text/plain"}},
        ),
        (f"curl -d a=1 -d b=2 {URL}", {"method": "POST", "body": "a=1&b=2", "content_type": FORM}),
        (f"curl -G -d a=1 {URL}", {"url": f"{URL}?a=1"}),
        (f"curl -X PUT --data-raw '@x' {URL}", {"method": "PUT", "body": "@x", "content_type": FORM}),
        (
            f"""curl -H 'Content-Type: application/json' -d '{{"a": "b c"}}' {URL}""",
            {"method": "POST", "body": '{"a": "b c"}', "content_type": "application/json"},
        ),
        (
            f"""curl --json '{{"a": "${{HOME}}"}}' {URL}""",  # in single quotes: no variable
            {
                "method": "POST",
                "body": '{"a": "${DOLLAR:-$}{HOME}"}',
                "content_type": "application/json",
                "headers": {"Accept": "application/json"},
            },
        ),
        (f"curl --data-urlencode 'q=a b&c' {URL}", {"method": "POST", "body": "q=a+b%26c", "content_type": FORM}),
        (f"curl -A me -e https://r.example {URL}", {"headers": {"User-Agent": "me", "Referer": "https://r.example"}}),
        (f'curl -H "Authorization: Bearer $TOKEN" {URL}', {"secret_env": "TOKEN", "send_secret": "bearer"}),
        (f'curl -H "Authorization: $TOKEN" {URL}', {"secret_env": "TOKEN", "send_secret": "authorization"}),
        (f'curl -H "X-Cron-Secret: ${{TOKEN}}" {URL}', {"secret_env": "TOKEN", "send_secret": "header:X-Cron-Secret"}),
        (f"curl --oauth2-bearer $TOKEN {URL}", {"secret_env": "TOKEN", "send_secret": "bearer"}),
        (f'curl -H "Authorization: Token $TOKEN" {URL}', {"headers": {"Authorization": "Token ${TOKEN}"}}),
        (
            f'curl "{URL}?secret=$TOKEN&a=1"',
            {"url": f"{URL}?secret=${{TOKEN}}&a=1"},  # encoded or not, nobody knows
        ),
        (
            f'TOKEN=abc curl "{URL}?secret=$TOKEN&a=1"',
            {"url": f"{URL}?a=1", "secret_env": "TOKEN", "send_secret": "query:secret"},
        ),
        ('curl "$BASE/y?z=$Z" -H "X-N: ${N:-n}"', {"url": "${BASE}/y?z=${Z}", "headers": {"X-N": "${N:-n}"}}),
        (f"curl {URL} || true", {}),
        (f"curl {URL} | logger -t cron", {}),
        (f"curl {URL} &", {}),
        (f"cd /app && curl {URL};", {}),
        (f"sleep 15; curl {URL}", {"schedule": "15 5 * * * *"}),
        (f"timeout -k 5 2m curl -m 300 {URL}", {"timeout": "120s"}),
        (f"flock -n /run/x.lock nice -n 10 curl {URL}", {}),
        (f"A=b env C=d curl {URL}?a=$A", {"url": f"{URL}?a=${{A}}"}),
        (f"bash -c 'curl -fsS {URL}'", {}),
        (f'sh -lc "curl -fsS {URL} >/dev/null"', {}),
        (f"/usr/bin/env bash -euo pipefail -c 'cd /app && curl -m 5 {URL}'", {"timeout": "5s"}),
        (f"timeout 60 /bin/sh -c 'curl {URL} || true'", {"timeout": "60s"}),
        (f"bash -c 'sleep 15; curl {URL}'", {"schedule": "15 5 * * * *"}),
        (f'flock -n /tmp/l -c "curl -s {URL}"', {}),
        (f'su - www-data -s /bin/sh -c "curl {URL}"', {}),
        (f"sudo -n -u app curl {URL}", {}),
        (f"runuser -u app -- nice -n 5 curl {URL}", {}),
        (f"gosu app:app curl {URL}", {}),
        (
            f"""bash -c 'curl -H "Authorization: Bearer $TOKEN" {URL}'""",
            {"secret_env": "TOKEN", "send_secret": "bearer"},
        ),
        (
            f"""bash -c "curl -H 'Authorization: Bearer $TOKEN' {URL}\"""",
            {"secret_env": "TOKEN", "send_secret": "bearer"},
        ),
        (f'curl -G --data-urlencode "key=$KEY" {URL}', {"secret_env": "KEY", "send_secret": "query:key"}),
        (f'curl -G --data-urlencode "q=a b" {URL}', {"url": f"{URL}?q=a+b"}),
        (f"curl -H Expect: -H 'Transfer-Encoding:' -X POST {URL}", {"method": "POST"}),
        (f"curl -H 'Host: app.example.com' {URL}", {}),
        (f"curl --basic -u bob:pw {URL}", {"secret_env": "X_BASIC", "send_secret": "authorization"}),
        (f"curl {URL.replace('//', '//bob:pw@')}", {"secret_env": "X_BASIC", "send_secret": "authorization"}),
        (f"wget {URL.replace('//', '//bob:pw@')}", {"secret_env": "X_BASIC", "send_secret": "authorization"}),
        (f"curl --noproxy '*' --no-keepalive --proto =https --http1.0 {URL}", {}),
        (f"wget -q --no-proxy --no-http-keep-alive --https-only {URL}", {}),
        ("curl http://[::1]:3000/x", {"url": "http://[::1]:3000/x"}),
        ("curl [fe80::1]/x", {"url": "http://[fe80::1]/x"}),
        ("curl -sg 'https://app.example.com/x?ids[]=1'", {"url": f"{URL}?ids[]=1"}),
        ("curl --globoff 'https://app.example.com/x?a={b}'", {"url": f"{URL}?a={{b}}"}),
        ("curl app.example.com/x", {"url": "http://app.example.com/x"}),
        (f"curl {URL}#there", {}),
        (f"wget -q -O - {URL}", {}),
        (f"wget -qO- --no-check-certificate {URL}", {}),
        (f"wget -nv -T 20 -t 4 -O/dev/null {URL}", {"timeout": "20s", "retries": 3}),
        (f"wget --post-data='a=1' {URL}", {"method": "POST", "body": "a=1", "content_type": FORM}),
        (f"wget --method=put --header='X-A: b' {URL}", {"method": "PUT", "headers": {"X-A": "b"}}),
        (rf"curl {URL}?a=50\%25", {"url": f"{URL}?a=50%25"}),
        (f"curl --data-binary @- {URL}%one%two", {"method": "POST", "body": "one\ntwo", "content_type": FORM}),
        (f'curl "{URL}?a=%"', None),  # cron cuts it within the quotes
        (f"curl {URL} {URL}2", None),
    ],
)
def test_a_command_and_its_job(command: str, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert left_out(f"5 * * * * {command}")
    else:
        assert keys(command) == expected


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("5 * * * * /usr/local/bin/backup.sh", "5 * * * * /usr/local/bin/backup.sh …: does not call curl or wget"),
        (f"5 * * * * curl {URL} && curl {URL}2", "5 * * * * curl …: && curl: a job is one call, with nothing after it"),
        (f"5 * * * * curl {URL} || mail -s down me", "|| mail: a job is one call"),
        (f"5 * * * * curl {URL} | bash", "| bash: a job is one call"),
        (f"5 * * * * [ -x /bin/x ] && curl {URL}", "&& curl: a job is one call"),
        (f"5 * * * * (curl {URL})", "a subshell"),
        (f"5 * * * * curl {URL}?d=$(date)", "$(…) runs another command"),
        (f'5 * * * * curl "{URL}?d=`date`"', "`…` runs another command"),
        (f"5 * * * * curl {URL}?a=1&b=2", "an & outside quotes ends the command"),
        (f"5 * * * * curl '{URL}", "a quote is not closed"),
        (f"5 * * * * curl {URL} < /etc/x", "input comes from a file"),
        (f"5 * * * * curl -d @/etc/x {URL}", "--data reads a file"),
        (f"5 * * * * curl -b jar.txt {URL}", "-b reads cookies from a file"),
        (f"5 * * * * curl -F a=b {URL}", "the option -F is not understood"),
        (f"5 * * * * curl --proxy http://p {URL}", "the option --proxy is not understood"),
        (f"5 * * * * curl {URL} -m", "the option -m lacks its value"),
        (f"5 * * * * curl -m soon {URL}", "--max-time is not a number of seconds"),
        (f"5 * * * * curl -I {URL}", "asks with HEAD"),
        (f"5 * * * * curl -X TRACE {URL}", "Tocsin does not support this method"),
        (f"5 * * * * curl -H 'Host: y' {URL}", "sets the header Host: Tocsin sends the name in the address, so give"),
        (f"5 * * * * curl --resolve app.example.com:443:10.0.0.1 {URL}", "--resolve: give the name that address"),
        (f"5 * * * * curl -H 'User-Agent:' {URL}", "removes the header 'User-Agent'"),
        (f"5 * * * * curl -H : {URL}", "a header that is not NAME: VALUE"),
        (
            f'5 * * * * curl -w "%{{http_code}}" {URL}',
            r"cron ends the command at the first %, where \% may be meant; of",
        ),
        (
            "5 * * * * wget https://u:p%40ss@app.example.com/x",
            r"the first %, where \% may be meant; of what is left: url",
        ),
        (f"0 0 5 * * * 2027 curl {URL}", "has seven fields, with a year at the end"),
        (f"5 * * * * bash /srv/call.sh {URL}", "a shell that runs a file"),
        (f"5 * * * * bash -c 'curl $1' x {URL}", "a shell whose script has arguments"),
        (f"5 * * * * bash -c 'curl {URL} && date'", "&& date: a job is one call"),
        (f'5 * * * * bash -c "curl {URL}?a=${{A:-b}}"', "a variable with a default inside the script"),
        (f"5 * * * * bash -c 'curl {URL}; exit'", "; exit: a job is one call"),
        (f'5 * * * * curl --data-urlencode "key=$KEY" {URL}', "Tocsin sends a variable there unencoded"),
        (f'5 * * * * curl -G --data-urlencode "a=$A" --data-urlencode "b=$B" {URL}', "Tocsin encodes one"),
        (f"5 * * * * curl --data-urlencode key@/etc/x {URL}", "--data-urlencode reads a file"),
        (f"CRON_TZ=Europe/Berln 5 * * * * curl {URL}", "no such zone; did you mean Europe/Berlin"),
        (f"5 * * * * curl {URL}[1-9]", "a pattern for several"),
        (f"5 * * * * curl -s '{URL}?ids[]=1'", "a pattern for several"),
        ("5 * * * * curl http://[1-9]/x", "a pattern for several"),
        ("5 * * * * curl http://[::1]/[1-9]", "a pattern for several"),
        ("5 * * * * curl -H -g http://a.example/{a,b}", "a header that is not NAME: VALUE"),
        ("5 * * * * curl -A -g 'http://a.example/{a,b}'", "a pattern for several"),
        ("5 * * * * curl -s", "names no address"),
        ("5 * * * * curl ftp://a.example/x", "url: is not a URL"),
        (f"5 * * * * curl {URL}/ü", "url: must be plain ASCII"),
        (f"@reboot curl {URL}", "Tocsin has no @reboot"),
        (f"0~9 * * * * curl {URL}", "minute '0~9'"),
        (f"* * * * * sleep 90; curl {URL}", "; curl: a job is one call"),
        (f"@daily sleep 5; curl {URL}", "sleeps before the call"),
        (f"#5 * * * * curl {URL}", "is commented out"),
        (f"# 5 * * * * /usr/bin/wget -q {URL}", "is commented out"),
        ("what is this", "is not a valid line of a crontab"),
        ("PATH=/bin", "PATH: has no effect"),
    ],
)
def test_what_is_not_understood_is_listed(line: str, why: str) -> None:
    assert why in left_out(line)


@pytest.mark.parametrize(
    ("fields", "schedule", "note"),
    [
        ("*/30 * * * * *", "*/30 * * * * *", "has six fields: read with seconds first; if the sixth is a year"),
        ("0 */10 * * * * *", "0 */10 * * * *", "has seven fields: read with seconds first and a year last"),
        ("15 0 5 * * 1 root", "15 0 5 * * 1", "has six fields"),
    ],
)
def test_more_than_five_fields(fields: str, schedule: str, note: str) -> None:
    text = f"{fields} curl {URL}\n"
    assert [job.table["schedule"] for job in read(text).jobs] == [schedule]
    assert notes(text, "check")[0].startswith(f"line 1: {note}")


def test_a_zone_before_the_schedule_is_taken_over() -> None:
    (job,) = read(f"TZ=Europe/Rome\nCRON_TZ=Asia/Tokyo 0 9 * * * curl {URL}\n").jobs
    assert (job.table["schedule"], job.table["timezone"]) == ("0 9 * * *", "Asia/Tokyo")


def test_user_and_password_of_an_address_are_decoded_and_hidden() -> None:
    found = read(r"5 * * * * curl https://bob:hunter2\%40x@app.example.com/x" + "\n")
    assert found.jobs[0].table["url"] == URL
    assert "hunter2" not in toml.job_file([found], with_target=False) + str(found.notes)
    again = "6 * * * * curl -u bob:hunter2@x https://app.example.com/y\n"
    both = read(r"5 * * * * curl https://bob:hunter2\%40x@app.example.com/x" + f"\n{again}")
    assert {job.table["secret_env"] for job in both.jobs} == {"X_BASIC"}, "the same user and password"


@pytest.mark.parametrize(
    "line",
    [
        f"17 4 * * * root curl {URL}",
        f"17 4\t* * *\twww-data\t/usr/bin/curl {URL}",
        f"@daily www-data nice -n 19 curl {URL}",
        f"17 4 * * * app SECRET=x curl {URL}",
    ],
)
def test_the_column_of_the_user_is_passed_over(line: str) -> None:
    assert [job.table["url"] for job in read(line).jobs] == [URL]


def test_settings() -> None:
    text = f"""MAILTO=me@example.com
"TZ" = 'Asia/Tokyo'
BASE="https://app.example.com"
5 * * * * curl $BASE/x
CRON_TZ=Europe/Berlin
6 * * * * curl {URL}2
"""
    found = read(text)
    assert [job.table.get("timezone") for job in found.jobs] == ["Asia/Tokyo", "Europe/Berlin"]
    assert found.jobs[0].table["url"] == URL
    assert any("MAILTO" in line for line in notes(text, "differs"))
    assert any("TZ" in line for line in notes(text, "check"))
    assert not any(line.startswith("time zone") for line in notes(text, "differs"))


def test_without_a_zone_the_report_says_what_to_set() -> None:
    assert any('timezone = "Europe/Berlin"' in line for line in notes(f"5 * * * * curl {URL}", "differs"))
    assert "timezone" not in read(f"5 * * * * curl {URL}").jobs[0].table


@pytest.mark.parametrize("text", ["CRON_TZ=Europe/Berln", "\0", "5 * * * * curl\x1b[0m", "A=\x7f"])
def test_a_wrong_zone_or_binary_is_a_fault(text: str) -> None:
    with pytest.raises(ConfigError, match="crontab line 1"):
        read(text)


SECRETS = [
    "curl -H 'Authorization: Bearer {}' https://app.example.com/x",
    "curl -H 'authorization: Token {}' https://app.example.com/x",
    "curl -H 'X-Api-Key: {}' https://app.example.com/x",
    "curl -b 'session={}' https://app.example.com/x",
    "curl -u me:{} https://app.example.com/x",
    "curl --oauth2-bearer {} https://app.example.com/x",
    "curl 'https://app.example.com/x?a=1&token={}'",
    "curl 'https://app.example.com/x?token={}&key={}2'",
    "curl -d 'a=1&password={}' https://app.example.com/x",
    """curl --json '{{"a": 1, "secret": "{}"}}' https://app.example.com/x""",
    "curl 'https://app.example.com/x?id={}&a=1'",
    "curl 'https://app.example.com/x?{}'",
    "curl 'https://app.example.com/x?at=https:\\%2F\\%2Fhc.example\\%2F{}'",
    "curl -d 'a=1&b={}' https://app.example.com/x",
    "curl -d {} https://app.example.com/x",
    """curl --json '{{"a": [1, "{}"]}}' https://app.example.com/x""",
    "curl -H 'X-Run: {}' https://app.example.com/x",
    "curl https://app.example.com/hooks/{}/run",
    'curl "https://app.example.com/${A:-{}}"',
    'curl -d "a=${A:-{}}" https://app.example.com/x',
    "curl https://me:{}@app.example.com/x",
    "wget -q --user=me --password={} https://app.example.com/x",
    "wget -q --header='X-Auth-Token: {}' https://app.example.com/x",
    'SECRET={} curl -H "X-Secret: $SECRET" https://app.example.com/x',
    "curl --frobnicate {} https://app.example.com/x",
    "A={} /usr/bin/other --token={}",
    "/usr/bin/{} x",
]
SECRET = "aB3dE5gH7jK9mN1pQ3sT5"


@pytest.mark.parametrize("command", SECRETS)
def test_no_secret_is_copied_or_shown(command: str) -> None:
    for before in ("5 * * * * ", "#5 * * * * ", "@reboot "):
        found = read(before + command.replace("{}", SECRET).replace("{{", "{").replace("}}", "}"))
        assert SECRET not in toml.job_file([found], with_target=False)
        assert not any(SECRET in note.text + note.place for note in found.notes)
        assert SECRET.lower() not in str([job.name for job in found.jobs])


@pytest.mark.parametrize("command", SECRETS[:18])
def test_a_copied_secret_has_a_variable_that_must_be_set(command: str, tmp_path: Path) -> None:
    found = read("5 * * * * " + command.replace("{}", SECRET).replace("{{", "{").replace("}}", "}"))
    asked = {note.text.partition(":")[0] for note in found.notes if note.kind == "set"}
    file = tmp_path / "tocsin.toml"
    file.write_text(toml.job_file([found], with_target=False))
    with pytest.raises(ConfigError, match=f"({'|'.join(asked)}) is not set"):
        config.load(file, {})
    assert config.load(file, dict.fromkeys(asked, SECRET)).jobs


@pytest.mark.parametrize(
    "name",
    ["code", "pass", "pw", "pwd", "smtp_pass", "key", "cronkey", "apiKey", "api.key", "function-key", "auth", "sig"],
)
@pytest.mark.parametrize("secret", ["hunter2-of-mine", "Zk3v/9bQ+Xw2==", "word"])
def test_a_secret_is_known_by_the_name_it_has(name: str, secret: str) -> None:
    for command in (
        f"curl 'https://a.example/x?user=admin&{name}={secret}'",
        f"curl -d 'user=me&{name}={secret}' {URL}",
    ):
        found = read(f"5 * * * * {command}\n")
        assert secret not in toml.job_file([found], with_target=False)
        assert len([note for note in found.notes if note.kind == "set"]) == 1


@pytest.mark.parametrize(
    "name", ["monkey", "turkey", "statuscode", "code_page", "compass", "keyword", "passage", "pwned"]
)
def test_a_name_that_sounds_like_one_hides_nothing(name: str) -> None:
    assert keys(f"curl '{URL}?{name}=value'") == {"url": f"{URL}?{name}=value"}


def test_an_address_that_the_crontab_sets_is_copied_unless_a_secret_may_stand_in_it() -> None:
    addresses = ["https://a.example/x", f"https://hc.example/{SECRET}", "https://a.example/x?key=hunter2"]
    urls = [read(f"U={address}\n5 * * * * curl $U\n").jobs[0].table["url"] for address in addresses]
    assert urls == [addresses[0], "${U}", "${U}"]


def test_one_secret_has_one_variable_and_two_have_two() -> None:
    text = "".join(
        f"5 * * * * curl -H 'Authorization: Bearer {secret}' https://app.example.com/{path}\n"
        for secret, path in [("first-one", "a"), ("first-one", "b"), ("other-one", "a")]
    )
    assert [job.table["secret_env"] for job in read(text).jobs] == ["A_SECRET", "A_SECRET", "A_SECRET_2"]
    assert [job.name for job in read(text).jobs] == ["a", "b", "a-2"]


def test_a_new_variable_has_a_name_that_nothing_else_has() -> None:
    """/api/cron would be CRON_SECRET, which is the target's."""
    text = (
        "5 * * * * curl -H 'X-Key: one' https://other.example.com/api/cron\n"
        "5 * * * * curl -H 'X-Key: two' https://other.example.com/api/app\n"
        '5 * * * * curl -H "X-Key: $APP_SECRET" https://other.example.com/y\n'
    )
    assert [job.table["secret_env"] for job in read(text).jobs] == ["CRON_SECRET_2", "APP_SECRET_2", "APP_SECRET"]


def test_one_variable_has_one_value() -> None:
    line = f'* * * * curl -H "X-Token: $TOK" {URL}\n'
    text = f"TOK=one\n1 {line}TOK=two\n2 {line}TOK=one\n3 {line}"
    assert [job.place for job in read(text).jobs] == ["line 2", "line 6"]
    why = "2 * * * * curl …: TOK has another value in an earlier line, but Tocsin's environment has only one"
    assert notes(text, "left out") == [f"line 4: {why}"]
    text = f"1 {line}TOK=two\n2 {line}"
    assert [job.place for job in read(text).jobs] == ["line 1"]


def test_a_user_and_password_are_encoded_whatever_else_they_are() -> None:
    text = f"AUTH=me:secret\n5 * * * * curl -u me:secret {URL}\n6 * * * * curl -H 'X-Key: me:secret' {URL}\n"
    assert [job.table["secret_env"] for job in read(text).jobs] == ["X_BASIC", "AUTH"]


@pytest.mark.parametrize("sent", ["abc", "abc=", "abc%2Bdef%3D", "a+b", "a&b=c", "a/b~c"])
@pytest.mark.parametrize("variable", [True, False])
def test_a_secret_in_the_query_is_sent_as_it_was_written(sent: str, variable: bool, tmp_path: Path) -> None:
    """curl sends what it is given; what Tocsin encodes must mean the same to the server."""
    if variable:
        found = read(f'TOKEN={sent}\n5 * * * * curl "{URL}?token=$TOKEN&x=1"\n')
    else:
        found = read(f"5 * * * * curl '{URL}?token={sent.replace('%', chr(92) + '%')}&x=1'\n")
    (asked,) = {note.text.partition(":")[0] for note in found.notes if note.kind == "set"}
    file = tmp_path / "tocsin.toml"
    file.write_text(toml.job_file([found], with_target=False))
    (job,) = config.load(file, {asked: sent if variable else sent.partition("&")[0]}).jobs.values()
    target = job.url if job.secret is None else job.secret.into_query(job.url)
    assert sorted(parse_qsl(urlsplit(target).query)) == sorted(parse_qsl(f"token={sent}&x=1"))


@pytest.mark.parametrize(
    "command", ["curl -o /srv/x", "curl -O", "wget -O /srv/x", "wget -P /srv", "curl >/srv/x", "curl --output /srv/x"]
)
def test_what_was_kept_in_a_file_is_pointed_out(command: str) -> None:
    assert any("its output went to a file" in note for note in notes(f"5 * * * * {command} {URL}\n", "differs"))


def test_a_secret_that_the_crontab_sets_keeps_its_name() -> None:
    text = f"CRON_SECRET={SECRET}\n5 * * * * curl -H 'Authorization: Bearer {SECRET}' {URL}\n"
    assert read(text).jobs[0].table["secret_env"] == "CRON_SECRET"
    assert notes(text, "set") == ["CRON_SECRET: to the value that line 1 of the crontab sets"]


def test_a_line_that_is_no_job_asks_for_no_variable() -> None:
    text = f"5 * * * * curl -H 'X-Key: {SECRET}' {URL}/ü\n6 * * * * curl -H 'X-Key: {SECRET}' {URL}\n"
    assert notes(text, "set") == [
        "X_SECRET: to the value of the header X-Key of line 2; it is a secret and was not copied"
    ]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_every_line_of_a_sample_is_a_job_or_in_the_report(sample: Path, tmp_path: Path) -> None:
    text = sample.read_text()
    found = crontab.read(text, sample.name)
    told = {job.place for job in found.jobs} | {note.place for note in found.notes}
    told |= {place for note in found.notes for place in re.findall(r"line \d+", note.text)}
    for count, line in enumerate(text.splitlines(), 1):
        if line.strip() and not re.match(r"#(?!\d)|CRON_TZ|APP_URL", line):
            assert f"line {count}" in told, line
    written = toml.job_file([found], with_target=False)
    assert "correct-horse" not in written + str(found.notes)
    file = tmp_path / "tocsin.toml"
    file.write_text(written)
    variables = set(re.findall(r"\$\{(\w+)\}|secret_env = \"(\w+)\"", written))
    environment = {name: SECRET for pair in variables for name in pair if name}
    assert len(config.load(file, environment).jobs) == len(found.jobs) > 2


def test_what_stands_before_a_command_is_for_that_command() -> None:
    text = "5 * * * * HOST=b.example curl https://$HOST/x\n6 * * * * curl https://$HOST/x\nHOST=c.example\n"
    assert [job.table["url"] for job in read(text).jobs] == ["https://b.example/x", "https://${HOST}/x"]
    assert notes(text, "check") == [
        "line 1: HOST is set before a command, so the command line itself cannot use it; it was used as intended"
    ]


def test_a_public_host_in_the_clear_is_pointed_out() -> None:
    assert notes("5 * * * * curl http://app.example.com/x", "check") == [
        "line 1: uses http://, which Tocsin refuses for a public host"
    ]
    assert not notes("5 * * * * curl http://app:3000/x\n6 * * * * curl http://10.0.0.1/x", "check")


def test_words_and_quotes() -> None:
    (command,) = parse(r"""a 'b "$c"' "d $E \" \x" f\ g h"i"'j' $ k#l >>m 2>n # o""")
    assert command.words == ["a", 'b "$c"', 'd \x01E\x02 " \\x', "f g", "hij", "$", "k#l"]
    assert command.outputs == ["m", "n"]


ALPHABET = st.sampled_from(
    [*" \t'\"\\$`(){}[]|&;<>#%@~=:-/?.,*019aZü", "curl ", "wget ", "-H ", "* ", "https://a.example/", "${A}"]
)
TEXTS = st.lists(ALPHABET, max_size=40).map("".join)


@given(TEXTS)
def test_whatever_the_shell_is_given_only_unclear_is_raised(text: str) -> None:
    try:
        parse(text)
    except Unclear:
        return


@given(st.text() | st.lists(TEXTS.map("5 * * * * curl https://a.example/x ".__add__) | TEXTS).map("\n".join))
def test_whatever_stands_in_the_crontab_only_its_error_is_raised(text: str) -> None:
    try:
        found = read(text)
    except ConfigError:
        return
    written = toml.job_file([found], with_target=False)
    assert written.count("\n[jobs.") == len(found.jobs)

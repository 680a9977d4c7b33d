"""The lists of callers around node-cron."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_import_vercel import VALUES, loaded
from tocsin.importing import cron_jobs
from tocsin.importing.found import Found
from tocsin.jobfile.faults import ConfigError
from tocsin.schedule import Schedule

SAMPLES = Path(__file__).parent.parent / "samples" / "cron-jobs"


def read(*entries: Any) -> Found:
    return cron_jobs.read(json.dumps(entries), "jobs.json")


def entry(**keys: Any) -> dict[str, Any]:
    return {"path": "/api/cron/x", "schedule": "* * * * *", "method": "POST", **keys}


def test_the_ticketing_apps_list(tmp_path: Path) -> None:
    found = cron_jobs.read((SAMPLES / "ticketing.json").read_text(), "jobs.json")
    jobs = loaded(found, tmp_path).jobs
    sla, digest, cleanup = jobs["sla-check"], jobs["digest"], jobs["cleanup"]
    assert (sla.method, sla.url, sla.schedule.expression) == (
        "POST",
        "https://app.example.com/api/cron/sla-check",
        "* * * * *",
    )
    assert sla.description == "Auto-unassign requests that exceed the 15-minute SLA"
    assert sla.secret is not None
    assert sla.secret.sent == "header:x-cron-secret"
    assert (digest.method, digest.schedule.words) == ("GET", "at 08:00 on Monday through Friday, UTC")
    assert (cleanup.method, cleanup.enabled, cleanup.schedule.words) == ("DELETE", False, "every 30 seconds")


def test_intervals_addresses_zones_and_names(tmp_path: Path) -> None:
    found = cron_jobs.read((SAMPLES / "intervals.json").read_text(), "jobs.json")
    jobs = loaded(found, tmp_path).jobs
    assert list(jobs) == ["poll-inbox", "rates", "poll"]
    assert jobs["poll-inbox"].schedule.expression == "@every 90s"
    assert jobs["rates"].url == "https://rates.example.com/refresh?base=EUR"
    assert (jobs["rates"].schedule.timezone, jobs["rates"].method) == ("Europe/Berlin", "GET")
    assert jobs["rates"].secret is None, "the target's secret is for the target alone"
    assert [(note.kind, note.place) for note in found.notes if note.place] == [
        ("check", "jobs[0]"),
        ("left out", "jobs[2]"),
    ]


@pytest.mark.parametrize(
    ("schedule", "taken", "timezone"),
    [
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "0 9 * * *", "Asia/Tokyo"),
        ("TZ=Europe/Berlin @daily", "@daily", "Europe/Berlin"),
        ("cron(0 12 * * ? *)", "0 12 * * ?", None),
        ("cron(30 7 ? * 2-6 *)", "30 7 ? * MON-FRI", None),
        ("cron(0 9 ? * 2#1 *)", "0 9 ? * MON#1", None),
        ("rate(5 minutes)", "@every 5m", None),
        ("rate(1 day)", "@every 1d", None),
        ("every 2 hours", "@every 2h", None),
        ("0 */10 * * * * *", "0 */10 * * * *", None),
    ],
)
def test_what_other_programs_put_around_a_schedule(schedule: str, taken: str, timezone: str | None) -> None:
    (job,) = read(entry(schedule=schedule)).jobs
    assert (job.table["schedule"], job.table.get("timezone")) == (taken, timezone)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"schedule": "CRON_TZ=Asia/Tokio 0 9 * * *"}, "no such zone; did you mean Asia/Tokyo"),
        ({"schedule": "TZ=UTC 0 9 * * *", "timezone": "Asia/Tokyo"}, "differs from the zone in the schedule ('UTC')"),
        ({"schedule": "cron(0 12 * * ? 2027)"}, "cannot read schedule"),
    ],
)
def test_a_zone_or_a_year_that_cannot_be_taken_over(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(entry(**keys))
    assert why in str(raised.value)


def test_a_missing_method_and_the_zone_are_reported(tmp_path: Path) -> None:
    found = cron_jobs.read((SAMPLES / "cron-server.json").read_text(), "jobs.json")
    assert [job.method for job in loaded(found, tmp_path).jobs.values()] == ["POST", "POST"]
    texts = [note.text for note in found.notes]
    assert any("has no method" in text for text in texts)
    assert any(text.startswith("time zone") for text in texts)


@pytest.mark.parametrize(
    "address", [{"path": "/x?code=a"}, {"path": None, "url": "https://a.example/?3f2a9c1e-1111-2222-3333"}]
)
def test_a_secret_that_is_copied_is_pointed_out(address: dict[str, Any]) -> None:
    found = read({key: value for key, value in entry(**address).items() if value})
    assert [note.place for note in found.notes if "seems to hold a secret" in note.text] == ["[0]"]


NAMES = [  # that node-cron takes
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
    *("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
]


@pytest.mark.parametrize("name", NAMES)
def test_full_names_of_months_and_days_are_taken(name: str) -> None:
    fields = "0 0 * * {}" if name.endswith("day") else "0 0 1 {} *"
    for written in (name, name.capitalize(), name.upper(), name[:3]):
        (job,) = read(entry(schedule=fields.format(written))).jobs
        assert Schedule(job.table["schedule"]).expression == fields.format(name[:3].upper())


@pytest.mark.parametrize("name", ["junk", "janus", "mayday", "julyish"])
def test_other_words_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match=name.upper()):
        read(entry(schedule=f"0 0 1 {name} *"))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"schedule": "0 9 1-7 * 1"}, "node-cron runs it when both day fields match"),
        ({"schedule": "0 0 9 1-7 * mon"}, "node-cron runs it when both day fields match"),
        ({"schedule": "61 * * * *"}, "minute '61'"),
        ({"schedule": ""}, "it is empty"),
        ({"schedule": 5}, "must be text"),
        ({"schedule": "* * * * *", "intervalMs": 1000}, "set schedule or intervalMs"),
        ({"method": "TRACE"}, "must be one of GET"),
        ({"method": None}, "must be text"),
        ({"enabled": "yes"}, "must be true or false"),
        ({"path": "x"}, 'must start with "/"'),
        ({"url": "https://a.example/x"}, "set path or url"),
        ({"timezone": "Europe/Berln"}, "no such zone"),
        ({"path": "/ü"}, "percent-encoded"),
    ],
)
def test_what_cannot_be_a_job_is_a_fault(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(entry(), entry(**keys))
    assert str(raised.value).startswith("jobs.json [1]: ")
    assert why in str(raised.value)


@pytest.mark.parametrize("interval", [0, -1000, 1500, 999, True, "90000", None, 1e30, [1000]])
def test_an_interval_is_whole_seconds(interval: Any) -> None:
    with pytest.raises(ConfigError, match="whole seconds"):
        read({"path": "/x", "intervalMs": interval})


@pytest.mark.parametrize("text", ["7", "{}", '{"jobs": {}}', '"x"', "null"])
def test_a_text_without_a_list_is_a_fault(text: str) -> None:
    with pytest.raises(ConfigError, match="must be a list of jobs"):
        cron_jobs.read(text, "jobs.json")


KEYS = ("name", "path", "url", "schedule", "intervalMs", "description", "enabled", "method", "timezone")


@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES | st.sampled_from(["/x", "* * * * *", "GET"])), max_size=4)
)
def test_whatever_stands_in_the_list_only_its_error_is_raised(entries: list[Any]) -> None:
    try:
        read(*entries)
    except ConfigError:
        return


@pytest.mark.parametrize(
    "keys",
    [
        {"path": "/a?token=tok-SECRET-1 x"},
        {"path": "a?token=tok-SECRET-1"},
        {"path": 'a?a="&token=tok-SECRET-1'},
        {"path": "a? token=tok-SECRET-1"},
        {"path": None, "url": "https://user:tok/SECRET@1@x.example/a"},
        {"path": None, "url": "https://user:tok-SECRET-1@x.example/a"},
        {"path": None, "url": "https://x.example/a?k=tok-SECRET-1#b"},
    ],
)
def test_no_fault_repeats_a_query_or_a_password(keys: dict[str, Any]) -> None:
    keys = {key: value for key, value in entry(**keys).items() if value is not None}
    with pytest.raises(ConfigError) as raised:
        read(keys)
    assert "SECRET" not in str(raised.value)

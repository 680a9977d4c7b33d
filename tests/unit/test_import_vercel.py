"""vercel.json: samples as they stand in the wild become jobs that are called as Vercel calls them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import config
from tocsin.importing import toml, vercel
from tocsin.importing.found import Found, name_of
from tocsin.jobfile.faults import ConfigError

SAMPLES = sorted((Path(__file__).parent.parent / "samples" / "vercel").glob("*.json"))
SECRET = "0123456789abcdef-not-guessed"


def read(*crons: Any, **others: Any) -> Found:
    return vercel.read(json.dumps({**others, "crons": list(crons)}), "vercel.json")


def cron(path: Any = "/api/cron/x", schedule: Any = "0 5 * * *", **others: Any) -> dict[str, Any]:
    return {"path": path, "schedule": schedule, **others}


def loaded(found: Found, folder: Path) -> config.Config:
    file = folder / "tocsin.toml"
    file.write_text(toml.job_file([found], with_target=True))
    return config.load(file, {"API_BASE_URL": "https://app.example.com", "CRON_SECRET": SECRET})


def faults(*crons: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(*crons)
    return [str(fault) for fault in raised.value.faults]


def test_there_are_ten_samples_and_more() -> None:
    assert len(SAMPLES) >= 12


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_becomes_jobs_with_the_same_calls(sample: Path, tmp_path: Path) -> None:
    text = sample.read_text(encoding="utf-8-sig")
    found = vercel.read(text, "vercel.json")
    crons = json.loads(text).get("crons", [])
    assert len(found.jobs) == len(crons)
    if not crons:
        assert [note.kind for note in found.notes] == ["check"]
        return
    jobs = list(loaded(found, tmp_path).jobs.values())
    assert len(jobs) == len(crons), "names are unique"
    for job, entry in zip(jobs, crons, strict=True):
        schedule = " ".join(entry["schedule"].split())
        assert job.url == f"https://app.example.com{entry['path']}"
        assert (job.method, job.body, job.schedule.timezone, job.enabled) == ("GET", None, "UTC", True)
        assert job.schedule.expression == schedule
        assert dict(job.headers) == {"user-agent": "vercel-cron/1.0", "x-vercel-cron-schedule": schedule}
        assert job.secret is not None
        assert job.secret.header() == ("Authorization", f"Bearer {SECRET}")


def test_names_come_from_the_paths() -> None:
    paths = ["/api/cron/sync?a=1", "/api/cron/sync?a=2", "/api/cron/sync-2", "/api/cron", "/", "/api/v1/Tenants/a%20b/"]
    names = [job.name for job in read(*map(cron, paths)).jobs]
    assert names == ["sync", "sync-3", "sync-2", "cron", "job", "v1-tenants-a-b"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/cron/sla-check", "sla-check"),
        ("/api/jobs/cron/x", "x"),
        ("/.well-known/x", "well-known-x"),
        ("/api/sync/T0CAQ10TZ", "sync-t0caq10tz"),
        ("/ping/5f3a1c52-0b1e-4c4f-9a55-2d8f6e1b7c90", "ping"),
        ("/api/" + "long-" * 30, ("long-" * 30)[:63]),
        ("/%E2%82%AC", "job"),
    ],
)
def test_a_name_is_one_of_the_job_file_and_no_secret(path: str, name: str) -> None:
    assert name_of(path) == name


def test_what_vercel_does_not_fill_in_is_not_filled_in_here(tmp_path: Path) -> None:
    job = loaded(read(cron("/api/cron/x?tenant=${HOME}&y=${A:-b}")), tmp_path).jobs["x"]
    assert job.url == "https://app.example.com/api/cron/x?tenant=${HOME}&y=${A:-b}"


def test_the_report_says_what_differs_and_what_was_left_out() -> None:
    entry = cron("/api/cron/x?token=a", "0 0 * * 7", timeZone="Europe/Berlin", headers={"X": "y"})
    found = read(entry, functions={"app/x/route.ts": {"maxDuration": 800}, "app/y.ts": {"maxDuration": 60}})
    notes = {(note.kind, note.place, note.text.partition(":")[0]) for note in found.notes}
    expected = {
        ("differs", "", word) for word in ("caches", "place", "lateness", "retries", "overlap", "duration", "failures")
    }
    expected |= {("left out", "crons[0]", "'timeZone'"), ("left out", "crons[0]", "'headers'")}
    expected |= {("check", "crons[0]", "7 in day-of-week"), ("differs", "functions[app/x/route.ts]", LONG)}
    expected |= {("check", "crons[0]", "its query seems to hold a secret, which was copied into the job")}
    assert notes == expected


LONG = "maxDuration is 800 s"


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("0 9 * * MON", "'MON': Vercel allows only numbers"),
        ("0 9 * JAN *", "'JAN': Vercel allows only numbers"),
        ("0 9 L * *", "'L': Vercel allows only numbers"),
        ("0 9 15W * *", "'15W': Vercel allows only numbers"),
        ("0 9 * * 1#2", "'1#2': Vercel allows only numbers"),
        ("0 9 ? * *", "'?': Vercel allows only numbers"),
        ("0 9 1 * 1", "sets day-of-month and day-of-week"),
        ("0 9 */2 * 1-5", "sets day-of-month and day-of-week"),
        ("0 0 9 * * *", "must have five fields"),
        ("@daily", "must have five fields"),
        ("", "must have five fields"),
        ("60 * * * *", "cannot read schedule '60 * * * *': minute '60': use 0 to 59"),
        ("0 0 30 2 *", "it would never fire"),
        (5, "must be text"),
        (None, "must be text"),
        (["* * * * *"], "must be text"),
    ],
)
def test_a_schedule_that_vercel_refuses_is_a_fault(schedule: Any, why: str) -> None:
    (fault,) = faults(cron(schedule=schedule))
    assert fault.startswith("vercel.json crons[0]: schedule")
    assert why in fault


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("api/cron", 'must start with "/"'),
        ("", 'must start with "/"'),
        ("https://x.example/api", 'must start with "/"'),
        ("/a b", "must be percent-encoded"),
        ("/ü", "must be percent-encoded"),
        ("/a\nb", "must be percent-encoded"),
        ("/a#b", "must be percent-encoded"),
        ("/" + "x" * 512, "at most 512"),
        (7, "must be text"),
        (None, "must be text"),
    ],
)
def test_a_path_that_cannot_be_called_is_a_fault(path: Any, why: str) -> None:
    (fault,) = faults(cron(path))
    assert fault.startswith("vercel.json crons[0]: path")
    assert why in fault


def test_all_faults_are_listed_and_no_query_in_them() -> None:
    listed = faults(cron(), 7, cron("x", "nine"), cron("/x?key=nobody-reads-this#"), {})
    assert [line.partition(" = ")[0].partition(": must")[0] for line in listed] == [
        "vercel.json crons[1]: entry",
        "vercel.json crons[2]: path",
        "vercel.json crons[2]: schedule",
        "vercel.json crons[3]: path",
        "vercel.json crons[4]: path",
        "vercel.json crons[4]: schedule",
    ]
    assert not any("nobody" in line for line in listed)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"crons": [] // none\n}', "JSON has no comments"),
        ('{"crons": [], "crons": []}', 'the key "crons" is in one object twice'),
        ('{"crons": [NaN]}', "NaN is not a JSON number"),
        ('{"crons": ' + "[" * 100_000, "is nested too deeply"),
        ('{"crons": [' + "9" * 5000 + "]}", "is not JSON"),
        ('{"crons": ["\\ud800"]}', "half a surrogate pair"),
        ("[]", "is not a vercel.json"),
        ('"crons"', "is not a vercel.json"),
        ('{"crons": {}}', "crons = {}: must be a list"),
        ('{"crons": null}', "must be a list"),
    ],
)
def test_a_text_that_is_no_vercel_json_is_a_fault(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        vercel.read(text, "vercel.json")
    assert why in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_misspelt_key_is_named() -> None:
    (note,) = vercel.read('{"cron": []}', "vercel.json").notes
    assert note.text == 'there is no "crons" in it; did you mean "cron"?'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
ENTRIES = st.fixed_dictionaries(
    {}, optional={"path": VALUES | st.text(max_size=9).map("/".__add__), "schedule": VALUES | st.just("0 5 * * *")}
)


@given(st.text() | VALUES.map(json.dumps) | st.lists(ENTRIES | VALUES).map(lambda crons: json.dumps({"crons": crons})))
def test_whatever_stands_in_the_file_only_its_error_is_raised(text: str) -> None:
    try:
        found = vercel.read(text, "vercel.json")
    except ConfigError:
        return
    assert len({job.name for job in found.jobs}) == len(found.jobs)

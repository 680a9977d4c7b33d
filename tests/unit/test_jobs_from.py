"""`daemon.jobs_from`: the app's own file stays the source, by the same rules as the job file."""

from pathlib import Path

import pytest

from config_rig import ENVIRONMENT, TARGET, Load, faults

SYNC = '{"path": "/api/cron/sync", "schedule": "0 5 * * *"}'
CRONS = f'{{"crons": [{SYNC}, {{"path": "/api/cron/two", "schedule": "* * * * *"}}]}}'
FROM = '[daemon]\njobs_from = ["app/vercel.json"]\n' + TARGET


@pytest.fixture
def crons(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    file = tmp_path / "app" / "vercel.json"
    file.write_text(CRONS)
    return file


@pytest.mark.usefixtures("crons")
def test_the_jobs_of_the_file_are_there_with_the_defaults(load: Load) -> None:
    loaded = load(FROM + '[defaults]\ntimeout = "20s"\ntimezone = "Europe/Berlin"\n')
    assert list(loaded.jobs) == ["sync", "two"]
    one = loaded.jobs["sync"]
    assert (one.url, one.method, one.timeout) == ("https://app.example.com/api/cron/sync", "GET", 20.0)
    assert (one.source, one.schedule.timezone) == ("app/vercel.json", "UTC")
    assert one.secret is not None
    assert one.secret.sent == "bearer"


def test_jobs_of_both_and_their_hash(load: Load, crons: Path) -> None:
    text = FROM + '[jobs.a]\nevery = "90s"\npath = "/a"\n'
    before = load(text)
    assert [(job.name, job.source) for job in before.jobs.values()] == [
        ("a", ""),
        ("sync", "app/vercel.json"),
        ("two", "app/vercel.json"),
    ]
    assert load(text).hash == before.hash
    crons.write_text(CRONS.replace("0 5", "0 6"))
    assert load(text).hash != before.hash


def test_a_job_that_did_not_change_is_the_same_job(load: Load, crons: Path) -> None:
    before = load(FROM).jobs["two"]
    crons.write_text(CRONS.replace("0 5", "0 6"))
    assert load(FROM).jobs["two"] == before


def test_nothing_overrides_a_job(load: Load, crons: Path) -> None:
    (crons.parent / "other.json").write_text('[{"path": "/two", "schedule": "* * * * *", "method": "POST"}]')
    text = FROM.replace('"]', '", "app/other.json"]') + '[jobs.sync]\nevery = "90s"\npath = "/a"\n'
    assert faults(load, text) == [
        "app/vercel.json crons[0]: [jobs.sync]: is also a job of the job file; a job cannot be overridden, "
        "so rename or remove one",
        "app/other.json [0]: [jobs.two]: is also a job of app/vercel.json crons[1]; a job cannot be overridden, "
        "so rename or remove one",
    ]


def test_faults_name_the_file_and_come_together(load: Load, crons: Path) -> None:
    crons.write_text('{"crons": [{"path": "/x", "schedule": "0 5 * * MON"}, {"path": 7, "schedule": "* * * * *"}]}')
    text = FROM.replace('"]', '", "gone.json", "crontab", "app"]') + '[jobs.sync]\nevery = "soon"\npath = "/a"\n'
    (crons.parent.parent / "crontab").write_text("5 * * * * curl https://a.example/\n")
    listed = faults(load, text)
    assert [line.partition(" = ")[0] for line in listed] == [
        "tocsin.toml: [jobs.sync] every",
        "app/vercel.json crons[0]: schedule",
        "app/vercel.json crons[1]: path",
        "gone.json: cannot read it: No such file or directory",
        "crontab: holds commands that somebody must check; import its jobs once, with tocsin import",
        "app: cannot read it: it is a folder",
    ]


def test_what_only_the_job_file_can_tell_is_a_fault_of_the_entry(load: Load, crons: Path) -> None:
    (crons.parent / "list.json").write_text(
        '[{"url": "http://app.example.com/x", "schedule": "* * * * *", "method": "GET"}]'
    )
    text = FROM.replace("vercel", "list") + '[defaults]\nbody = "x"\njson = 1\n'
    assert faults(load, text) == [
        "app/list.json [0]: [jobs.x] url: calls would be sent unencrypted to a public host; use https://, or set "
        "allow_insecure = true in [target]",
        "app/list.json [0]: [jobs.x] body: cannot be combined with json: use only one of them",
    ]


def test_what_wants_a_look_is_a_warning(load: Load, crons: Path) -> None:
    crons.write_text('{"crons": [{"path": "/x", "schedule": "0 5 * * 7", "timeZone": "Asia/Tokyo"}]}')
    assert load(FROM, ENVIRONMENT).warnings == (
        "app/vercel.json: crons[0] 'timeZone': Vercel has only path and schedule",
        "app/vercel.json: crons[0] 7 in day-of-week: Vercel documents 0 to 6; in Tocsin 7 is Sunday",
    )


@pytest.mark.parametrize("text", ['{"crons": []}', "{}"])
def test_no_job_at_all_is_a_fault(load: Load, crons: Path, text: str) -> None:
    crons.write_text(text)
    assert faults(load, FROM) == ["tocsin.toml: [jobs]: has no job; add a table such as [jobs.sla-check]"]


@pytest.mark.parametrize("value", ['"vercel.json"', "[7]", '[""]', '["a\\u0000"]'])
def test_the_key_is_a_list_of_files(load: Load, value: str) -> None:
    (line,) = faults(load, FROM.replace('["app/vercel.json"]', value))
    assert line.startswith("tocsin.toml: [daemon] jobs_from")


def test_a_file_is_named_as_it_is_written(load: Load) -> None:
    (fault,) = faults(
        load, f'{TARGET}[daemon]\njobs_from = ["${{HERE}}/vercel.json"]\n', {**ENVIRONMENT, "HERE": "/held"}
    )
    assert fault == "${HERE}/vercel.json: cannot read it: No such file or directory"

"""`tocsin import`: what it prints, what it writes, and that a job file is replaced whole or not at all."""

import json
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tocsin.cli import main
from tocsin.commands.importing import KINDS
from tocsin.importing.files import READERS

SAMPLES = Path(__file__).parent.parent / "samples"
VERCEL = sorted((SAMPLES / "vercel").glob("*.json"))
ENVIRONMENT = {"API_BASE_URL": "https://app.example.com", "CRON_SECRET": "0123456789abcdef-not-guessed"}
ONE = '{"crons": [{"path": "/api/cron/sync", "schedule": "0 5 * * *"}]}'
JOB_FILE = """# mine
[target]
base_url = "https://app.example.com"   # kept
[jobs.mine]
every = "90s"
path = "/mine"
"""

Tocsin = Callable[..., Result]


@pytest.fixture
def tocsin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tocsin:
    """Run a command in a folder of its own, with nothing in the environment but what is given."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str | Path, environment: dict[str, str] | None = None, stdin: str | bytes = "") -> Result:
        result = CliRunner(env=environment or {}).invoke(main, [str(word) for word in words], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return run


@pytest.mark.parametrize("sample", VERCEL, ids=lambda path: path.stem)
def test_import_and_check(sample: Path, tocsin: Tocsin) -> None:
    crons = json.loads(sample.read_text(encoding="utf-8-sig")).get("crons", [])
    Path("vercel.json").write_bytes(sample.read_bytes())
    imported = tocsin("import", "--write", "vercel.json")
    assert (imported.exit_code, imported.stdout) == (0, "")
    assert f"{len(crons)} job{'s' * (len(crons) != 1)} added to" in imported.stderr
    if not crons:
        assert not Path("tocsin.toml").exists()
        return
    checked = tocsin("check", environment=ENVIRONMENT)
    assert checked.exit_code == 0, checked.stderr
    assert f"fine, {len(crons)} of {len(crons)} jobs enabled" in checked.stdout


def test_what_is_printed_is_a_job_file(tocsin: Tocsin) -> None:
    Path("vercel.json").write_text(ONE)
    printed = tocsin("import", "vercel.json")
    assert printed.exit_code == 0
    assert not Path("tocsin.toml").exists()
    Path("tocsin.toml").write_text(printed.stdout)
    assert tocsin("check", environment=ENVIRONMENT).exit_code == 0
    assert "Different in Tocsin:" in printed.stderr
    assert "CRON_SECRET: to the secret that the app checks" in printed.stderr
    assert "[target]" not in tocsin("import", "vercel.json").stdout, "the job file has one now"


def test_writing_appends_and_keeps_what_is_there(tocsin: Tocsin) -> None:
    Path("kept.toml").write_text(JOB_FILE)
    Path("kept.toml").chmod(0o640)
    Path("tocsin.toml").symlink_to("kept.toml")
    Path("vercel.json").write_text(ONE)
    assert tocsin("import", "--write", "vercel.json").exit_code == 0
    text = Path("kept.toml").read_text()
    assert text.startswith(JOB_FILE)
    assert list(tomllib.loads(text)["jobs"]) == ["mine", "sync"]
    assert Path("tocsin.toml").is_symlink()
    assert stat.S_IMODE(Path("kept.toml").stat().st_mode) == 0o640
    assert {entry.name for entry in Path().iterdir()} == {"kept.toml", "tocsin.toml", "vercel.json"}


def test_no_job_is_overwritten_and_all_that_are_there_are_named(tocsin: Tocsin) -> None:
    Path("tocsin.toml").write_text(JOB_FILE)
    Path("vercel.json").write_text(
        ONE.replace("sync", "mine").replace("]", ', {"path": "/x", "schedule": "0 5 * * *"}]')
    )
    result = tocsin("import", "--write", "vercel.json")
    assert result.exit_code == 2
    assert result.stderr == (
        "tocsin: vercel.json crons[0]: [jobs.mine]: tocsin.toml already has a job with this name; rename it there, or "
        "in crons[0]\n"
        "tocsin: nothing was written\n"
    )
    assert Path("tocsin.toml").read_text() == JOB_FILE


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ("[target\n", "tocsin.toml: is not TOML"),
        ('jobs = { a = { path = "/x", every = "1s" } }\n', "tocsin.toml: cannot append tables to it"),
        ("[daemon]\nlisten = 7\n", "tocsin.toml: [daemon] listen = 7"),
        ('[target]\nsecret_env = "X"\n', "[target] base_url: is required by job sync"),
        ('[target]\nbase_url = "${HERE}"\n', "environment variable HERE is empty"),
        ('[daemon]\njobs_from = ["vercel.json"]\n', "vercel.json crons[0]: [jobs.sync]: is also a job of the job file"),
    ],
)
def test_a_job_file_that_would_not_hold_stays_as_it_is(there: str, why: str, tocsin: Tocsin) -> None:
    Path("tocsin.toml").write_text(there)
    Path("vercel.json").write_text(ONE)
    result = tocsin("import", "--write", "vercel.json", environment={"HERE": ""})
    assert result.exit_code == 2
    assert why in result.stderr
    assert Path("tocsin.toml").read_text() == there
    assert len(list(Path().iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file(tocsin: Tocsin, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("tocsin.toml").write_text(JOB_FILE)
    Path("vercel.json").write_text(ONE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = tocsin("import", "--write", "vercel.json")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    assert "No space left on device" in result.stderr
    assert Path("tocsin.toml").read_text() == JOB_FILE
    assert len(list(Path().iterdir())) == 2


def test_a_new_file_goes_by_the_umask(tocsin: Tocsin) -> None:
    Path("vercel.json").write_text(ONE)
    old = os.umask(0o027)
    try:
        assert tocsin("import", "--write", "vercel.json").exit_code == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path("tocsin.toml").stat().st_mode) == 0o640


def test_several_files_and_their_names(tocsin: Tocsin) -> None:
    Path("vercel.json").write_text(ONE)
    Path("list.json").write_text('[{"path": "/api/cron/sync", "schedule": "* * * * *", "method": "POST"}]')
    result = tocsin("import", "vercel.json", "list.json", "-", stdin="5 * * * * curl https://a.example/sync\n")
    assert list(tomllib.loads(result.stdout)["jobs"]) == ["sync", "sync-2", "sync-3"]
    for name in ("vercel.json", "list.json", "standard input"):
        assert f"# From {name}, by tocsin import" in result.stdout
        assert f"{name}: 1 job\n" in result.stderr


def test_one_variable_cannot_stand_for_the_secrets_of_two_files(tocsin: Tocsin) -> None:
    for name in "ab":
        Path(name).write_text(f"5 * * * * curl -H 'X-Token: secret-of-{name}' https://app.example.com/x\n")
    result = tocsin("import", "a", "b")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "b: X_SECRET: would hold secrets of two files" in result.stderr
    assert "secret-of" not in result.stderr


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("vercel.json", ONE, "vercel"),
        ("other.json", ONE, "vercel"),
        ("vercel.production.json", "{}", "vercel"),
        ("x.json", "[]", "cron-jobs"),
        ("x", '{"jobs": []}', "cron-jobs"),
        ("x", "# m h\n*/5 2-3 1,2 JAN mon curl https://a.example/\n", "crontab"),
        ("x", "@daily curl https://a.example/\n", "crontab"),
        ("crontab", "", "crontab"),
    ],
)
def test_the_kind_is_seen_from_name_and_content(name: str, text: str, kind: str, tocsin: Tocsin) -> None:
    Path(name).write_text(text)
    seen, said = tocsin("import", name), tocsin("import", "--from", kind, name)
    assert seen.exit_code == said.exit_code == 0
    assert (seen.stdout, seen.stderr) == (said.stdout, said.stderr)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "does not look like a vercel.json, a crontab or a list of jobs; name its kind with --from"),
        (b"The quick brown fox jumps over the lazy dog\n", "name its kind with --from"),
        (b'{"name": "app", "version": "1.0.0"}', 'is neither a vercel.json with "crons" nor a list of jobs'),
        (b'{"crons": [{"path": "/x", "schedule": "0 5 * * MON"}]}', "x crons[0]: schedule = \"0 5 * * MON\": 'MON'"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b" " * (2 * 1024**2 + 1), "is larger than 2097152 bytes"),
        (b"[1, 2", "is not JSON"),
        (b"apiVersion: batch/v1\nkind: CronJob\n", "is a Kubernetes CronJob in YAML: convert it to JSON"),
        (b'[job-exec "sla"]\nschedule = @every 5m\n', "is Ofelia's INI, which is not read"),
        (b"# mine\n[jobs]\nschedule = * * * * *\n", "is INI, which is not read"),
        (b'[jobs.a]\nschedule = "* * * * *"\n', "is TOML, which is not read; if it is a job file, copy its tables"),
        (b"[Timer]\nOnCalendar=daily\n", "is a systemd timer, which is not read"),
        (b"name: x\non:\n  schedule:\n    - cron: '5 * * * *'\n", "is a GitHub Actions workflow, which is not read"),
        (b"---\njobs:\n  - path: /x\n", "is YAML, which is not read"),
        (b"<?xml version='1.0'?>\n<plist/>\n", "is XML, which is not read"),
    ],
)
def test_bad_input_is_named_and_nothing_printed(text: bytes, why: str, tocsin: Tocsin) -> None:
    Path("x").write_bytes(text)
    result = tocsin("import", "x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("tocsin: x")
    assert why in result.stderr
    assert tocsin("import", "-", stdin=text).exit_code == 2


def test_a_hundred_thousand_entries_are_read_or_refused_soon(tocsin: Tocsin) -> None:
    Path("list.json").write_text(f"[{','.join(['7'] * 100_000)}]")
    Path("lines").write_text("* * * * * x\n" * 100_000)
    assert tocsin("import", "list.json").exit_code == 2
    assert "has more than 10000 lines" in tocsin("import", "lines").stderr


def test_what_is_not_there_is_named(tocsin: Tocsin) -> None:
    result = tocsin("import", "nowhere", ".")
    assert result.exit_code == 2
    assert "nowhere: cannot read it: No such file or directory" in result.stderr
    assert ".: cannot read it: Is a directory" in result.stderr


def test_a_crontab_without_a_call_is_a_failure(tocsin: Tocsin) -> None:
    result = tocsin("import", "-", stdin="5 * * * * /usr/local/bin/backup.sh\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "line 1: 5 * * * * /usr/local/bin/backup.sh …: does not call curl or wget" in result.stderr
    assert "nothing could be imported" in result.stderr


def test_the_report_as_json(tocsin: Tocsin) -> None:
    Path("vercel.json").write_text(ONE)
    result = tocsin("import", "--json", "vercel.json")
    report = json.loads(result.stdout)
    assert report["written"] is None
    (one,) = report["files"]
    assert one["file"] == "vercel.json"
    assert [(job["name"], job["place"], job["path"]) for job in one["jobs"]] == [("sync", "crons[0]", "/api/cron/sync")]
    assert {note["kind"] for note in one["notes"]} == {"differs"}
    assert len(report["set"]) == 2
    assert not Path("tocsin.toml").exists()
    assert json.loads(tocsin("import", "--json", "--write", "vercel.json").stdout)["written"].endswith("tocsin.toml")
    assert Path("tocsin.toml").exists()


def test_control_characters_of_a_file_do_not_reach_the_terminal(tocsin: Tocsin) -> None:
    Path("vercel.json").write_text('{"crons": [{"path": "/x", "schedule": "0 5 * * *", "\\u001b[2J": 1}]}')
    result = tocsin("import", "vercel.json")
    assert result.exit_code == 0
    assert "\x1b" not in result.output


def test_check_names_the_file_that_a_job_stands_in(tocsin: Tocsin) -> None:
    Path("vercel.json").write_text(ONE)
    Path("tocsin.toml").write_text(f'[daemon]\njobs_from = ["vercel.json"]\n{JOB_FILE}')
    result = tocsin("check", environment=ENVIRONMENT)
    assert "mine: every 90 seconds\n" in result.stdout
    assert "sync (from vercel.json): at 05:00 every day, UTC\n" in result.stdout


def test_every_kind_can_be_named() -> None:
    assert set(KINDS) == set(READERS)


def test_a_variable_of_the_job_file_stands_for_no_other_secret(tocsin: Tocsin) -> None:
    there = JOB_FILE + '[jobs.other]\nevery = "1m"\npath = "/other"\nsecret_env = "X_SECRET"\n'
    Path("tocsin.toml").write_text(there)
    Path("a.cron").write_text("5 * * * * curl -H 'X-Token: another' https://app.example.com/x\n")
    result = tocsin("import", "--write", "a.cron", environment={"X_SECRET": "0123456789abcdef"})
    assert result.exit_code == 2
    assert "a.cron: X_SECRET: is already a variable of tocsin.toml" in result.stderr
    assert Path("tocsin.toml").read_text() == there


def test_a_variable_that_is_set_already_wants_a_look(tocsin: Tocsin) -> None:
    Path("a.cron").write_text("5 * * * * curl -H 'X-Token: another' https://app.example.com/x\n")
    result = tocsin("import", "--write", "a.cron", environment={"X_SECRET": "0123456789abcdef"})
    assert result.exit_code == 0
    assert "X_SECRET is already set: is it the value that is needed below?" in result.stderr

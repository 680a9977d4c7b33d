"""The job file loaded again, as at a reload: what did not change is not made anew."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from config_rig import ENVIRONMENT, GOOD, JOB, SECRET, TARGET, Load, faults
from tocsin import config
from tocsin.config import Config

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


def test_a_job_is_made_again_when_its_certificates_were_renewed(again: Again, tmp_path: Path) -> None:
    text = GOOD.replace("[target]", '[target]\nca_file = "ca.pem"')
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    before = again(text).jobs["a"]
    assert again(text).jobs["a"] is before
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    assert again(text).jobs["a"] != before


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
        '[daemon]\nstate_dir = "here"\n' + GOOD + 'description = "pokes the daemon"\n[jobs.b',
    ],
)
def test_the_state_folder_is_found_wherever_the_file_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "tocsin.toml").write_text(text)
    assert config.state_dir(tmp_path / "tocsin.toml", {}) == tmp_path / "here"

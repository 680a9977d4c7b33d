"""`tocsin doctor` as a whole: on healthy sites, and that it runs no job and shows no secret."""

import os
import pty
import select
import subprocess

import pytest
from click.testing import CliRunner

from doctor_rig import JOB, Answer, App, Site, health
from harness import PATIENCE, SECRET, TOCSIN, Daemon, Endpoint, free_port, until
from tocsin.cli import main

pytestmark = pytest.mark.usefixtures("nothing_is_secret_yet")


# ---- all is well


def test_a_healthy_site_before_the_first_start(site: Site) -> None:
    found = site.doctor()
    assert site.code == 0
    assert [
        one["check"] for one in found if one["status"] not in ("ok", "skipped") and one["check"] != "machine.clock"
    ] == [
        "state.daemon"  # it does not run yet, so it calls nobody
    ]
    assert {one["check"] for one in found if one["status"] == "skipped"} - {"machine.clock"} == {
        "endpoint.secret",
        "supervisord.file",
    }
    assert all(list(one) == ["check", "subject", "status", "detail", "advice"] for one in found)
    assert not site.state.exists()  # it makes nothing


def test_a_healthy_site_with_its_daemon(daemon: Daemon, endpoint: Endpoint) -> None:
    endpoint.answer = App()
    daemon.write(JOB + '[jobs.hourly]\nschedule = "@hourly"\npath = "/api/hourly"\n')
    daemon.start()
    until(lambda: health(daemon), "the exporter")
    result = daemon.run("doctor", "--probe-auth")
    assert (result.returncode, result.stderr) == (0, "")
    assert "FAIL" not in result.stdout
    assert "\x1b" not in result.stdout
    for line in ("the daemon runs: process", "the daemon answers, with 2 jobs", "undamaged", "exporter answers"):
        assert line in result.stdout
    assert "refuses POST without the secret (401)" in result.stdout
    assert daemon.run("fire", "hourly").returncode == 0  # it goes on as before
    only = daemon.json("doctor", "hourly")
    assert {one["subject"] for one in only if one["check"].startswith(("endpoint.", "state.job"))} == {"hourly"}


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_for_terminals_that_want_them(site: Site, no_color: bool) -> None:
    environment = {**os.environ, **site.environment}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen([TOCSIN, "doctor"], env=environment, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # EIO: the other side is closed
                break
        assert process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
    assert b"0 failed" in seen
    assert (b"\x1b[" in seen) != no_color


# ---- no job runs


JOBS = "".join(f'[jobs.{one.lower()}]\nschedule = "@daily"\npath = "/run"\nmethod = "{one}"\n' for one in
               ("GET", "POST", "PUT", "PATCH", "DELETE"))  # fmt: skip


def test_no_job_runs_even_where_every_endpoint_is_open(site: Site, endpoint: Endpoint) -> None:
    site.write(JOBS)
    site.app.guarded = False
    site.doctor()
    assert site.app.worked == 0
    assert [call.method for call in endpoint.calls] == [
        "OPTIONS"
    ] * 6  # one for each, and one beside an idle connection


def test_with_the_flag_a_guarded_endpoint_runs_nothing(site: Site) -> None:
    site.app.takes += ", PATCH"
    site.write(JOBS)
    found = site.doctor("--probe-auth")
    assert site.code == 0
    assert site.app.worked == 0
    assert len([one for one in found if one["check"] == "endpoint.secret" and "(401)" in one["detail"]]) == 5


def test_the_flag_leaves_jobs_alone_that_have_no_secret(site: Site) -> None:
    site.write(JOB, target='send_secret = "none"')
    site.app.guarded = False
    assert "anyone who knows the URL" in site.only("endpoint.secret", "--probe-auth")["detail"]
    assert site.app.worked == 0


def test_a_disabled_job_is_not_asked(site: Site, endpoint: Endpoint) -> None:
    site.write(JOB + "enabled = false\n")
    site.doctor()
    assert not endpoint.calls


# ---- configuration


def test_every_fault_of_the_job_file(site: Site) -> None:
    site.write('[jobs.a]\nschedule = "61 * * * *"\npath = "/a"\n[jobs.b]\nschedule = "@daily"\npath = "b"\n')
    found = site.doctor()
    assert site.code == 2
    assert [(one["check"], one["subject"], one["status"]) for one in found] == [
        ("configuration.file", "[jobs.a] schedule", "FAIL"),
        ("configuration.file", "[jobs.b] path", "FAIL"),
    ]


def test_a_job_that_is_not_there(site: Site) -> None:
    result = CliRunner().invoke(main, ["doctor", "sla-chek"], env=site.environment)
    assert result.exit_code == 2
    assert 'did you mean "sla-check"?' in result.stderr


def test_a_secret_from_a_template(site: Site) -> None:
    site.environment["CRON_SECRET"] = "your-secure-random-secret-key-here"
    assert site.only("configuration.secret")["status"] == "FAIL"
    assert "your-secure" not in site.output


def test_a_secret_that_every_user_may_read(site: Site) -> None:
    (site.folder / ".env").write_text(f"CRON_SECRET={SECRET}\n")
    (site.folder / ".env").chmod(0o644)
    finding = site.only("configuration.files")
    assert (finding["status"], finding["advice"]) == ("warning", f"chmod 600 {site.folder / '.env'}")
    (site.folder / ".env").chmod(0o640)
    assert site.only("configuration.files")["status"] == "ok"


def test_two_secrets_of_one_name(site: Site) -> None:
    (site.folder / ".env").write_text("CRON_SECRET=another-one-of-old-and-its-long\n")
    found = [one for one in site.doctor() if one["check"] == "configuration.secret"]
    assert [one["status"] for one in found] == ["ok", "warning"]


def test_an_exporter_that_anybody_may_read(site: Site) -> None:
    site.environment["TOCSIN_LISTEN"] = f"0.0.0.0:{free_port()}"
    assert [one["status"] for one in site.doctor() if "`listen` is beyond loopback" in one["detail"]] == ["warning"]


# ---- secrets


CANARY = "canary/7Yq+9 Zt&k3Lw=2"


@pytest.mark.parametrize(
    "answer",
    [
        (308, {"Location": f"/api/{CANARY}/?secret={CANARY}"}, b""),
        (307, {"Location": f"https://u:{CANARY}@login.example/{CANARY}"}, b""),
        (405, {"Allow": CANARY}, CANARY.encode()),
        (200, {"Content-Type": "application/json"}, f'{{"error": "{CANARY}"}}'.encode()),
        (401, {"WWW-Authenticate": CANARY}, CANARY.encode()),
        (404, {}, CANARY.encode()),
        (500, {"Date": CANARY, "Age": CANARY}, CANARY.encode()),
        (418, {}, CANARY.encode()),
    ],
)
def test_no_secret_is_sent_or_shown(site: Site, endpoint: Endpoint, answer: Answer) -> None:
    endpoint.answer = lambda _: answer
    site.environment |= {"CRON_SECRET": CANARY, "OTHER_SECRET": "whsec_" + "Q2FuYXJ5" * 4, "IN_PATH": "in-the-query-1"}
    site.write(
        JOB.replace(
            'sla-check"\n', 'sla-check?key=${IN_PATH}"\nheaders = { authorization = "Bearer ${IN_PATH}" }\n', 1
        ),
        target='send_secret = "query:secret"\nsigning_secret_env = "OTHER_SECRET"',
    )
    (site.folder / ".env").write_text("CRON_SECRET=another-canary\n")
    for words in ([], ["--probe-auth"]):
        for form in (["--json"], []):
            result = CliRunner().invoke(main, ["doctor", *form, *words], env=site.environment)
            assert result.exit_code in (0, 1)
            for secret in (CANARY, "canary", "Q2FuYXJ5", "in-the-query"):
                assert secret not in result.output
    assert endpoint.calls
    for call in endpoint.calls:
        assert call.path == "/api/cron/sla-check"
        assert call.body == b""
        assert not {"authorization", "x-cron-secret", "webhook-signature", "cookie"} & call.headers.keys()


def test_no_secret_is_shown_where_it_is_itself_the_fault(site: Site) -> None:
    for wrong in ("your-secret-canary-key", "canary", "canary\ncanary", "c" * 40):
        site.environment["CRON_SECRET"] = wrong
        site.doctor()
        assert "canary" not in site.output
        assert "cccc" not in site.output

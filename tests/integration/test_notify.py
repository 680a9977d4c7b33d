"""The notifier beside a real daemon: what it tells, to whom, and what happens when it, or they, fail."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from harness import SECRET, Daemon, Endpoint, sla_checked, until
from notify_rig import TOKEN, Hanging, Sink, no_secret_in, smtp

Answer = Callable[[object], tuple[int, dict[str, str], bytes]]
JOBS = "".join(f'[jobs.job-{n}]\nevery = "1s"\npath = "/{n}"\nretries = 0\nnotify_after = 2\n' for n in range(1, 6))
QUICK = 'gather = "1s"\n'


def broken(_: object) -> tuple[int, dict[str, str], bytes]:
    return 500, {}, b"no database"


def fine(_: object) -> tuple[int, dict[str, str], bytes]:
    return sla_checked(1)


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    one.start()
    yield one
    one.stop()


def written(daemon: Daemon, *addresses: str, notify: str = QUICK, jobs: str = JOBS) -> None:
    daemon.environment["NOTIFY_URLS"] = " ".join(addresses)
    daemon.write(jobs, f'[notify]\nurls_env = "NOTIFY_URLS"\n{notify}')


def begun(daemon: Daemon, *addresses: str, notify: str = QUICK, jobs: str = JOBS) -> None:
    written(daemon, *addresses, notify=notify, jobs=jobs)
    daemon.start()
    daemon.child("notifier")


def runs(daemon: Daemon, job: str = "job-1") -> int:
    return len([row for row in daemon.history(job) if row["outcome"]])


def more_runs(daemon: Daemon, number: int = 3, job: str = "job-1") -> None:
    before = runs(daemon, job)
    until(lambda: runs(daemon, job) >= before + number, f"{number} more runs")


def test_a_dead_app_is_one_message_and_one_when_it_is_back(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.stop()
    begun(daemon, sink.address, notify=QUICK + 'page_url = "https://tocsin.example.com/"\n')
    until(lambda: sink.messages, "a message")
    more_runs(daemon, 4)
    assert sink.titles == [f"127.0.0.1:{endpoint.port} does not answer: 5 jobs fail"]
    [message] = sink.messages
    assert message["type"] == "failure"
    assert "Jobs: job-1, job-2, job-3, job-4, job-5" in sorted_jobs(message["message"])
    assert "connection error: " in message["message"]
    assert "Next try: 20" in message["message"]
    assert f"https://tocsin.example.com/?q=127.0.0.1%3A{endpoint.port}" in message["message"]
    endpoint.start()
    until(lambda: len(sink.messages) > 1, "the end")
    more_runs(daemon, 4)
    assert sink.titles[1:] == [f"127.0.0.1:{endpoint.port} answers again: 5 jobs are well again"]
    assert sink.messages[1]["type"] == "success"
    until(lambda: daemon.metric("tocsin_notifications_total", outcome="sent") == 2, "the metric")
    assert daemon.metric("tocsin_notifications_waiting") == 0
    no_secret_in(daemon, TOKEN, SECRET)


def sorted_jobs(text: str) -> str:
    """The names in the order of the alphabet: who fails first comes first."""
    head, names, rest = text.partition("Jobs: ")
    listed, newline, more = rest.partition("\n")
    return head + names + ", ".join(sorted(listed.split(", "))) + newline + more


def test_a_refused_secret_is_told_at_once_and_its_end(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = lambda _: (401, {}, b"")
    begun(daemon, sink.address, jobs='[jobs.alone]\nevery = "1s"\npath = "/x"\n')
    until(lambda: sink.messages, "a message")
    assert sink.titles == [f"127.0.0.1:{endpoint.port} refuses the secret of alone"]
    assert "401" in sink.messages[0]["message"]
    endpoint.answer = fine
    until(lambda: len(sink.messages) > 1, "the end")
    assert sink.titles[1:] == ["alone is well again"]


def test_a_refused_job_file_is_told_and_that_it_is_right_again(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = fine
    begun(daemon, sink.address)
    more_runs(daemon, 1)
    whole = (daemon.folder / "tocsin.toml").read_text()
    (daemon.folder / "tocsin.toml").write_text(whole + '[jobs.wrong]\nevery = "1s"\n')
    assert daemon.run("reload").returncode == 2
    until(lambda: sink.messages, "a message")
    assert sink.titles == ["The job file was refused"]
    assert "[jobs.wrong] path: is missing" in sink.messages[0]["message"]
    (daemon.folder / "tocsin.toml").write_text(whole)
    assert daemon.run("reload").returncode == 0
    until(lambda: len(sink.messages) > 1, "the end")
    assert sink.titles[1:] == ["The job file is in use again"]


def test_what_was_missed_while_the_daemon_was_down_is_told_once(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = fine
    jobs = "".join(f'[jobs.job-{n}]\nevery = "1s"\npath = "/{n}"\ngrace = "500ms"\n' for n in range(1, 4))
    begun(daemon, sink.address, jobs=jobs)
    more_runs(daemon, 1)
    kept = daemon.folder / "var" / "notifier.json"
    until(lambda: '"job-3"' in kept.read_text() if kept.exists() else None, "the state")
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    until(lambda: not os.path.exists(f"/proc/{daemon.pid}"), "its end")
    over = time.time() + 4  # some slots, and their grace
    until(lambda: time.time() > over, "slots that pass")
    daemon.start()
    until(lambda: sink.messages, "a message")
    more_runs(daemon, 3)
    [title] = sink.titles
    assert title.endswith(" slots of 3 jobs did not run")
    assert "job-1 (" in sink.messages[0]["message"]


def test_neither_the_death_of_the_notifier_nor_of_the_daemon_tells_an_outage_again(
    daemon: Daemon, endpoint: Endpoint, sink: Sink
) -> None:
    endpoint.stop()
    begun(daemon, sink.address)
    until(lambda: sink.messages, "a message")
    until(lambda: daemon.metric("tocsin_notifications_total", outcome="sent") == 1, "the metric")
    killed = daemon.kill("notifier")
    daemon.child("notifier", other_than=killed)
    more_runs(daemon, 5)
    assert len(sink.messages) == 1
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    daemon.start()
    until(lambda: (daemon.metric("tocsin_notifications_total", outcome="sent") or 0) >= 1, "the count of before")
    more_runs(daemon, 5)
    assert [title for title in sink.titles if "fail" in title] == sink.titles[:1]
    assert daemon.stop() == 0
    endpoint.start()
    daemon.start()
    until(lambda: [title for title in sink.titles if "answers again" in title], "the end, after a restart")


def test_a_stopped_notifier_holds_nothing_up(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = fine
    begun(daemon, sink.address)
    more_runs(daemon, 1)
    pid = daemon.kill("notifier", signal.SIGSTOP)
    more_runs(daemon, 5)
    assert daemon.run("reload").returncode == 0
    assert not [row for row in daemon.history() if row["reason"] == "missed"]
    os.kill(pid, signal.SIGCONT)
    endpoint.answer = broken
    until(lambda: sink.messages, "a message")
    assert sink.titles == [f"5 jobs of 127.0.0.1:{endpoint.port} fail"]
    os.kill(daemon.child("notifier"), signal.SIGSTOP)
    assert daemon.stop() == 0


def test_servers_that_hang_trickle_or_refuse_hold_nobody_else_up_and_are_said(
    daemon: Daemon, endpoint: Endpoint, sink: Sink
) -> None:
    hangs, trickles, closed, mute = Hanging(), Hanging(trickles=True), Endpoint(), Sink()
    try:
        mute.status = 503
        mute.start()
        others = [f"json://127.0.0.1:{one.port}/{TOKEN}" for one in (hangs, trickles, closed, mute)]
        endpoint.answer = broken
        begun(daemon, *others, sink.address)
        until(lambda: sink.messages, "a message")
        until(lambda: hangs.connections and trickles.connections and mute.calls, "attempts at the others")
        more_runs(daemon, 3)
        assert len(sink.messages) == 1
        daemon.said("cannot send a message: trying again later")
        until(lambda: len(mute.calls) > 1, "another attempt", 60)
        mute.status = 200
        until(lambda: daemon.metric("tocsin_notifications_total", outcome="sent") == 2, "both, in the end", 60)
        assert (daemon.metric("tocsin_notifications_waiting") or 0) >= 2
        until(lambda: "Notifications do not get through" in daemon.get("/"), "word on the page", 60)
        assert "notifications do not get through" in " ".join(daemon.run("doctor").stdout.split())
        no_secret_in(daemon, TOKEN)
        assert daemon.stop() == 0
    finally:
        for one in (hangs, trickles):
            one.close()
        mute.stop()


def test_a_mail(daemon: Daemon, endpoint: Endpoint) -> None:
    endpoint.answer = broken
    with smtp() as (mailbox, address):
        begun(daemon, address, jobs='[jobs.report]\nevery = "1s"\npath = "/x"\nnotify_after = 2\n')
        until(lambda: mailbox.mails, "a mail")
        [mail] = mailbox.mails
        assert mail["To"] == "ops@example.com"
        assert mail["Subject"] == f"Tocsin on {os.uname().nodename}: report fails"
        body = mail.get_body(("plain", "html"))
        assert body is not None
        text = body.get_content()
        assert "Job: report, " in text
        assert "500: no database" in text


def test_ntfy(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = broken
    sink.answer = lambda _: (200, {"Content-Type": "application/json"}, b'{"id":"a","event":"message","topic":"t"}')
    begun(
        daemon,
        f"ntfy://127.0.0.1:{sink.port}/{TOKEN}",
        jobs='[jobs.report]\nevery = "1s"\npath = "/x"\nnotify_after = 2\n',
    )
    until(lambda: sink.calls, "a message")
    published = json.loads(sink.calls[0].body)
    assert published["topic"] == TOKEN
    assert published["title"].endswith(": report fails")
    no_secret_in(daemon, TOKEN)


def test_a_redirect_is_not_followed(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = broken
    elsewhere = Sink()
    elsewhere.start()
    sink.answer = lambda _: (307, {"Location": elsewhere.url + "/elsewhere"}, b"")
    try:
        begun(daemon, sink.address)
        until(lambda: sink.calls, "an attempt")
        daemon.said("cannot send a message: trying again later")
        assert not elsewhere.calls
    finally:
        elsewhere.stop()


def test_without_the_table_there_is_no_process_and_a_reload_adds_and_removes_it(
    daemon: Daemon, endpoint: Endpoint, sink: Sink
) -> None:
    endpoint.answer = broken
    daemon.write(JOBS)
    daemon.environment["NOTIFY_URLS"] = sink.address
    daemon.start()
    more_runs(daemon, 2)
    assert "notifier" not in daemon.children()
    plain = (daemon.folder / "tocsin.toml").read_text()
    written(daemon, sink.address)
    assert "notify" in daemon.run("reload").stdout
    until(lambda: sink.messages, "a message of what was wrong already")
    (daemon.folder / "tocsin.toml").write_text(plain)
    daemon.run("reload")
    until(lambda: "notifier" not in daemon.children(), "its end")
    assert "notifier" not in daemon.run("jobs").stdout


def test_jobs_that_are_not_to_be_told_of_and_those_with_other_patience(
    daemon: Daemon, endpoint: Endpoint, sink: Sink
) -> None:
    endpoint.answer = broken
    jobs = (
        '[jobs.quiet]\nevery = "1s"\npath = "/q"\nnotify = false\n'
        '[jobs.patient]\nevery = "1s"\npath = "/p"\nnotify_after = 1000\n'
        '[jobs.told]\nevery = "1s"\npath = "/t"\nnotify_after = 1\n'
    )
    begun(daemon, sink.address, jobs=jobs)
    until(lambda: sink.messages, "a message")
    more_runs(daemon, 5, "quiet")
    assert sink.titles == ["told fails"]


def test_a_ledger_that_does_not_commit_is_told(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = fine
    begun(daemon, sink.address)
    more_runs(daemon, 1)
    ledger = daemon.kill("ledger", signal.SIGSTOP)
    until(lambda: sink.messages, "a message", 90)
    assert sink.titles[0] == "The ledger does not commit"
    os.kill(ledger, signal.SIGCONT)
    until(lambda: "The ledger commits again" in sink.titles, "the end", 90)


def test_a_silent_parent_is_told(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    endpoint.answer = fine
    begun(daemon, sink.address)
    more_runs(daemon, 1)
    daemon.signal(signal.SIGSTOP)
    until(lambda: sink.messages, "a message", 90)
    assert sink.titles[0] == "The daemon is silent"
    daemon.signal(signal.SIGCONT)
    until(lambda: "The daemon is heard again" in sink.titles, "the end", 90)


def test_signs_of_life_of_the_daemon_and_of_a_job(daemon: Daemon, endpoint: Endpoint) -> None:
    watcher = Endpoint()
    watcher.answer = lambda _: (200, {}, b"OK")
    watcher.start()
    endpoint.answer = fine
    daemon.environment |= {"BEAT": f"{watcher.url}/ping/{TOKEN}beat", "PING": f"{watcher.url}/ping/{TOKEN}job"}
    job = '[jobs.report]\nevery = "1s"\npath = "/x"\nping_url_env = "PING"\nretries = 0\n'
    daemon.write(job, '[notify]\nheartbeat_url_env = "BEAT"\n')
    daemon.start()
    try:
        until(lambda: [call for call in watcher.calls if call.path == f"/ping/{TOKEN}beat"], "a heartbeat")
        endpoint.answer = broken
        fails = f"/ping/{TOKEN}job/fail"
        failed = until(lambda: [call for call in watcher.calls if call.path.startswith(fails)], "a failure")
        assert failed[0].body.startswith(b"http error: 500: no database")
        rows = {row["run_id"]: row["outcome"] for row in daemon.history("report")}
        pings = [call.path.removeprefix(f"/ping/{TOKEN}job") for call in watcher.calls if "job" in call.path]
        for run in list(rows)[1:3]:
            ends = "/fail" if rows[run] == "http_error" else ""
            assert [path for path in pings if run in path] == [f"/start?rid={run}", f"{ends}?rid={run}"]
        until(lambda: (daemon.metric("tocsin_pings_total", outcome="taken") or 0) > 2, "the metric")
        no_secret_in(daemon, TOKEN)
    finally:
        watcher.stop()


def test_a_watcher_that_hangs_holds_nothing_up(daemon: Daemon, endpoint: Endpoint, sink: Sink) -> None:
    watcher = Hanging()
    endpoint.answer = broken
    daemon.environment["PING"] = f"http://127.0.0.1:{watcher.port}/ping/{TOKEN}"
    try:
        begun(daemon, sink.address, jobs=JOBS + 'ping_url_env = "PING"\n')
        until(lambda: watcher.connections, "a ping")
        until(lambda: sink.messages, "a message")
        more_runs(daemon, 3, "job-5")
        until(lambda: "job-5: the ping failed" in daemon.log(), "word of it", 90)
        assert daemon.stop() == 0
    finally:
        watcher.close()

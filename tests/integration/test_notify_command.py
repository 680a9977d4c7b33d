"""`tocsin notify`, and what check and doctor say of [notify]."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Daemon, free_port
from notify_rig import TOKEN, Hanging, Sink, smtp

JOBS = '[jobs.a]\nevery = "1h"\npath = "/a"\n'


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    one.start()
    yield one
    one.stop()


def with_addresses(folder: Path, *addresses: str) -> Daemon:
    daemon = Daemon(folder)
    daemon.environment["NOTIFY_URLS"] = "\n".join(addresses)
    daemon.write(JOBS, '[notify]\nurls_env = "NOTIFY_URLS"\n')
    return daemon


def test_a_test_message_reaches_each_address(tmp_path: Path, sink: Sink) -> None:
    with smtp() as (mailbox, address):
        daemon = with_addresses(tmp_path, sink.address, address)
        shown = daemon.run("notify")
        assert (shown.returncode, shown.stdout) == (0, "address 1 (json): ready\naddress 2 (mailto): ready\n")
        assert not sink.calls
        tried = daemon.run("notify", "--test")
        assert (tried.returncode, tried.stdout) == (0, "address 1 (json): sent\naddress 2 (mailto): sent\n")
        assert sink.titles == ["a test message"]
        [mail] = mailbox.mails
        assert str(mail["Subject"]).endswith(": a test message")


def test_each_failure_is_said_without_the_secret(tmp_path: Path, sink: Sink) -> None:
    sink.status = 403
    closed = f"json://me:{TOKEN}@127.0.0.1:{free_port()}/{TOKEN}"
    daemon = with_addresses(tmp_path, sink.address, closed, f"ntfy://127.0.0.1:{sink.port}/{TOKEN}")
    tried = daemon.run("notify", "--test")
    assert tried.returncode == 1
    lines = tried.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "address 1 (json)", "address 2 (json)", "address 3 (ntfy)"
    ]  # fmt: skip
    assert all("failed: " in line for line in lines)
    assert "403" in lines[0]
    assert TOKEN not in tried.stdout + tried.stderr


def test_a_mail_servers_refusal_shows_no_password(tmp_path: Path) -> None:
    with smtp() as (mailbox, address):
        daemon = with_addresses(tmp_path, address.replace("mailto://", f"mailto://me:{TOKEN}@"))
        tried = daemon.run("notify", "--test")
        assert tried.returncode == 1
        assert tried.stdout.startswith("address 1 (mailto): failed: ")
        assert TOKEN not in tried.stdout + tried.stderr
        assert not mailbox.mails


def test_a_file_of_addresses_that_everyone_may_read_is_found_by_doctor(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    (tmp_path / "urls").write_text(f"json://127.0.0.1/{TOKEN}\n")
    (tmp_path / "urls").chmod(0o644)
    daemon.write(JOBS, '[notify]\nurls_file = "urls"\n')
    said = " ".join(daemon.run("doctor", "--timeout", "2s").stdout.split())
    assert "urls: every user of this machine may read it (mode 644)" in said
    assert "address 1 (json): Apprise takes it" in said
    assert TOKEN not in said


def test_a_server_that_hangs_ends_the_command_after_its_deadline(tmp_path: Path, sink: Sink) -> None:
    hangs = Hanging(trickles=True)
    try:
        daemon = with_addresses(tmp_path, f"json://127.0.0.1:{hangs.port}/x", sink.address)
        tried = daemon.run("notify", "--test", timeout=90)
        assert tried.returncode == 1
        assert tried.stdout.splitlines()[1] == "address 2 (json): sent"
        assert "failed: " in tried.stdout.splitlines()[0]
    finally:
        hangs.close()


def test_what_apprise_does_not_take_is_said_by_check_doctor_and_notify(tmp_path: Path) -> None:
    daemon = with_addresses(tmp_path, f"nowhere://{TOKEN}", "slack://x", "json://127.0.0.1")
    why = [
        "address 1 (nowhere): Apprise does not know nowhere://",
        "address 2 (slack): Apprise cannot read this address",
    ]
    for words in (("check",), ("check", "--json"), ("notify",), ("doctor", "--timeout", "2s")):
        said = daemon.run(*words)
        text = " ".join((said.stdout + said.stderr).replace("failed: ", "").split())
        assert said.returncode != 0
        for one in why:
            assert all(part in text for part in one.split(": ")), (words, one, text)
        assert TOKEN not in text


def test_without_the_table_there_is_nothing_to_show(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.write(JOBS)
    said = daemon.run("notify", "--test")
    assert said.returncode == 2
    assert "has no [notify]" in said.stderr


def test_only_signs_of_life(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.environment["BEAT"] = f"https://hc-ping.com/{TOKEN}"
    daemon.write(JOBS + 'ping_url_env = "BEAT"\n', '[notify]\nheartbeat_url_env = "BEAT"\n')
    said = daemon.run("notify")
    assert said.returncode == 0
    assert said.stdout.splitlines() == [
        "heartbeat: each minute while all is well", "pings: for the runs of 1 job", "messages: to nobody"
    ]  # fmt: skip

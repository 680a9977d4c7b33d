"""The commands that ask the running daemon: what they say is true, and enough to go on with."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from harness import PATIENCE, TOCSIN, Daemon, Endpoint, Held, sla_checked, until
from tocsin.ipc import channel
from tocsin.ipc.actions import FireJob
from tocsin.ipc.channel import Channel
from tocsin.ipc.control import Answer, Note, Refused, Request, decode_answer
from tocsin.ipc.job import Finished
from tocsin.parent.control import NAME

Start = Callable[[str], Daemon]
Control = Channel[Request, Answer]
Ask = Callable[[Daemon, str], Control]
DAILY = '[jobs.{}]\nschedule = "0 0 * * *"\npath = "/{}"\nretries = 0\n'


def ready(daemon: Daemon, *jobs: str) -> None:
    for job in jobs:
        daemon.child(f"job {job}")


# ---- fire


@pytest.fixture
def asked() -> Iterator[Ask]:
    """Ask for a run straight on the socket: starting a command takes as long as a slot waits."""
    clients: list[Control] = []

    def ask(daemon: Daemon, job: str) -> Control:
        clients.append(channel.connect(daemon.folder / "var", NAME, decode_answer))
        clients[-1].send(FireJob(job))
        return clients[-1]

    yield ask
    for client in clients:
        client.close()


def test_a_command_says_that_it_waits_for_a_daemon_that_stands_still(running: Start) -> None:
    daemon = running(DAILY.format("a", "a"))
    ready(daemon, "a")
    daemon.signal(signal.SIGSTOP)
    command = subprocess.Popen(
        [TOCSIN, "jobs"],
        cwd=daemon.folder,
        env=daemon.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert command.stderr is not None
        assert command.stderr.readline() == "the daemon has not answered for 10 s (is it stopped?); still waiting\n"
    finally:
        daemon.signal(signal.SIGCONT)
    shown, _ = command.communicate(timeout=PATIENCE)
    assert (command.returncode, "a" in shown) == (0, True)


def answer(client: Control) -> Answer:
    message = client.receive(wait=True)
    assert message is not None
    return message


def test_a_fire_waits_for_the_slot_that_is_about_to_run(running: Start, endpoint: Endpoint, asked: Ask) -> None:
    daemon = running('[jobs.tick]\nschedule = "*/3 * * * * *"\npath = "/x"\n')
    ready(daemon, "tick")

    def slot_waits() -> bool:
        found = re.findall(r"debug +asked job=tick due=(\d+)", daemon.log())
        return bool(found) and int(found[-1]) - 0.5 > time.time()

    def fired_meanwhile() -> tuple[Control, Control, Note] | None:
        until(slot_waits, "a slot that waits")
        first, second = asked(daemon, "tick"), asked(daemon, "tick")
        said = answer(first)
        return (first, second, said) if isinstance(said, Note) else None

    first, second, said = until(fired_meanwhile, "a fire while a slot waits")
    assert re.fullmatch(r"the run due at \S+Z comes first", said.text)
    refused, run = answer(second), answer(first)
    assert isinstance(refused, Refused)
    assert refused.why == "a manual run of tick was already requested and is about to start"
    assert isinstance(run, Finished)
    assert (run.outcome, run.trigger) == ("success", "manual")
    before = [call for call in endpoint.calls if call.at < (run.started or 0)]
    assert before[-1].headers["x-tocsin-trigger"] == "schedule"


def test_a_fire_during_a_run_says_since_when_it_runs(running: Start, endpoint: Endpoint, asked: Ask) -> None:
    daemon = running(DAILY.format("slow", "slow"))
    ready(daemon, "slow")
    held = Held(endpoint)
    first = asked(daemon, "slow")
    assert held.came.wait(30)
    result = daemon.run("fire", "slow")
    assert result.returncode == 1
    assert re.search(r"slow is already running, since \S+Z; a job never runs twice at once", result.stderr)
    held.go.set()
    assert isinstance(answer(first), Finished)


def test_a_fire_shows_its_attempts(running: Start, endpoint: Endpoint) -> None:
    replies = iter([(503, {}, b"busy"), (502, {}, b"gone"), sla_checked(3)])
    endpoint.answer = lambda _: next(replies)
    daemon = running(DAILY.format("shaky", "shaky").replace("retries = 0", 'retries = 3\nretry_on = ["5xx"]'))
    ready(daemon, "shaky")
    result = daemon.run("fire", "shaky")
    assert result.returncode == 0
    first, second, third, run = result.stdout.splitlines()
    assert first.startswith("attempt 1: http_error, ")
    assert "503" in first
    assert "502" in second
    assert third == "attempt 3: success"
    assert run.startswith("shaky: success, status 200")


# ---- a job file that is not there


@pytest.mark.parametrize(
    "words", [["jobs"], ["fire", "a"], ["pause", "a"], ["resume", "a"], ["reload"], ["history"], ["history", "a"]]
)
def test_a_missing_job_file_is_said(daemon: Daemon, words: list[str]) -> None:
    """Not that the daemon does not run: which folder is its own nobody knows."""
    result = daemon.run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    file = daemon.folder / "tocsin.toml"
    assert f"cannot read the job file {file}: No such file or directory" in result.stderr
    assert f"{daemon.folder / 'var'}, which is only a guess" in result.stderr
    assert "is not running" not in result.stderr


def test_a_job_file_that_holds_nothing_to_read(running: Start) -> None:
    """While its daemon runs, with a state folder that only the file names."""
    daemon = running(DAILY.format("a", "a"))
    daemon.write(DAILY.format("a", "a"), daemon='state_dir = "elsewhere"')
    daemon.stop()
    daemon.start()
    until(lambda: daemon.json("jobs"), "the daemon")
    whole = (daemon.folder / "tocsin.toml").read_text()
    (daemon.folder / "tocsin.toml").write_text("= broken")
    result = daemon.run("jobs")
    assert result.returncode == 2
    assert "is not TOML" in result.stderr
    daemon.environment["TOCSIN_STATE_DIR"] = "elsewhere"
    assert daemon.json("jobs")[0]["name"] == "a"
    del daemon.environment["TOCSIN_STATE_DIR"]
    (daemon.folder / "tocsin.toml").write_text(whole)
    (daemon.folder / ".env").write_text('X="open\n')  # of no matter for what the file names itself
    assert daemon.json("jobs")[0]["name"] == "a"


# ---- reload


def test_a_reload_says_what_changed(running: Start) -> None:
    same = DAILY.format("same", "same")
    daemon = running(same + DAILY.format("old", "old") + DAILY.format("off", "off") + DAILY.format("other", "other"))
    until(lambda: daemon.json("jobs"), "the daemon")
    assert daemon.run("reload").stdout == "reloaded: 4 of 4 jobs enabled\nnothing changed\n"
    many = "".join(DAILY.format(f"new-{n:02}", n) for n in range(23))
    off = DAILY.format("off", "off") + "enabled = false\n"
    daemon.write(same + off + DAILY.format("other", "changed") + many, daemon='drain = "7s"\nnode = "here"')
    result = daemon.run("reload")
    assert result.returncode == 0
    names = ", ".join(f"new-{n:02}" for n in range(20))
    assert result.stdout.splitlines() == [
        "reloaded: 25 of 26 jobs enabled",
        f"added: {names} and 3 more",
        "changed: other",
        "removed: old",
        "disabled: off",
        "changed in [daemon]: drain",
        "changed in [daemon], effective only after a restart: node",
    ]
    daemon.said(f'added="{names} and 3 more" changed=other removed=old disabled=off')
    daemon.write(same + off.replace("false", "true") + DAILY.format("other", "changed"), daemon='drain = "7s"')
    assert "enabled: off" in daemon.run("reload").stdout.splitlines()


# ---- pause and resume


def test_a_pause_of_what_is_paused_and_a_resume_of_what_is_not(running: Start) -> None:
    daemon = running(DAILY.format("a", "a"))
    ready(daemon, "a")
    said = [daemon.run(*words).stdout for words in (["resume", "a"], ["pause", "a"], ["pause", "a"], ["resume", "a"])]
    assert said == ["a was not paused\n", "a is paused\n", "a is already paused\n", "a is resumed\n"]
    assert daemon.log().count("info    a: paused") == 1


@pytest.mark.parametrize("command", ["fire", "pause", "resume"])
def test_an_unknown_job_is_guessed(running: Start, command: str) -> None:
    daemon = running(DAILY.format("report", "r") + DAILY.format("cleanup", "c"))
    until(lambda: daemon.json("jobs"), "the daemon")
    near, far = daemon.run(command, "reprot"), daemon.run(command, "xyz")
    assert (near.returncode, far.returncode) == (2, 2)
    assert "there is no job 'reprot'; did you mean \"report\"?" in near.stderr
    assert "there is no job 'xyz'; there are: cleanup, report" in far.stderr


# ---- the log


def test_the_warm_up_is_no_event_of_the_log(running: Start) -> None:
    daemon = running(DAILY.format("a", "a"))
    ready(daemon, "a")
    assert "asked" not in daemon.log()
    assert daemon.run("fire", "a").returncode == 0
    daemon.said("debug   asked job=a")

"""The commands as a shell sees them: completion, colours, pipes, Ctrl-C, help."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from harness import PATIENCE, TOCSIN, Daemon, Endpoint, until
from tocsin.cli import main
from tocsin.ledger.schema import SCHEMA
from tocsin.ledger.sqlite import FILE

JOBS = """
[target]
base_url = "http://127.0.0.1:1"
send_secret = "none"
[jobs.sla-check]
description = "Unassigns what is late"
every = "1h"
path = "/x"
[jobs.digest]
every = "1h"
path = "/y"
enabled = false
"""
GROUP = click.Context(main, info_name="tocsin", **main.context_settings)
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tocsin.toml").write_text(JOBS)
    return tmp_path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """One without settings, and with this `tocsin` first on the PATH."""
    path = f"{Path(TOCSIN).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(folder), "TERM": "xterm", "LANG": "C.UTF-8", **more}


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Terminal:
    """A program on a terminal; what it shows, without the escapes."""

    def __init__(self, folder: Path, *command: str, **more: str) -> None:
        self.ours, theirs = pty.openpty()
        self.raw = b""
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment(folder, **more),
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def read(self) -> bool:
        """Take in what there is; False once nobody can write any more."""
        try:
            while select.select([self.ours], [], [], 0.02)[0]:
                self.raw += (piece := os.read(self.ours, 65536))
                if not piece:
                    return False
        except OSError:  # EIO: how Linux says that the other side is closed
            return False
        return True

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    @property
    def shown(self) -> str:
        self.read()
        return ESCAPE.sub("", self.raw.decode(errors="replace")).replace("\r", "")

    def wait(self) -> str:
        give_up = time.monotonic() + PATIENCE
        while self.read() and time.monotonic() < give_up:
            pass
        self.process.wait(PATIENCE)
        return self.raw.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.ours)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: object, **more: str) -> Terminal:
        opened.append(Terminal(*words, **more))  # type: ignore[arg-type]
        return opened[-1]

    yield start
    for one in opened:
        one.close()


# ---- completion, in the real shells

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(tocsin completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit && compinit -u; eval "$(tocsin completion zsh)"'),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes(folder: Path, terminal: Callable[..., Terminal], shell: str) -> None:
    command, setup = SHELLS[shell]
    assert shutil.which(shell), f"apt install {shell}"
    typist = terminal(folder, *command, PS1="> ", COLUMNS="200")
    typist.type(f"{setup}; echo re''ady\n")
    until(lambda: "ready" in typist.shown, f"{shell} to have read the script")

    def completes(begun: str, whole: str) -> None:
        typist.type(f"{begun}\t")
        until(lambda: whole in typist.shown, f"{whole!r} in {shell}")
        typist.type("\x15")  # kill the line

    completes("tocsin pa", "tocsin pause")
    completes("tocsin fire sl", "tocsin fire sla-check")
    completes("tocsin resume d", "tocsin resume digest")
    completes("tocsin history --fai", "tocsin history --failed")
    completes("tocsin check -c toc", "tocsin check -c tocsin.toml")


def test_fish_completes(folder: Path) -> None:
    assert shutil.which("fish"), "apt install fish"

    def complete(line: str) -> dict[str, str]:
        """What fish offers, with what it says of it."""
        found = run(folder, "fish", "-c", f'tocsin completion fish | source; complete -C "{line}"')
        assert found.stderr == ""
        return {word: text for word, _, text in (one.partition("\t") for one in found.stdout.splitlines())}

    assert complete("tocsin fire ") == {"sla-check": "Unassigns what is late", "digest": "every hour"}
    assert complete("tocsin ").keys() == main.commands.keys()


def test_names_are_completed_from_a_faulty_file_and_silently_from_none(folder: Path) -> None:
    def names(*words: str) -> list[str]:
        line = f"tocsin {' '.join(words)} fire "
        found = run(
            folder, "tocsin", COMP_WORDS=line, COMP_CWORD=str(len(line.split())), _TOCSIN_COMPLETE="bash_complete"
        )
        assert found.stderr == ""
        return [one.removeprefix("plain,") for one in found.stdout.split()]

    assert names() == ["sla-check", "digest"]
    (folder / "tocsin.toml").write_text(JOBS.replace('"1h"', '"soon"'))
    assert names() == ["sla-check", "digest"]
    for text in ("jobs = 3", "[jobs"):
        (folder / "tocsin.toml").write_text(text)
        assert names() == []
    (folder / "tocsin.toml").unlink()
    assert names() == []


def test_completion_reads_the_file_that_is_named(folder: Path) -> None:
    (folder / "other.toml").write_text(JOBS.replace("digest", "report"))
    line = "tocsin fire -c other.toml "
    found = run(folder, "tocsin", COMP_WORDS=line, COMP_CWORD="4", _TOCSIN_COMPLETE="bash_complete")
    assert found.stdout.split() == ["plain,sla-check", "plain,report"]


# ---- what is shown, and where


def test_colours_are_for_terminals(folder: Path, terminal: Callable[..., Terminal]) -> None:
    on_terminal = terminal(folder, "tocsin", "check").wait()
    assert click.style("fine", fg="green") in on_terminal
    assert click.style(" (disabled)", fg="yellow") in on_terminal
    assert "\x1b" not in terminal(folder, "tocsin", "check", NO_COLOR="1").wait()
    assert "\x1b" in terminal(folder, "tocsin", "check", NO_COLOR="").wait(), "no-color.org: when not empty"
    assert "\x1b" not in run(folder, "tocsin", "check").stdout


def test_errors_are_on_standard_error(folder: Path, terminal: Callable[..., Terminal]) -> None:
    for command, code in (
        (["jobs"], 4),
        (["history"], 1),
        (["chekc"], 2),
        (["check", "-c", "gone.toml"], 2),
        (["next", "* * *"], 2),
        (["fire", "nope"], 4),
        (["history", "--since", "soon"], 2),
        (["history", "nope", "--json"], 1),
        (["fire", "\udcff"], 2),
        (["pause", "a" * 70_000], 2),
        (["history", "\udcff"], 2),
        (["next", "@yearly", "-n", "10000"], 1),
        (["next", "@yearly", "--after", "9950-01-01T00:00:00Z"], 1),
        (["next", "@yearly", "--after", "0001-01-01T00:00:00+14:00"], 1),  # in UTC of no year that Python has
        (["next", "@yearly", "--after", "9999-12-31T23:59:59-14:00"], 1),
    ):
        found = run(folder, "tocsin", *command)
        assert (found.returncode, found.stdout) == (code, ""), command
        assert found.stderr
        assert "Traceback" not in found.stderr
    assert click.style("tocsin:", fg="red") in terminal(folder, "tocsin", "jobs").wait()


@pytest.mark.parametrize(
    ("line", "code", "why"),
    [
        ("tocsin check >/dev/full", 1, "No space left on device"),
        ("mkdir gone; cd gone; rmdir ../gone; tocsin check", 1, ".: the working folder is gone"),
        ("mkdir -m 700 var; setpriv --reuid=65534 --clear-groups tocsin history", 1, "Permission denied"),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(folder: Path, line: str, code: int, why: str) -> None:
    for parent in (folder, *folder.parents[:-2]):  # so that another user gets here
        parent.chmod(0o755)
    found = run(folder, "bash", "-c", f"set -e; {line}")
    assert (found.returncode, found.stdout) == (code, "")
    assert found.stderr.startswith("tocsin: ")
    assert found.stderr.endswith(f"{why}\n")
    assert found.stderr.count("\n") == 1


def test_a_job_that_is_none_has_no_history(folder: Path) -> None:
    (folder / "var").mkdir()
    with closing(sqlite3.connect(folder / "var" / FILE)) as db:
        db.executescript(SCHEMA)
    for more in ([], ["--json"]):
        found = run(folder, "tocsin", "history", "nope", *more)
        assert (found.returncode, found.stdout) == (2, "")
        assert "there is no job 'nope'" in found.stderr


def test_a_misspelt_command_or_option_is_guessed(folder: Path) -> None:
    assert "Did you mean 'history'?" in run(folder, "tocsin", "histroy").stderr
    assert "Did you mean" in run(folder, "tocsin", "history", "--fail").stderr


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    line = "tocsin next '* * * * *' -n 10000 | head -n 1"
    found = run(folder, "bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}} >&2")
    assert found.stdout == "every minute\n"
    assert found.stderr == "1\n"


def test_ctrl_c_ends_the_command_and_not_the_run(running: Callable[[str], Daemon], endpoint: Endpoint) -> None:
    def slow(_: object) -> tuple[int, dict[str, str], bytes]:
        until(lambda: interrupted, "the command to be interrupted")
        return 200, {}, b""

    interrupted: list[int] = []
    endpoint.answer = slow
    daemon = running('[jobs.a]\nevery = "1h"\npath = "/x"\n')
    until(lambda: daemon.json("jobs"), "the daemon")
    as_at_a_terminal = ["env", "--default-signal=INT"]  # a shell ignores it for what it starts with &
    with subprocess.Popen(
        [*as_at_a_terminal, TOCSIN, "fire", "a"],
        cwd=daemon.folder,
        env=daemon.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until(lambda: endpoint.calls, "the call")
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, error.decode().strip()) == (1, b"", "Aborted!")
    interrupted.append(1)
    until(lambda: [row for row in daemon.history() if row["outcome"] == "success"], "the run to have ended")


# ---- JSON


def test_check_as_json(folder: Path) -> None:
    found = json.loads(run(folder, "tocsin", "check", "--json").stdout)
    assert [job["name"] for job in found["jobs"]] == ["sla-check", "digest"]
    first, second = found["jobs"]
    assert (len(first["next_fires"]), second["next_fires"]) == (3, [])
    assert first | {"next_fires": []} == {
        "name": "sla-check", "enabled": True, "description": "Unassigns what is late", "schedule": "@every 3600s",
        "timezone": "UTC", "words": "every hour", "method": "POST", "url": "http://127.0.0.1:1/x", "secret": None,
        "next_fires": [],
    }  # fmt: skip
    assert (found["faults"], found["warnings"]) == ([], [])


def test_faults_as_json(folder: Path) -> None:
    (folder / "tocsin.toml").write_text(JOBS.replace('"1h"', '"soon"'))
    result = run(folder, "tocsin", "check", "--json")
    assert (result.returncode, result.stderr) == (2, "")
    found = json.loads(result.stdout)
    assert [(one["table"], one["key"], one["value"]) for one in found["faults"]] == [
        ("jobs.sla-check", "every", '"soon"'),
        ("jobs.digest", "every", '"soon"'),
    ]
    assert found["jobs"] == []


def test_whatever_prints_a_table_prints_json() -> None:
    for name in ("check", "jobs", "history", "next"):
        assert any("--json" in option.opts for option in main.commands[name].params), name


# ---- help


@pytest.mark.parametrize("name", main.commands)
def test_help_has_examples_that_parse(name: str) -> None:
    command = main.commands[name]
    lines = (command.epilog or "").partition("Examples:\n")[2].splitlines()
    examples = [found[1] for line in lines if (found := re.search(rf"tocsin {name}\b(.*)", line))]
    assert examples, "give it examples(…)"
    for example in examples:
        words = shlex.split(re.split(r"   | [|>&]|\)\"", example)[0])  # before a comment, a pipe, the end of $(…)
        command.make_context(name, words, parent=GROUP).close()
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
    assert len((command.help or "").partition(". ")[0].splitlines()[0]) <= 60, "the list of commands would cut it"

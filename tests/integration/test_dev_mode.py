"""The daemon and the commands in Python's development mode with warnings as errors: nothing is left unclosed."""

import pytest

from harness import Daemon, Endpoint, until

JOBS = '[jobs.tick]\nevery = "1s"\npath = "/tick"\n[jobs.rare]\nevery = "1h"\npath = "/rare"\n'


@pytest.fixture
def strict(daemon: Daemon) -> Daemon:
    """A daemon whose every process warns of what it leaves open, and ends of what is deprecated."""
    daemon.environment |= {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
    return daemon


def test_no_process_leaves_anything_open(strict: Daemon, endpoint: Endpoint) -> None:
    strict.write(JOBS)
    strict.start()
    until(lambda: len(endpoint.calls) > 1, "two calls")
    strict.kill("exporter")
    strict.write('[jobs.rare]\nevery = "2h"\npath = "/rare"\n')
    assert strict.run("reload").returncode == 0  # one job's process ends, another's begins anew
    until(lambda: set(strict.children()) == {"ledger", "exporter", "job rare"}, "the new exporter, and one job")
    strict.get("/")
    assert strict.stop() == 0
    for words in ("Warning", "Exception ignored", "Traceback"):
        assert words not in strict.log(), strict.log()


COMMANDS = (
    *(
        "jobs",
        "fire rare",
        "pause rare",
        "resume rare",
        "reload",
        "history",
        "check",
        "doctor",
        "next @daily",
        "schema",
    ),
    *("completion bash", "import vercel.json"),
)


def test_no_command_leaves_anything_open(strict: Daemon) -> None:
    strict.write(JOBS)
    (strict.folder / "vercel.json").write_text('{"crons": [{"path": "/a", "schedule": "0 5 * * *"}]}')
    strict.start()
    until(lambda: "job rare" in strict.children(), "the job's process")
    for command in COMMANDS:
        done = strict.run(*command.split())
        assert done.stdout, (command, done.stderr)
        for words in ("Warning", "Exception ignored", "Traceback"):
            assert words not in done.stderr, (command, done.stderr)

"""The commands that the running daemon answers: jobs, fire, pause, resume, reload."""

import json
from pathlib import Path

import click

from tocsin import channel, config, display
from tocsin.channel import ChannelClosed
from tocsin.commands.common import FAILED, NOT_RUNNING, fail, job_file_option
from tocsin.messages import (
    Done,
    Finished,
    FireJob,
    JobStatus,
    ListJobs,
    Message,
    PauseJob,
    Refused,
    ReloadConfig,
)


def ask(file: Path, request: Message) -> list[Message]:
    """What the daemon says to the request, up to the last word."""
    from tocsin.parent.control import NAME

    state_dir = config.state_dir(file)
    try:
        daemon = channel.connect(state_dir, NAME)
    except (FileNotFoundError, ConnectionRefusedError):
        fail(f"the daemon is not running (nothing answers in {state_dir})", NOT_RUNNING)
    except OSError as error:
        fail(f"cannot reach the daemon in {state_dir}: {error.strerror}", NOT_RUNNING)
    answers: list[Message] = []
    try:
        daemon.send(request)
        while not answers or not isinstance(answers[-1], Done | Finished | Refused):
            if message := daemon.receive(wait=True):
                answers.append(message)
    except ChannelClosed:
        fail("the daemon went away before it answered", NOT_RUNNING)
    if isinstance(last := answers[-1], Refused):
        fail(last.why, last.code)
    return answers


@click.command()
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects.")
def jobs(file: Path, as_json: bool) -> None:
    """Show what the running daemon does: state, next fire, last outcome."""
    statuses = [one for one in ask(file, ListJobs()) if isinstance(one, JobStatus)]
    if as_json:
        click.echo(json.dumps([display.status_as_json(one) for one in statuses], indent=2))
    else:
        click.echo(display.jobs_table(statuses))


@click.command()
@job_file_option
@click.argument("job")
def fire(file: Path, job: str) -> None:
    """Run JOB once, now, through the daemon; exit 0 only on success."""
    run = ask(file, FireJob(job))[-1]
    assert isinstance(run, Finished)
    click.echo(display.run_in_words(run))
    if run.outcome != "success":
        raise SystemExit(FAILED)


@click.command()
@job_file_option
@click.argument("job")
def pause(file: Path, job: str) -> None:
    """Let the scheduled slots of JOB pass until `resume`, also across restarts."""
    click.echo(getattr(ask(file, PauseJob(job, True))[-1], "text", ""))


@click.command()
@job_file_option
@click.argument("job")
def resume(file: Path, job: str) -> None:
    """Fire JOB by its schedule again."""
    click.echo(getattr(ask(file, PauseJob(job, False))[-1], "text", ""))


@click.command()
@job_file_option
def reload(file: Path) -> None:
    """Take over the changed job file; unchanged jobs keep their process and their running call."""
    click.echo(getattr(ask(file, ReloadConfig())[-1], "text", ""))

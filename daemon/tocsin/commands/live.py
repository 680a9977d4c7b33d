"""The commands that the running daemon answers: jobs, fire, pause, resume, reload."""

import json
from pathlib import Path

import click

from tocsin import config, display
from tocsin.commands.common import FAILED, NOT_RUNNING, examples, fail, job_argument, job_file_option
from tocsin.ipc import channel
from tocsin.ipc.channel import ChannelClosed
from tocsin.ipc.messages import Done, Finished, FireJob, JobStatus, ListJobs, Message, PauseJob, Refused, ReloadConfig


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


@click.command(epilog=examples("tocsin jobs", "tocsin jobs --json"))
@job_file_option
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects.")
def jobs(file: Path, as_json: bool) -> None:
    """Show what the daemon does. State, next fire, last outcome, process of each job."""
    statuses = [one for one in ask(file, ListJobs()) if isinstance(one, JobStatus)]
    if as_json:
        click.echo(json.dumps([display.status_as_json(one) for one in statuses], indent=2))
    else:
        click.echo(display.jobs_table(statuses))


@click.command(epilog=examples("tocsin fire sla-check", "tocsin fire sla-check && echo done"))
@job_file_option
@job_argument()
def fire(file: Path, job: str) -> None:
    """Run JOB once, now. Through the daemon, accounted for as `manual`; exits 0 only on success."""
    run = ask(file, FireJob(job))[-1]
    assert isinstance(run, Finished)
    click.echo(display.run_in_words(run))
    if run.outcome != "success":
        raise SystemExit(FAILED)


@click.command(epilog=examples("tocsin pause sla-check"))
@job_file_option
@job_argument()
def pause(file: Path, job: str) -> None:
    """Let the slots of JOB pass until resumed. Also across restarts; a run that goes on ends as it will."""
    click.echo(getattr(ask(file, PauseJob(job, True))[-1], "text", ""))


@click.command(epilog=examples("tocsin resume sla-check"))
@job_file_option
@job_argument()
def resume(file: Path, job: str) -> None:
    """Fire JOB by its schedule again."""
    click.echo(getattr(ask(file, PauseJob(job, False))[-1], "text", ""))


@click.command(epilog=examples("tocsin check && tocsin reload"))
@job_file_option
def reload(file: Path) -> None:
    """Take over the changed job file. Unchanged jobs keep their process and their running call."""
    click.echo(getattr(ask(file, ReloadConfig())[-1], "text", ""))

"""Sends a command's request to the running daemon, through the control socket in its state folder."""

import os
import select
from pathlib import Path

import click

from tocsin import config
from tocsin.commands.common import FAILED, NOT_RUNNING, USAGE, fail
from tocsin.ipc import channel
from tocsin.ipc.channel import ChannelClosed, Readable
from tocsin.ipc.control import Answer, Done, Note, Refused, Request, decode_answer
from tocsin.ipc.job import Finished

PATIENCE = 10.0  # seconds until a command says that it is waiting: a healthy daemon answers within one


def is_readable(one: Readable, seconds: float) -> bool:
    """Whether something can be read within some seconds."""
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def ask(file: Path, request: Request) -> list[Answer]:
    """Return the daemon's answers to the request, up to the last one. Notes go to standard error."""
    from tocsin.parent.control import NAME
    from tocsin.parent.trust import unsafe

    state_dir, doubt = config.locate(file)
    try:
        owner = state_dir.stat().st_uid
        if why := unsafe(state_dir, owner):
            fail(f"cannot trust the process that answers in {state_dir}: {why}", FAILED)
        daemon = channel.connect(state_dir, NAME, decode_answer)
        if daemon.peer not in (0, owner, os.geteuid()):
            fail(f"a process of user {daemon.peer} answers in {state_dir}, not the daemon", FAILED)
    except (FileNotFoundError, ConnectionRefusedError):
        if doubt:
            fail(f"{doubt}\nno daemon answers in {state_dir}, which is only a guess", USAGE)
        fail(f"the daemon is not running (nothing answers in {state_dir})", NOT_RUNNING)
    except OSError as error:
        fail(f"cannot reach the daemon in {state_dir}: {error.strerror}", NOT_RUNNING)
    answers: list[Answer] = []
    try:
        daemon.send(request)
        if not is_readable(daemon, PATIENCE):
            click.echo(f"the daemon has not answered for {PATIENCE:.0f} s (is it stopped?); still waiting", err=True)
        while not answers or not isinstance(answers[-1], Done | Finished | Refused):
            match daemon.receive(wait=True):
                case Note(text=text):
                    click.echo(text, err=True)
                case None:
                    pass
                case message:
                    answers.append(message)
    except ChannelClosed:
        fail("the daemon exited before it answered", NOT_RUNNING)
    finally:
        daemon.close()
    if isinstance(last := answers[-1], Refused):
        fail(last.why, last.code)
    return answers


def carried_out(file: Path, request: Request) -> str:
    """Send a request that is carried out at once, and show the daemon's answer."""
    done = ask(file, request)[-1]
    assert isinstance(done, Done)
    return done.text

"""What the commands that act share: who asks, and why."""

import os
import pwd
from collections.abc import Callable

import click

from tocsin.commands.common import USAGE, fail
from tocsin.ipc.actions import Actor, plain

LONGEST = 200  # characters of a reason


def actor() -> Actor:
    """Who runs the command, and from where: whoever became root by sudo, or came over SSH, is still known."""
    user = os.geteuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:  # of a container, say
        name = f"user {user}"
    if user == 0 and (real := os.environ.get("SUDO_USER")):
        name = f"{real} as {name}"
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return Actor(plain(name)[:100], "command", plain(address)[:100])


def why_option(command: Callable[..., None]) -> Callable[..., None]:
    """--why, which the ledger keeps with the action."""

    def checked(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
        line = plain(text)
        if len(line) > LONGEST:
            fail(f"--why is longer than {LONGEST} characters", USAGE)
        return line

    return click.option(
        "--why", metavar="TEXT", default="", callback=checked, help="The reason, for the log and the history."
    )(command)

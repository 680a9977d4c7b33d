"""`tocsin notify`: whom does the notifier write to, and does it reach them?"""

import functools
import queue
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin import display
from tocsin.commands.common import FAILED, USAGE, examples, fail, job_file_option, loaded
from tocsin.config import Config
from tocsin.config.notify import Notify
from tocsin.redact import redact

if TYPE_CHECKING:  # a daemon without [notify] need not load it
    from tocsin.notifier.address import Address


@click.command(epilog=examples("tocsin notify", "tocsin notify --test"))
@job_file_option
@click.option("--test", is_flag=True, help="Send a test message to each address and say what became of it.")
def notify(file: Path, test: bool) -> None:
    """Show whom [notify] writes to, without secrets.

    Exits 1 when an address cannot be used, or did not take the test message. Asks no daemon, and pings nothing.
    """
    settings = loaded(file)
    redact.hide(settings.hidden)
    if settings.notify is None:
        fail(f"{file} has no [notify]", USAGE)
    if settings.notify.heartbeat_url:
        click.echo("heartbeat: each minute while all is well")
    pings = sum(bool(job.ping_url) for job in settings.enabled_jobs.values())
    if pings:
        click.echo(f"pings: for the runs of {pings} {'job' if pings == 1 else 'jobs'}")
    if not settings.notify.urls:
        click.echo("messages: to nobody")
        return
    addresses = usable(settings.notify)
    if test:
        _try(addresses, settings)
    for one in addresses:
        state = display.bad(f"failed: {redact(one.why)}") if one.why else display.good("sent" if test else "ready")
        click.echo(f"{one.label}: {state}")
    if any(one.why for one in addresses):
        raise SystemExit(FAILED)


def usable(settings: Notify) -> list["Address"]:
    """The addresses, looked at by Apprise; `why` of one says why it cannot be used."""
    from tocsin.notifier import address, sender

    sender.set_up()
    addresses = address.of(settings.urls)
    for one in addresses:
        sender.load(one)
    return addresses


def _try(addresses: list["Address"], settings: Config) -> None:
    """Send a test message to each; `why` says afterwards why it failed."""
    from tocsin.notifier import sender, words

    outcomes: queue.SimpleQueue[tuple[Address, str | None]] = queue.SimpleQueue()
    waiting = [one for one in addresses if not one.why]
    message = words.trial(words.Place(settings.node), time.time())
    for one in waiting:
        sender.send(one, message, functools.partial(_told, outcomes, one))
    until = time.monotonic() + sender.DEADLINE
    while waiting:
        try:
            one, why = outcomes.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        waiting.remove(one)
        one.why = why or ""
    for one in waiting:
        one.why = f"not done after {sender.DEADLINE:g} s"


def _told(outcomes: "queue.SimpleQueue[tuple[Address, str | None]]", one: "Address", why: str | None) -> None:
    outcomes.put((one, why))

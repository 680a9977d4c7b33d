"""What people do to jobs: the requests of commands and of the exporter, who makes them, and what the ledger records."""

from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from tocsin.ipc.types import Count, Instant, Message, Name, Verb, Way, Why


class Actor(Struct, frozen=True):
    """Who asks for an action, and from where. `name` is a user, or the source of a token. `address` is empty if there
    was no connection."""

    name: Name = ""
    way: Way = "command"
    address: Name = ""

    def __str__(self) -> str:
        return f"{self.name or 'somebody'} ({', '.join(filter(None, (self.way, self.address)))})"


def plain(text: str) -> str:
    """Return a reason or a name as one line that can be shown anywhere and stored in any ledger."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


class FireJob(Message, frozen=True):
    job: Name
    by: Actor = Actor()
    why: Why = ""


class PauseJob(Message, frozen=True):
    """Pause the job until `until` (None: until it is resumed), or resume it."""

    job: Name
    paused: bool
    until: Instant | None = None
    by: Actor = Actor()
    why: Why = ""


class ReloadConfig(Message, frozen=True):
    by: Actor = Actor()
    why: Why = ""


Action = FireJob | PauseJob | ReloadConfig


class Requested(Message, frozen=True):
    """Exporter to parent: somebody who may act asks for this. An exporter cannot ask for anything else."""

    number: Count
    action: Action


class Answered(Message, frozen=True):
    """Parent to exporter: the result of a request, in words."""

    number: Count
    result: Literal["done", "unknown", "refused", "silent"]  # silent: made by the exporter when no answer came
    text: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    run_id: str | None = None  # of a fire


class Acted(Message, frozen=True):
    """An action that was carried out. The ledger keeps it, and the pages show it."""

    at: Instant
    what: Verb
    job: str  # "" for a reload
    by: Actor
    why: Why = ""
    until: Instant | None = None  # the end of a pause
    run_id: str | None = None  # of a fire

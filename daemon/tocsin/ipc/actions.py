"""What people do to jobs: who asks for it, and what the ledger remembers of it."""

from msgspec import Struct

from tocsin.ipc.types import Instant, Message, Name, Verb, Way, Why


class Actor(Struct, frozen=True):
    """Who asks for an action, and from where. `name` is a user, or where a token comes from; `address` is empty where
    no connection was made for it."""

    name: Name = ""
    way: Way = "command"
    address: Name = ""

    def __str__(self) -> str:
        return f"{self.name or 'somebody'} ({', '.join(filter(None, (self.way, self.address)))})"


def plain(text: str) -> str:
    """A reason, or a name, as one line that can be shown anywhere and stored in any ledger."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


class Acted(Message, frozen=True):
    """An action that was carried out: the ledger keeps it, and the pages show it."""

    at: Instant
    what: Verb
    job: str  # "" of a reload
    by: Actor
    why: Why = ""
    until: Instant | None = None  # the end of a pause
    run_id: str | None = None  # of a fire

"""What a tool must say about itself to be measured."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

REPOSITORY = Path(__file__).parents[2]


class Absent(Exception):
    """The tool cannot be measured here: why. It stands in the results with this reason."""


@dataclass(frozen=True)
class Plan:
    """One measurement of one tool."""

    folder: Path  # empty, the tool's own
    cache: Path  # where `setup` put things
    jobs: int  # job n calls POST {url}/job/n
    first: int  # epoch seconds: the first instant to fire at, for tools that are told instants
    period: int  # seconds between instants: a divisor of 60
    url: str  # http to an address, or https to a name (`Peer.real`)
    authority: Path  # PEM file that vouches for the sink, when the url is https
    secret: str  # in the header x-cron-secret

    @property
    def expression(self) -> str:
        """Five fields when every minute is meant, else six with seconds first."""
        return "* * * * *" if self.period == 60 else f"*/{self.period} * * * * *"


def said(word: str) -> Callable[[str], bool]:
    """Ready once the tool's output holds this."""
    return lambda output: word in output


READY = said("ready")  # what our own scripts print


@dataclass(frozen=True)
class Command:
    """A process to start; the next one starts when this is ready. `ready` is given the output so far."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)  # beside PATH, HOME and LANG
    ready: Callable[[str], bool] = READY

    def whole_environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, **self.environment}


REAL = "-real"  # ends the name of what is measured on the real path
ON_THE_REAL_PATH = ", over TLS (1.3, ECDSA P-256), by name, a reply as Next.js sends it"


class Peer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str:
        """One line for the docs: version and how it is set up."""

    @property
    def seconds(self) -> bool:
        """It knows seconds, not only minutes."""

    @property
    def real(self) -> bool:
        """It calls as in real life: over TLS, by name, a reply in chunks. Else: plain http, an address, a length."""

    def setup(self, cache: Path) -> None:
        """Install it, once, below `cache`. Raises Absent."""

    def commands(self, plan: Plan) -> list[Command]:
        """What to start, in this order, after writing its configuration into plan.folder."""

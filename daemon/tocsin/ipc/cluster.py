"""What the parent and the ledger say to each other where several nodes share one ledger."""

from typing import Literal

import msgspec

from tocsin.ipc.types import Count, Message

NAMES_AT_ONCE = 300  # jobs of a roster in one message, which holds 64 KiB

NodeState = Literal["live", "leaving", "dead"]


class Member(msgspec.Struct, frozen=True):
    """A node as the ledger has it. `roster` is the hash of its roster, "" until it has told; `clock_off` is how far its
    clock is ahead of the server's, in seconds."""

    session: str  # one life of its daemon
    node: str
    epoch: int  # one more for each time it was given up
    state: NodeState
    version: str = ""
    roster: str = ""
    clock_off: float = 0.0


class Members(Message, frozen=True):
    """Ledger to parent: the nodes, on each change. `me` is the session of this one, `epoch` its own."""

    me: str
    epoch: Count
    nodes: tuple[Member, ...]


class RosterPart(Message, frozen=True):
    """Ledger to parent: some jobs of a roster that `Members` is about to name; with `last`, the roster is complete."""

    hash: str
    jobs: dict[str, str]
    last: bool


class Roster(Message, frozen=True):
    """Parent to ledger: some jobs of the job file that was loaded, and the hash of each one's definition ("": it is
    disabled); with `last`, it is complete, and this node's roster."""

    hash: str
    jobs: dict[str, str]
    last: bool


class Yield(Message, frozen=True):
    """Parent to ledger: this node does not own the job any more, or does not want to. Its process has ended."""

    job: str


class Leave(Message, frozen=True):
    """Parent to ledger: this node is about to stop, and claims nothing more."""


class Elsewhere(Message, frozen=True):
    """Of a job: another node owns it, or none yet."""

    job: str


class GivenUp(Message, frozen=True):
    """Ledger to parent: other nodes gave this one up, and it has joined anew, as `epoch`. It owns no job; what was
    asked and reported before counts as late."""

    epoch: Count

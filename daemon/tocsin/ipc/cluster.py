"""The messages between the parent and the ledger about the nodes that share one ledger."""

from typing import Literal

import msgspec

from tocsin.ipc.types import Count, Message, Outcome

NAMES_AT_ONCE = 300  # jobs of a roster in one message, which holds 64 KiB

AWAY_AT_ONCE = 30  # jobs in one AwayPart, which holds 64 KiB
AWAY_DETAIL = 300  # characters of that detail

NodeState = Literal["live", "leaving", "dead"]


class Member(msgspec.Struct, frozen=True):
    """A node as the ledger knows it. `roster` is the hash of its roster, or "" until the node has written it.
    `clock_off` is how many seconds its clock is ahead of the server's."""

    session: str  # identifies one start of its daemon
    node: str
    epoch: int  # grows by one each time the node is given up
    state: NodeState
    version: str = ""
    roster: str = ""
    clock_off: float = 0.0


class Members(Message, frozen=True):
    """Ledger to parent: all nodes, after each change. `me` and `epoch` are the session and epoch of this node."""

    me: str
    epoch: Count
    nodes: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The name of this node."""
        return next((one.node for one in self.nodes if one.session == self.me), "")


class RosterPart(Message, frozen=True):
    """Ledger to parent: some jobs of a roster that the next `Members` names. With `last`, the roster is complete."""

    hash: str
    jobs: dict[str, str]
    last: bool


class Roster(Message, frozen=True):
    """Parent to ledger: some jobs of the loaded job file, and the hash of each definition ("" if the job is disabled).
    With `last`, the roster is complete and becomes this node's."""

    hash: str
    jobs: dict[str, str]
    last: bool


class Yield(Message, frozen=True):
    """Parent to ledger: this node gives the job up, or no longer claims it. The job's process has ended."""

    job: str


class Leave(Message, frozen=True):
    """Parent to ledger: this node is about to stop and claims no more jobs."""


class Elsewhere(Message, frozen=True):
    """Another node owns the job, or no node does yet."""

    job: str


class Away(Message, frozen=True):
    """A job that this node does not own, as the ledger knows it. `node` owns it, or "" if none does."""

    job: str
    node: str
    last_outcome: Outcome | None = None
    last_detail: str = ""
    last_run: float | None = None
    last_success: float | None = None
    consecutive_failures: Count = 0


class AwayPart(Message, frozen=True):
    """Ledger to parent: some jobs that this node does not own, again and again, changed or not."""

    jobs: tuple[Away, ...]


class GivenUp(Message, frozen=True):
    """Ledger to parent: other nodes gave this one up, and it has joined again with `epoch`. It owns no job. What it
    asked and reported before counts as late."""

    epoch: Count

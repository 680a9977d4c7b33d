"""Rules for when a node may give up another. Pure: time and rows are arguments.

All moments are seconds of CLOCK_BOOTTIME, which also counts while a machine sleeps.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from tocsin.ipc.cluster import Member, NodeState

LEASE = 3.0  # seconds after a commit, by the server's clock: then another node may give this one up
MARGIN = 0.5  # seconds before the lease's end at which calls stop: clocks drift, and a process may be slow
CONTACT = (
    3.0  # seconds of unbroken contact before a node gives up another, which must have time to renew after an outage
)
GAP = 1.5  # seconds: a longer time between two commits of this node breaks the contact
BEAT = 1.0  # seconds: the longest time between two commits
SOON = 0.1  # seconds until the next look, while a lease is about to end
CLAIMS = 0.3  # seconds between two looks whether another node has given up a wanted job


class Contact:
    """Knows how long this node has had unbroken contact with the server."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0

    def made(self, at: float) -> None:
        """A commit of this node is durable."""
        if self._since is None or not 0 <= at - self._last <= GAP:
            self._since = at
        self._last = at

    def unbroken(self, now: float) -> float:
        """Return the seconds of unbroken contact."""
        if self._since is None or now - self._last > GAP:
            return 0.0
        return now - self._since


@dataclass(frozen=True, slots=True)
class Peer:
    """A row of `nodes`. `left` is the seconds until its lease ends, by the server's clock; it is negative
    afterwards."""

    session: str
    node: str
    epoch: int
    state: str
    place: str
    began: float | None
    seq: int
    left: float
    version: str
    roster: str | None
    clock_off: float | None

    @property
    def is_live(self) -> bool:
        return self.state in ("live", "leaving")


def silent(peers: Iterable[Peer], me: str, contact: float) -> list[Peer]:
    """Return the nodes that one with `contact` seconds of unbroken contact may give up."""
    if contact < CONTACT:
        return []
    return [peer for peer in peers if peer.is_live and peer.session != me and peer.left < 0]


def next_beat(peers: Iterable[Peer], me: str, *, claims: bool) -> float:
    """Return the seconds until the next look: the end of another node's lease, and after it SOON until that is
    settled."""
    others = [peer.left for peer in peers if peer.is_live and peer.session != me]
    ends = [max(SOON, left + 0.01) for left in others]
    return min(CLAIMS if claims else BEAT, *ends) if ends else (CLAIMS if claims else BEAT)


def members(peers: Collection[Peer]) -> tuple[Member, ...]:
    """Return the nodes that the parent is told of: those that are live or leaving, and for each other name the last
    that died."""
    shown: dict[str, Peer] = {}
    for peer in peers:  # in the order in which they joined
        before = shown.get(peer.node)
        if peer.state != "left" and not (before and before.is_live):
            shown[peer.node] = peer
        elif peer.state == "left" and before and not before.is_live:
            del shown[peer.node]
    return tuple(_member(shown[node]) for node in sorted(shown))


def _member(peer: Peer) -> Member:
    state: Any = peer.state
    known: NodeState = state
    off = round(peer.clock_off or 0.0, 1)
    return Member(peer.session, peer.node, peer.epoch, known, peer.version, peer.roster or "", off)

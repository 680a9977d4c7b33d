"""Which of several nodes owns which job: pure functions of the nodes and their job files.

Rendezvous hashing (Thaler and Ravishankar, 1998): each node that has the job gets a number from its name and the job's,
and the node with the highest number owns the job. So all nodes come to the same result without asking each other. When
a node joins or leaves, only the jobs that it gets or had change their owner."""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from statistics import median

from tocsin.ipc.cluster import Member

CLOCK_OFF = (
    5.0  # seconds: a node whose clock is further off the median of all owns nothing; its calls would be mistimed
)
CLOCKS = 3  # clocks that a median needs, so that one wrong clock does not decide it

Roster = Mapping[str, str]  # each job of a file, and the hash of its definition; "" where it is disabled


def owner(job: str, nodes: Iterable[str]) -> str:
    """Return which of the nodes owns the job. There must be at least one node."""
    return max(nodes, key=lambda node: (blake2b(f"{node}\0{job}".encode(), digest_size=8).digest(), node))


def fit(nodes: Collection[Member]) -> list[Member]:
    """Return the nodes that may own jobs: they are alive, do not leave, and their clock is about right."""
    live = [one for one in nodes if one.state == "live"]
    if len(live) + 1 < CLOCKS:
        return live
    middle = median([0.0, *(one.clock_off for one in live)])  # 0: the server's
    return [one for one in live if abs(one.clock_off - middle) <= CLOCK_OFF]


def share(me: str, nodes: Collection[Member], rosters: Mapping[str, Roster], enabled: Iterable[str]) -> set[str]:
    """Return which of its enabled jobs the session `me` should own. Another node counts for a job as soon as its roster
    says that it has the job enabled."""
    others = [(one.node, rosters.get(one.roster, {})) for one in fit(nodes) if one.session != me]
    mine = next((one.node for one in fit(nodes) if one.session == me), None)
    if mine is None:
        return set()
    return {job for job in enabled if owner(job, [mine, *(node for node, has in others if has.get(job))]) == mine}

"""Which of several nodes owns which job: pure functions of the nodes and their job files.

Rendezvous hashing (Thaler and Ravishankar, 1998): each node that has the job gets a number from its name and the job's,
and the highest owns it. So every node reckons the same without asking, and when a node comes or goes, only the jobs
that it gets or had change their owner.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from statistics import median

from tocsin.ipc.cluster import Member

CLOCK_OFF = 5.0  # seconds from the median of all clocks from which on a node owns nothing: it would call at wrong times
CLOCKS = 3  # from which on there is a median that one wrong clock does not decide

Roster = Mapping[str, str]  # each job of a file, and the hash of its definition; "" where it is disabled


def owner(job: str, nodes: Iterable[str]) -> str:
    """Of at least one node."""
    return max(nodes, key=lambda node: (blake2b(f"{node}\0{job}".encode(), digest_size=8).digest(), node))


def fit(nodes: Collection[Member]) -> list[Member]:
    """Those that may own jobs: alive, staying, and with a clock that is about right."""
    live = [one for one in nodes if one.state == "live"]
    if len(live) + 1 < CLOCKS:
        return live
    middle = median([0.0, *(one.clock_off for one in live)])  # 0: the server's
    return [one for one in live if abs(one.clock_off - middle) <= CLOCK_OFF]


def share(me: str, nodes: Collection[Member], rosters: Mapping[str, Roster], enabled: Iterable[str]) -> set[str]:
    """The jobs that the session `me` is to own, of those that it has enabled. Another node counts for a job from the
    moment on at which it has told that it has the job enabled."""
    others = [(one.node, rosters.get(one.roster, {})) for one in fit(nodes) if one.session != me]
    mine = next((one.node for one in fit(nodes) if one.session == me), None)
    if mine is None:
        return set()
    return {job for job in enabled if owner(job, [mine, *(node for node, has in others if has.get(job))]) == mine}

"""What this node knows of the nodes that share the ledger, and which jobs it should own."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from msgspec import Struct

from tocsin import log, share
from tocsin.config import Job
from tocsin.ipc.cluster import Member, Members, RosterPart


class Difference(Struct, frozen=True):
    """How the job file of another node differs from this one's."""

    lacks: tuple[str, ...]  # jobs that are enabled here but not there
    more: tuple[str, ...]  # jobs that are enabled there but not here
    differs: tuple[str, ...]  # jobs whose definitions differ


def roster(jobs: Mapping[str, Job]) -> dict[str, str]:
    """Return what the other nodes are told about the job file."""
    return {name: job.fingerprint if job.enabled else "" for name, job in sorted(jobs.items())}


def roster_hash(jobs: Mapping[str, str]) -> str:
    lines = "\n".join(f"{name} {definition}" for name, definition in jobs.items())
    return blake2b(lines.encode(), digest_size=8).hexdigest()


class Nodes:
    def __init__(self) -> None:
        self.members: Members | None = None
        self._rosters: dict[str, dict[str, str]] = {}
        self._parts: dict[str, dict[str, str]] = {}  # of rosters that are not complete yet
        self._was_fit = True
        self._mine = ""  # the hash of this node's own roster

    def load(self, hash_: str, jobs: dict[str, str]) -> None:
        """Take this node's own roster. It may also be another node's, if both have the same file."""
        self._mine = hash_
        self._rosters[hash_] = jobs

    def hear(self, message: Members | RosterPart) -> None:
        if isinstance(message, RosterPart):
            self._parts.setdefault(message.hash, {}).update(message.jobs)
            if message.last:
                self._rosters[message.hash] = self._parts.pop(message.hash)
            return
        self.members = message
        named = {self._mine, *(one.roster for one in message.nodes)}
        self._rosters = {hash_: jobs for hash_, jobs in self._rosters.items() if hash_ in named}
        self._say_clock(message)

    def _say_clock(self, members: Members) -> None:
        me = next((one for one in members.nodes if one.session == members.me), None)
        fits = me is None or me.state != "live" or me in share.fit(members.nodes)
        if me and not fits and self._was_fit:
            off = f"{me.clock_off:+.1f} s from the server's"
            log.error("the clock of this machine is wrong: this node runs no jobs until it is right", clock=off)
        elif fits and not self._was_fit:
            log.info("the clock of this machine is right again")
        self._was_fit = fits

    def forget(self) -> None:
        """Forget the nodes: what was known of them is out of date."""
        self.members = None

    def sharing(self) -> list[tuple[str, str]]:
        """Return what this node's share depends on besides its own jobs: the nodes that may own jobs, and their
        rosters."""
        return [] if self.members is None else [(one.session, one.roster) for one in share.fit(self.members.nodes)]

    def share(self, enabled: Iterable[str]) -> set[str]:
        """Return which of its enabled jobs this node should own."""
        if self.members is None:
            return set()
        return share.share(self.members.me, self.members.nodes, self._rosters, enabled)

    def difference(self, other: Member, mine: Mapping[str, str]) -> Difference | None:
        """Return how the files differ. Returns None if they are the same, or if the other one is not known yet."""
        theirs = self._rosters.get(other.roster)
        if theirs is None:
            return None
        lacks = tuple(name for name, definition in mine.items() if definition and not theirs.get(name))
        more = tuple(name for name, definition in theirs.items() if definition and not mine.get(name))
        differs = tuple(name for name, one in mine.items() if one and theirs.get(name) and theirs[name] != one)
        return Difference(lacks, more, differs) if lacks or more or differs else None

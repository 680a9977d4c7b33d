"""Illnesses, outages and the news about them, as the notifier keeps them. All of it survives a restart."""

from typing import Literal

from msgspec import Struct

Kind = Literal["unreachable", "unauthorized", "failing", "stalled", "overdue", "daemon"]

OF_DAEMON = "!"  # begins the name of a patient that is not a job


class Ill(Struct, frozen=True):
    """What is wrong with a job or with the daemon. `urgent`: it is bad enough to notify people."""

    kind: Kind
    why: str
    since: float
    urgent: bool = True
    next_try: float | None = None
    last_success: float | None = None
    failures: int = 0


class Patient(Struct, frozen=True):
    """The present state of a job or of a part of the daemon. For a part of the daemon, `host` says in a few words what
    is wrong. `ran` is when the job's last run ended, `missed` counts its missed slots, and `missed_at` is when some
    were found last. `heeded`: an outage may begin with it."""

    name: str
    host: str = ""
    ill: Ill | None = None
    ran: float = 0.0
    missed: int = 0
    missed_at: float = 0.0
    heeded: bool = True


class Member(Struct, frozen=True):
    ill: Ill | None  # None: it is well again
    ran: float
    told: bool = False


class Outage(Struct, frozen=True):
    """`due` is when to report it or its end."""

    kind: Kind
    subject: str  # the host or the job; for the daemon, what is wrong in a few words
    host: str
    since: float
    members: dict[str, Member]
    due: float | None
    told: float | None = None
    ended: float | None = None  # when the first of its jobs recovered, if none has failed since
    recovered: tuple[str, ...] = ()  # jobs that recovered before the others
    flapping: bool = False

    @property
    def ill(self) -> dict[str, Ill]:
        """Return the jobs that are ill, and why."""
        return {name: one.ill for name, one in self.members.items() if one.ill}


class State(Struct, frozen=True):
    outages: dict[str, Outage] = {}
    told: dict[str, tuple[float, ...]] = {}  # key -> when its outages were reported within the last FLAP_SPAN
    pardoned: dict[str, float] = {}  # jobs whose outage is over but that have not run since -> their last run
    missed: dict[str, tuple[int, float]] = {}  # job -> its known missed slots, and when some were found last
    missing: dict[str, int] = {}  # job -> missed slots that are not reported yet
    missed_due: float | None = None
    missed_told: float = 0.0


class Began(Struct, frozen=True, tag=True):
    """`names` are the jobs to name. If this is not the first message, earlier ones named the others."""

    outage: Outage
    names: tuple[str, ...]
    first: bool


class Ended(Struct, frozen=True, tag=True):
    """`waiting` has the jobs that have not run since, and when each runs next."""

    outage: Outage
    waiting: dict[str, float | None]
    at: float


class SlotsMissed(Struct, frozen=True, tag=True):
    jobs: dict[str, int]


News = Began | Ended | SlotsMissed

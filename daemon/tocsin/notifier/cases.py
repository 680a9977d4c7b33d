"""What the notifier knows of illnesses and outages, and the news that follow. All of it is kept over a restart."""

from typing import Literal

from msgspec import Struct

Kind = Literal["unreachable", "unauthorized", "failing", "stalled", "overdue", "daemon"]


OF_DAEMON = "!"  # begins the names of what is no job


class Ill(Struct, frozen=True):
    """What is wrong with a job, or with the daemon. `urgent`: enough of it to tell someone."""

    kind: Kind
    why: str
    since: float
    urgent: bool = True
    next_try: float | None = None
    last_success: float | None = None
    failures: int = 0


class Patient(Struct, frozen=True):
    """A job as it is now, or a part of the daemon: then `host` says in a few words what is wrong. `ran` is when its
    last run ended; `missed` are its missed slots so far, `missed_at` when some were found last. `heeded`: whether an
    outage may begin with it."""

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
    """`due` is when to tell of it, or of its end."""

    kind: Kind
    subject: str  # the host, or the job; of the daemon what is wrong in a few words
    host: str
    since: float
    members: dict[str, Member]
    due: float | None
    told: float | None = None
    ended: float | None = None  # when the first of its jobs was well again, with none that failed since
    recovered: tuple[str, ...] = ()  # jobs that were well again while others were not
    flapping: bool = False

    @property
    def ill(self) -> dict[str, Ill]:
        """The jobs that are not well, and why."""
        return {name: one.ill for name, one in self.members.items() if one.ill}


class State(Struct, frozen=True):
    outages: dict[str, Outage] = {}
    told: dict[str, tuple[float, ...]] = {}  # key -> when outages of it were told within the last FLAP_SPAN
    pardoned: dict[str, float] = {}  # jobs whose outage is over, and that have not run since -> their last run
    missed: dict[str, tuple[int, float]] = {}  # job -> its missed slots that are known, and when some were found
    missing: dict[str, int] = {}  # job -> missed slots to be told
    missed_due: float | None = None
    missed_told: float = 0.0


class Began(Struct, frozen=True, tag=True):
    """`names` are the jobs to name; where this is not the first message, the outage has others that were named."""

    outage: Outage
    names: tuple[str, ...]
    first: bool


class Ended(Struct, frozen=True, tag=True):
    """`waiting` are jobs that have not run since, with their next try."""

    outage: Outage
    waiting: dict[str, float | None]
    at: float


class SlotsMissed(Struct, frozen=True, tag=True):
    jobs: dict[str, int]


News = Began | Ended | SlotsMissed

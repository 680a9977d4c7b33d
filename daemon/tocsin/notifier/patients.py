"""Whether a job, a part of the daemon or a node is ill, by the same rules as everywhere: tocsin.health and
tocsin.patience."""

from tocsin.health import Trouble, judge
from tocsin.ipc.cluster import Members
from tocsin.ipc.exporter import JobStatus
from tocsin.ipc.fates import FATES
from tocsin.notifier.cases import OF_DAEMON, Ill, Kind, Patient
from tocsin.patience import alert_after
from tocsin.schedule.expected import Expected

TOLD: frozenset[str] = frozenset(
    {"silent", "ledger", "job file"}
)  # troubles of the daemon of which people are notified


class Patients:
    """Remembers of each job what its schedule expects, and when it began to fail."""

    def __init__(self, began: float) -> None:
        """`began` is Unix time. If nothing else is known of a job, a success is expected from then on."""
        self._began = began
        self._expected: dict[str, Expected] = {}
        self._failing_since: dict[str, float] = {}

    def forget(self, name: str) -> None:
        self._expected.pop(name, None)
        self._failing_since.pop(name, None)

    def of(self, status: JobStatus, now: float, process: str, *, held: bool) -> Patient | None:
        """Return the job's state. Returns None if it is unknown: the ledger has not sent the job's record yet, or no
        job can be called (`held`). `process` is the state of its process as proc(5) writes it."""
        if status.counts is None:
            return None
        fails, callable_ = bool(status.consecutive_failures), not held and not status.paused
        if not fails:
            self._failing_since.pop(status.name, None)
            if not callable_:
                return None
        ill = self._standing(status, now, process) if callable_ else None
        if fails and (ill is None or ill.kind == "overdue"):
            ill = self._failing(status)
        return Patient(
            status.name,
            status.host,
            ill,
            status.last_run or 0.0,
            status.counts.get("missed", 0),
            status.missed_at or 0.0,
            heeded=not status.paused,
        )

    def _failing(self, status: JobStatus) -> Ill:
        failures, last_run = status.consecutive_failures, status.last_run or 0.0
        since = self._failing_since.setdefault(status.name, last_run)
        kind: Kind = "unreachable" if status.unreachable else "failing"
        if status.last_outcome == "unauthorized":
            kind = "unauthorized"
        next_due = self._expects(status).next_due(status, last_run)
        patience = status.notify_after or alert_after(status.alert_after, last_run, next_due)
        at_once = kind == "unauthorized" and not status.notify_after  # another try will not help
        words = FATES[status.last_outcome].words if status.last_outcome else "not known"
        return Ill(
            kind,
            words + (f": {status.last_detail}" if status.last_detail else ""),
            since,
            urgent=at_once or failures >= patience,
            next_try=status.next_fire,
            last_success=status.last_success,
            failures=failures,
        )

    def _standing(self, status: JobStatus, now: float, process: str) -> Ill | None:
        judged = judge(status, now, self._expects(status).deadline(status, self._began), process)
        if judged.health not in ("stalled", "overdue"):
            return None
        kind: Kind = "stalled" if judged.health == "stalled" else "overdue"
        return Ill(kind, judged.why, now, next_try=status.next_fire, last_success=status.last_success)

    def _expects(self, status: JobStatus) -> Expected:
        return self._expected.setdefault(status.name, Expected())


def of_daemon(found: list[Trouble], now: float) -> list[Patient]:
    """Return the parts of the daemon of which people are notified, each well or ill."""
    ill = {one.what: one for one in found}
    patients = []
    for what in sorted(TOLD):
        one = next((trouble for name, trouble in ill.items() if name == what), None)
        patients.append(
            Patient(OF_DAEMON + what, one.words if one else "", Ill("daemon", one.why, now) if one else None, now)
        )
    return patients


NODE = OF_DAEMON + "node "


def of_nodes(members: Members, now: float) -> list[Patient]:
    """Return the nodes that share the ledger, if this node reports them. Only one live node does, so that people are
    notified once."""
    live = [one for one in members.nodes if one.state == "live"]
    if not live or min(one.session for one in live) != members.me:
        return []
    here = {one.node for one in members.nodes if one.state != "dead"}
    why = "It does not answer the ledger's server any more. The other nodes run its jobs, if they have them."
    return [
        Patient(
            NODE + name,
            f"The node {name} is lost",
            None if name in here else Ill("daemon", why, now),
            now,
        )
        for name in sorted({one.node for one in members.nodes})
    ]

"""The verdict: what the target wrote down against the ledger's rows, as Jepsen checked Chronos."""

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from clustered.observer import Seen
from clustered.target import Call

LATE = 0.25  # seconds that a call may take to arrive
STILL = 8.0  # seconds without a row at the end: such a job stands still (a restart takes less)
TROUBLED = 3.5  # seconds after a fault in which its node may be given up


@dataclass
class Fault:
    kind: str
    node: str  # "" for all
    at: float
    until: float


@dataclass
class Verdict:
    wrong: dict[str, list[str]] = field(default_factory=dict)  # rule -> cases
    said: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not any(self.wrong.values())


def judge(calls: list[Call], seen: Seen, faults: list[Fault], jobs: set[str], end: float) -> Verdict:
    """`end` is when the nodes began to stop."""
    rows = seen.rows
    lives: dict[str, list[tuple[float, str]]] = defaultdict(list)  # session -> its states, each with its beginning
    for at, session, _, state, _ in seen.nodes:
        lives[session].append((at, state))
    deaths = {session: [at for at, state in states if state == "dead"] for session, states in lives.items()}
    watched = min((at for at, *_ in seen.grants), default=0.0)
    joined: dict[str, float] = {}
    for at, session, *_ in seen.nodes:
        joined.setdefault(session, at)
    granted = {run: (at, session) for at, _, run, session in seen.grants}
    keys = {(row["job"], row["run_id"], row["attempt"]) for row in rows if row["outcome"]}
    times = Counter((call.job, call.run_id, call.attempt) for call in calls)
    runs = Counter((call.job, call.run_id) for call in calls)
    by_key = {(row["job"], row["run_id"]): row for row in rows if row["run_id"]}
    wrong = {
        "called twice": [f"{job} {run}: {many} times" for (job, run), many in runs.items() if many > 1],
        "called after being given up": [
            f"{call.job} {call.run_id} by {call.node}, {call.at - dead:.2f} s late"
            for call in calls
            if call.run_id in granted
            and (dead := _next_death(deaths[granted[call.run_id][1]], granted[call.run_id][0]))
            and call.at > dead + LATE
        ],
        "granted after being given up": [
            f"{job} {run} {at - lives[session][place][0]:.2f} s late"
            for at, job, run, session in seen.grants
            if (place := bisect_right(lives[session], (at, "~")) - 1) >= 0 and lives[session][place][1] == "dead"
        ],
        "called without a grant": [
            f"{call.job} {call.run_id} by {call.node}"
            for call in calls
            if call.run_id not in granted and call.at > watched
        ],
        "calls without a row": [f"{job} {run}" for job, run, attempt in times if (job, run, attempt) not in keys],
        "called, and the row says that it was not": [
            f"{call.job} {call.run_id}: {row['reason']}"
            for call in calls
            if (row := by_key.get((call.job, call.run_id))) and not row["outcome"]
        ],
        "successes without a call": [
            f"{row['job']} {row['run_id']}"
            for row in rows
            if row["outcome"] == "success" and (row["job"], row["run_id"]) not in runs
        ],
        "runs that never end": [f"{job} {run}" for job, run in seen.open],
        "given up though well": [
            f"{node} at {at:.1f}"
            for at, session, node, state, _ in seen.nodes
            if state == "dead" and at < end and not _troubled(faults, node, joined[session], at)
        ],
        **_slots(seen, jobs, end),
    }
    verdict = Verdict(wrong)
    fates = Counter(str(row["outcome"] or row["reason"]) for row in rows for _ in range(row["count"]))
    verdict.said.append(f"slots {fates.total()}: " + ", ".join(f"{fate} {many}" for fate, many in fates.most_common()))
    verdict.said.append(f"calls {len(calls)}, by node {dict(sorted(Counter(call.node for call in calls).items()))}")
    verdict.said.append(f"given up: {sum(map(len, deaths.values()))} times")
    verdict.said += _take_overs(calls, seen, faults)
    return verdict


def _next_death(deaths: list[float], at: float) -> float | None:
    """The first after then. A session that was given up may join anew."""
    place = bisect_right(deaths, at)
    return deaths[place] if place < len(deaths) else None


def _troubled(faults: list[Fault], node: str, joined: float, at: float) -> bool:
    """Whether the node itself was hit, or killed since it joined. A restart or outage of the database is no reason to
    give anybody up."""
    own = [fault for fault in faults if fault.node == node or fault.kind == "kill all"]
    return any(
        fault.at <= at <= fault.until + TROUBLED or (fault.kind.startswith("kill") and joined <= fault.at <= at)
        for fault in own
    )


def _slots(seen: Seen, jobs: set[str], end: float) -> dict[str, list[str]]:
    """Each second of each job has one row."""
    without, two, still = [], [], []
    spans: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for row in seen.rows:
        if row["attempt"] == 0:
            spans[row["job"]].append((int(row["due"]), int(row["last"]), row["count"]))
    for job in sorted(jobs):
        rows = sorted(spans[job])
        if not rows or max(last for _, last, _ in rows) < end - STILL:
            still.append(f"{job}: nothing since {end - max((last for _, last, _ in rows), default=0):.0f} s")
        for first, last, count in rows:
            if last - first + 1 != count:
                without.append(f"{job}: {count} of {last - first + 1} slots from {first}")
        for (_, last, _), (first, _, _) in pairwise(rows):
            if first > last + 1:
                without.append(f"{job}: {first - last - 1} slots from {last + 1}")
            elif first <= last:
                two.append(f"{job}: {last + 1 - first} slots from {first}")
    return {"slots without a row": without, "slots with two rows": two, "jobs that stand still": still}


def _take_overs(calls: list[Call], seen: Seen, faults: list[Fault]) -> list[str]:
    """From the death of a node to the first call of each of its jobs by another, and by whomever."""
    names = {session: node for _, session, node, _, _ in seen.nodes}
    owners: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for at, job, session in seen.owners:
        owners[job].append((at, names.get(session or "", "")))
    by_job: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_job[call.job].append(call)
    claimed, called = [], []
    for fault in faults:
        if fault.kind != "kill":
            continue
        for job, moves in owners.items():
            place = bisect_right(moves, (fault.at, "￿")) - 1
            if place < 0 or moves[place][1] != fault.node:
                continue
            if other := next((at for at, node in moves[place + 1 :] if node and node != fault.node), None):
                claimed.append(other - fault.at)
                first = next((call.at for call in by_job[job] if call.at > fault.at and call.node != fault.node), None)
                called += [first - fault.at] if first else []
    return [_spread("taken over after a kill, s", claimed), _spread("called by the new owner, s", called)]


def _spread(what: str, values: list[float]) -> str:
    if not values:
        return f"{what}: none"
    values.sort()
    return f"{what}: median {values[len(values) // 2]:.1f}, worst {values[-1]:.1f} ({len(values)} jobs)"

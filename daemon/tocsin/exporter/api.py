"""The replies of /healthz, /readyz and /api/jobs. Instants are RFC 3339 in UTC, durations are seconds."""

from typing import Any

import msgspec

from tocsin import health
from tocsin.exporter.pieces import SLOW_PIECE, Work, pieces
from tocsin.exporter.state import KnownJob, Slot, State
from tocsin.health import Judged
from tocsin.timestamps import rfc3339

_SLOT_INSTANTS = ("due", "last", "started", "finished")


def instant(seconds: float | None) -> str | None:
    """Write Unix seconds as RFC 3339 with milliseconds, as in the log."""
    return None if seconds is None else rfc3339(seconds, milliseconds=True)


def liveness(state: State, clock: float) -> tuple[int, dict[str, Any]]:
    """Liveness: 200 while the parent sends messages. A restart repairs an error. `clock` is monotonic seconds."""
    why = [one.why for one in state.troubles(clock) if one.what == "silent"]
    answer: dict[str, Any] = {"status": "silent" if why else "ok", "heard_seconds_ago": round(state.silence(clock), 3)}
    return (503, answer | {"why": why[0]}) if why else (200, answer)


def readiness(state: State, now: float, clock: float) -> Work[tuple[int, dict[str, Any]]]:
    """Readiness: 200 while every enabled job can be called: nothing holds up the daemon, and no job is stalled."""
    stalled = yield from state.stalled(now, clock)
    missing = [*(str(one) for one in state.troubles(clock) if one.holds), *stalled]
    return (503 if missing else 200), {"status": "waiting" if missing else "ready", "missing": missing}


def job_list(state: State, now: float, clock: float) -> Work[bytes]:
    """Return the JSON of all jobs, each as it is when its turn comes."""
    state.want_memory(clock)
    judged = yield from state.judged(now, clock)
    written = []
    for some in pieces(sorted(judged, key=lambda one: one[0].status.name), SLOW_PIECE):
        written += [msgspec.json.encode(_job(job, health)) for job, health in some]
        yield
    return b"[" + b",".join(written) + b"]"


def one_job(state: State, job: KnownJob, now: float, clock: float) -> dict[str, Any]:
    """Return the job with its last slots, the latest first."""
    state.want_memory(clock)
    shown = _job(job, state.judged_now(job, now, clock))
    return {**shown, "slots": [_slot(slot) for slot in reversed(job.slots)]}


def _job(job: KnownJob, judged: Judged) -> dict[str, Any]:
    return {**health.as_json(job.status, judged, job.memory), "totals": job.totals}


def _slot(slot: Slot) -> dict[str, Any]:
    shown = {name: getattr(slot, name) for name in Slot.__struct_fields__}
    return shown | {"reported": dict(slot.reported)} | {key: instant(shown[key]) for key in _SLOT_INSTANTS}

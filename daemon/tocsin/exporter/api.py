"""What /healthz, /readyz and /api/jobs say. Instants are RFC 3339 in UTC, durations seconds."""

from typing import Any

import msgspec

from tocsin.exporter.state import SILENCE, KnownJob, Slot, State
from tocsin.ipc.messages import JobStatus
from tocsin.timestamps import rfc3339

_INSTANTS = ("process_started", "next_fire", "running_since", "last_run", "last_success", "since")
_SLOT_INSTANTS = ("due", "last", "started", "finished")


def instant(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339 with milliseconds, as the log writes them."""
    return None if seconds is None else rfc3339(seconds, milliseconds=True)


def health(state: State, clock: float) -> tuple[int, dict[str, Any]]:
    """200 while the parent is heard. `clock` is the monotonic one."""
    silence = state.silence(clock)
    heard = silence <= SILENCE
    why = {} if heard else {"why": f"nothing heard of the parent for {silence:.0f} s"}
    answer = {"status": "ok" if heard else "silent", "heard_seconds_ago": round(silence, 3), **why}
    return (200 if heard else 503), answer


def readiness(state: State) -> tuple[int, dict[str, Any]]:
    """200 once every enabled job has a live process and the ledger commits."""
    missing = list(state.unready())
    return (503 if missing else 200), {"status": "waiting" if missing else "ready", "missing": missing}


def job_list(state: State) -> list[dict[str, Any]]:
    return [_job(job) for _, job in sorted(state.jobs.items())]


def one_job(job: KnownJob) -> dict[str, Any]:
    """The job with its last slots, the latest first."""
    return {**_job(job), "slots": [_slot(slot) for slot in reversed(job.slots)]}


def _job(job: KnownJob) -> dict[str, Any]:
    status: JobStatus = job.status
    shown = {**msgspec.structs.asdict(status), "totals": job.totals}
    return shown | {key: instant(shown[key]) for key in _INSTANTS}


def _slot(slot: Slot) -> dict[str, Any]:
    shown = {name: getattr(slot, name) for name in Slot.__struct_fields__}
    return shown | {"reported": dict(slot.reported)} | {key: instant(shown[key]) for key in _SLOT_INSTANTS}

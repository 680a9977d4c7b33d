"""The headers of a request: who calls, which run this is, and the proof that it is us."""

import os
from datetime import UTC, datetime

from standardwebhooks import Webhook

from tocsin import __version__
from tocsin.config import Job
from tocsin.instants import rfc3339
from tocsin.messages import Ask
from tocsin.secret import Secret

USER_AGENT = f"Tocsin/{__version__}"


def headers(job: Job, ask: Ask, attempt: int, secret: Secret | None, now: float) -> dict[str, str]:
    """The headers of one attempt at Unix time `now`. The job's own win over ours, the proofs over all."""
    ours = {
        "User-Agent": USER_AGENT,
        "Accept": "application/json, text/plain;q=0.9, */*;q=0.5",
        "X-Tocsin-Job": job.name,
        "X-Tocsin-Scheduled-At": rfc3339(ask.due),
        "X-Tocsin-Attempt": str(attempt),
        "X-Tocsin-Trigger": ask.trigger,
        "traceparent": f"00-{ask.run_id.replace('-', '')}-{os.urandom(8).hex()}-01",
    }
    fixed = {"Connection": "close", "Idempotency-Key": ask.run_id}
    if carried := secret.header() if secret else None:
        fixed[carried[0]] = carried[1]
    if job.signing_secret:
        fixed |= signature(job.signing_secret, ask.run_id, now, job.body or b"")
    merged: dict[str, tuple[str, str]] = {}
    for name, value in (*ours.items(), *job.headers, *fixed.items()):
        merged[name.lower()] = name, value
    return dict(merged.values())


def signature(secret: Secret, run_id: str, now: float, body: bytes) -> dict[str, str]:
    """Standard Webhooks (github.com/standard-webhooks): the run id is the message's, the same across attempts."""
    signed = Webhook(secret.value).sign(run_id, datetime.fromtimestamp(now, UTC), body.decode())
    return {"webhook-id": run_id, "webhook-timestamp": str(int(now)), "webhook-signature": signed}

"""The head of a request: it names the caller and the run, and has the secret or signature as proof."""

import os
from datetime import UTC, datetime
from urllib.parse import SplitResult

from standardwebhooks import Webhook

from tocsin import __version__
from tocsin.config import Job
from tocsin.config.secrets import Secret
from tocsin.ipc.job import Ask
from tocsin.jobfile.urls import host_to_resolve
from tocsin.timestamps import rfc3339

USER_AGENT = f"Tocsin/{__version__}"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHANGING = {  # these differ between requests; the job's own headers override them too
    "X-Tocsin-Scheduled-At": "%(due)s",
    "X-Tocsin-Attempt": "%(attempt)d",
    "X-Tocsin-Trigger": "%(trigger)s",
    "traceparent": "00-%(trace)s-%(span)s-01",
}
_WITH_BODY = ("POST", "PUT", "PATCH")  # methods for which a server expects a length even without a body (RFC 9110, 8.6)


class Head:
    """Writes the part that is the same in each request of a job once, before the fork.

    The job's own headers override Tocsin's, and secret and signature override all. All parts are printable ASCII, which
    `tocsin.jobfile` and `tocsin.config.secrets` have checked.
    """

    def __init__(self, job: Job, url: SplitResult, secret: Secret | None) -> None:
        self._job = job
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        target = secret.into_query(target) if secret else target
        carried = secret.header() if secret else None
        same = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json, text/plain;q=0.9, */*;q=0.5",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-cache",  # a cached reply would mean that the handler did not run
            "X-Tocsin-Job": job.name,
        }
        proofs = {"Connection": "close"} | dict([carried] if carried else [])
        if job.body is not None or job.method in _WITH_BODY:
            proofs["Content-Length"] = str(len(job.body or b""))
        each_time = {"idempotency-key", *(name.lower() for name in self._signature("", 0.0))}
        merged: dict[str, tuple[str, str]] = {}
        for name, value in (*same.items(), *job.headers, *proofs.items()):
            merged[name.lower()] = name, value
        lines = [f"{job.method} {target} HTTP/1.1", f"Host: {_host(url)}"]
        lines += [f"{name}: {value}" for lower, (name, value) in merged.items() if lower not in each_time]
        changing = [f"{name}: {value}" for name, value in _CHANGING.items() if name.lower() not in merged]
        self._same = "\r\n".join([*lines, ""])
        self._changing = "\r\n".join([*changing, "Idempotency-Key: %(run_id)s", ""])

    def of(self, ask: Ask, attempt: int, now: float) -> bytes:
        """Return the head of one attempt at Unix time `now`, which is part of the signature."""
        values = {
            "due": rfc3339(ask.due),
            "attempt": attempt,
            "trigger": ask.trigger,
            "trace": ask.run_id.replace("-", ""),
            "span": os.urandom(8).hex(),
            "run_id": ask.run_id,
        }
        head = self._same + self._changing % values
        if self._job.signing_secret:
            head += "".join(f"{name}: {value}\r\n" for name, value in self._signature(ask.run_id, now).items())
        return (head + "\r\n").encode("ascii")

    def _signature(self, run_id: str, now: float) -> dict[str, str]:
        """Sign by Standard Webhooks (github.com/standard-webhooks). The message id is the run id, also in retries."""
        secret = self._job.signing_secret
        if secret is None:
            return {}
        signed = Webhook(secret.value).sign(run_id, datetime.fromtimestamp(now, UTC), (self._job.body or b"").decode())
        return {"webhook-id": run_id, "webhook-timestamp": str(int(now)), "webhook-signature": signed}


def _host(url: SplitResult) -> str:
    """Return the value of Host (RFC 9110, 7.2), without a default port or an address's zone (RFC 6874, 4)."""
    host = host_to_resolve(url.hostname or "").partition("%")[0].rstrip(".")
    host = f"[{host}]" if ":" in host else host
    return host if url.port in (None, _DEFAULT_PORTS.get(url.scheme)) else f"{host}:{url.port}"

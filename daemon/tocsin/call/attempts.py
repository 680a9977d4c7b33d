"""One run of a granted slot: its attempts, under one deadline, ending in one Finished."""

import contextlib
import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from tocsin import log
from tocsin.call.deadline import Cancelled, DeadlinePassed, deadline
from tocsin.call.failures import proxy_note
from tocsin.call.kept import told, tried
from tocsin.call.line import Took
from tocsin.call.request import Attempt, Caller, NotSent, Progress
from tocsin.call.verdict import Verdict, status_class
from tocsin.config import Job
from tocsin.config.secrets import SecretError
from tocsin.ipc.channel import Readable
from tocsin.ipc.job import Ask, Finished
from tocsin.ipc.tried import Tried
from tocsin.ipc.types import DETAIL_LENGTH, ErrorKind, StatusClass

_random = random.SystemRandom()  # has no state that children would inherit at the fork
BACKOFF = (1.0, 30.0)  # seconds before the first retry, and the longest: an app's restart takes about 3 s
LEAST_LEAD = 0.03  # seconds: on a busy machine a process may wake this late
TOOK, TOOK_TLS = 0.02, 0.06  # seconds that arming is assumed to take, until it has been measured
TOOK_AT_MOST = 0.8  # seconds assumed at most, after arming that did not finish


class _Record(msgspec.Struct):
    """The run so far. It outlives the exception that ends the run."""

    number: int  # of the attempt, from 0
    retried: int = 0
    reread: bool = False  # whether the secret's file was read again, after a 401
    under_way: Progress | None = None  # the current attempt
    first: Progress | None = None  # the first attempt that sent its request
    status: int | None = None  # of the last attempt
    responses: list[StatusClass] = []
    errors: list[ErrorKind] = []
    tried: list[Tried] = []  # the finished attempts
    verdict: Verdict | None = None  # of the last of them

    def begin(self) -> Progress:
        self.under_way = Progress()
        return self.under_way

    def end(self, caller: Caller, verdict: Verdict, error: ErrorKind | None = None) -> None:
        """The current attempt ended or was interrupted."""
        progress, took = (self.under_way, caller.took) if self.under_way else (Progress(), Took())
        self.tried.append(tried(caller.job, caller.secret, verdict, progress, took))
        self.under_way, self.verdict = None, verdict
        if self.first is None and progress.sent is not None:
            self.first = progress
        self.status = progress.status
        if progress.status is not None:
            self.responses.append(status_class(progress.status))
        if error:
            self.errors.append(error)


class Endpoint:
    """What a job calls. It is armed shortly before the instant, if there is time, and then called."""

    def __init__(self, job: Job) -> None:
        self._caller = Caller(job)
        self._armed_again: Ask | None = None  # the last slot for which the server had closed the armed connection
        self._took = TOOK_TLS if urlsplit(job.url).scheme == "https" else TOOK  # seconds, the last time

    @property
    def line(self) -> Readable | None:
        """The armed connection. If it is readable before the instant, call `look`."""
        return self._caller.armed

    @property
    def lead(self) -> float:
        """Seconds before the instant to start arming, based on the last time. 0 if the job does not arm.

        It is short, because a server with one worker can do nothing else meanwhile.
        """
        return LEAST_LEAD + 2 * self._took if self._caller.job.arm else 0.0

    def prepare(self, until: float) -> None:
        """Before `arm`, do what the server does not notice, by Unix time `until`: look up its name."""
        left = until - time.time()
        if self._caller.job.arm and left > 0 and not self._caller.needs_no_lookup:
            with contextlib.suppress(DeadlinePassed, Cancelled), deadline(left):
                self._caller.look_up()

    def arm(self, ask: Ask, until: float) -> None:
        """Connect and prepare the call, by Unix time `until`. Sends nothing of the request."""
        left = until - time.time()
        if not self._caller.job.arm or left <= 0:
            return
        began = time.monotonic()
        if self._caller.needs_no_lookup:  # a timeout is enough then
            self._caller.arm(ask, left)
        else:
            try:
                with deadline(left):
                    self._caller.arm(ask, left)
            except (DeadlinePassed, Cancelled):
                self._caller.disarm()
        took = time.monotonic() - began
        if self._caller.armed:
            self._took = took
        elif took >= left:
            self._took = min(2 * took, TOOK_AT_MOST)

    def look(self, ask: Ask, until: float) -> None:
        """The armed connection is readable. If the server closed it or sent data, arm again, once for each slot."""
        if self._caller.armed and not self._caller.armed.is_alive():
            self._caller.disarm()
            if self._armed_again != ask:
                self._armed_again = ask
                self.arm(ask, until)

    def disarm(self) -> None:
        """Close the armed connection: there will be no call."""
        self._caller.disarm()

    def fire(self) -> bool:
        """The instant has come: send the armed request. Returns whether there was one."""
        return self._caller.fire()

    def call(self, ask: Ask, until: float, rest: Callable[[float], bool], may: Callable[[], bool]) -> Finished:
        """Do the rest of the run, or all of it if nothing was armed. Raises NotSent."""
        return perform(self._caller, ask, until, rest, may=may)


def perform(
    caller: Caller,
    ask: Ask,
    until: float,
    rest: Callable[[float], bool],
    now: Callable[[], float] = time.time,
    may: Callable[[], bool] = lambda: True,
) -> Finished:
    """Call the endpoint. After Unix time `until` (the next due instant) no retry starts.

    `rest` waits for some seconds before a retry. It returns False if there must be none. `may` is called just before
    each send, and returns whether the request may still go out. Raises NotSent if the first one may not.
    """
    record = _Record(number=ask.attempt)
    verdict = None
    while verdict is None:
        ends = now() + caller.job.timeout
        try:
            with deadline(caller.job.timeout):
                verdict = _attempts(caller, ask, min(until, ends), rest, now, may, record)
        except DeadlinePassed:
            timed_out = Verdict("timeout", _timeout_detail(caller, record.under_way or Progress()))
            record.end(caller, timed_out)
            again = "timeout" in caller.job.retry_on and record.retried < caller.job.retries and now() < until
            if again:
                record.number, record.retried = record.number + 1, record.retried + 1
            else:
                verdict = timed_out
        except NotSent:
            record.under_way = None
            if record.verdict is None:
                raise
            verdict = record.verdict
        except Cancelled:
            verdict = Verdict("cancelled", "the daemon stopped before the reply came")
            if record.under_way:  # else it was waiting for a retry
                record.end(caller, verdict)
    first = record.first
    return Finished(
        job=ask.job,
        due=ask.due,
        run_id=ask.run_id,
        trigger=ask.trigger,
        attempt=ask.attempt,
        outcome=verdict.outcome,
        detail=verdict.detail[:DETAIL_LENGTH],
        status=record.status,
        started=first.sent if first else None,
        finished=now(),
        lateness=max(0.0, first.sent - ask.due) if first and first.sent is not None else None,
        duration=time.monotonic() - first.clock if first else None,
        reported=verdict.reported,
        reported_errors=verdict.reported_errors,
        responses=tuple(record.responses),
        connection_errors=tuple(record.errors),
        retries=record.number - ask.attempt,
        reply=record.tried[-1].reply if record.tried else "",
        parts=record.tried[-1].parts if record.tried else None,
        attempts=told(record.tried),
        certificate_until=caller.certificate_until,
    )


def _attempts(
    caller: Caller,
    ask: Ask,
    until: float,
    rest: Callable[[float], bool],
    now: Callable[[], float],
    may: Callable[[], bool],
    record: _Record,
) -> Verdict:
    while True:
        one = caller.attempt(ask, record.number, record.begin(), may)
        record.end(caller, one.verdict, one.error)
        if one.verdict.outcome == "unauthorized" and not record.reread and _rotated(caller):
            record.reread = True
            log.info("the secret's file has changed: calling again with the new one", job=ask.job)
        else:
            wait = _wait_before_retry(caller, one, record.retried)
            if wait is None or now() + wait >= until:
                return one.verdict
            log.debug("retry", job=ask.job, run_id=ask.run_id, wait=wait, because=one.verdict.detail)
            if not rest(wait):
                return one.verdict
            record.retried += 1
        record.number += 1


def _rotated(caller: Caller) -> bool:
    """Read the secret's file again. Returns whether the secret changed, and then uses the new one."""
    if caller.secret is None:
        return False
    try:
        fresh = caller.secret.reread()
    except SecretError as error:
        log.error("cannot read the secret's file again", job=caller.job.name, why=str(error))
        return False
    changed = fresh != caller.secret
    caller.use(fresh)
    return changed


def _wait_before_retry(caller: Caller, one: Attempt, retried: int) -> float | None:
    """Return the seconds before the next attempt, or None if there must be none."""
    if not one.retry or retried >= caller.job.retries:
        return None
    if one.retry in ("reset", "5xx") and one.retry not in caller.job.retry_on:
        return None
    first, longest = BACKOFF
    backoff = min(longest, first * 2**retried) * _random.uniform(0.75, 1.25)
    return float(max(backoff, one.retry_after or 0.0))


def _timeout_detail(caller: Caller, progress: Progress) -> str:
    within = f"within {caller.job.timeout:g} s"
    if progress.sent is None:
        return f"no connection to {caller.job.host} {within}{proxy_note(caller.job)}"
    if progress.status is None:
        return f"no reply {within}; the app may still be working on it"
    return f"the reply began (status {progress.status}) and did not end {within}"

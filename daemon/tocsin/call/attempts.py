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
from tocsin.call.kept import kept
from tocsin.call.request import Attempt, Caller, Progress
from tocsin.call.verdict import Verdict, status_class
from tocsin.config import Job
from tocsin.config.secrets import SecretError
from tocsin.ipc.channel import Readable
from tocsin.ipc.job import Ask, Finished
from tocsin.ipc.types import ATTEMPT_LENGTH, ATTEMPTS_TOLD, DETAIL_LENGTH, ErrorKind, Outcome, StatusClass

_random = random.SystemRandom()  # of which nothing is inherited at a fork
BACKOFF = (1.0, 30.0)  # seconds before the first retry, and at most: an app restart refuses for about 3 s
LEAST_LEAD = 0.03  # seconds: a process may wake that late on a busy machine
TOOK, TOOK_TLS = 0.02, 0.06  # seconds that arming is taken to need, until it was measured
TOOK_AT_MOST = 0.8  # seconds that are believed of arming that did not end


class _Record(msgspec.Struct):
    """What has happened so far; it survives the exception that ends the run."""

    number: int  # of the attempt, from 0
    retried: int = 0
    reread: bool = False  # the secret's file, after a 401
    under_way: Progress | None = None  # of the attempt that is going on
    first: Progress | None = None  # of the first attempt that sent its request
    status: int | None = None  # of the last attempt
    body: bytes = b""  # likewise
    responses: list[StatusClass] = []
    errors: list[ErrorKind] = []
    verdicts: list[Verdict] = []  # of the attempts that are over

    def begin(self) -> Progress:
        self.under_way = Progress()
        return self.under_way

    def end(self, error: ErrorKind | None = None) -> Progress:
        """The attempt under way is over, or was cut off; how far it came."""
        progress, self.under_way = self.under_way or Progress(), None
        if self.first is None and progress.sent is not None:
            self.first = progress
        self.status, self.body = progress.status, progress.body
        if progress.status is not None:
            self.responses.append(status_class(progress.status))
        if error:
            self.errors.append(error)
        return progress


class Endpoint:
    """What a job calls: armed shortly before the instant, where there is time, and then called."""

    def __init__(self, job: Job) -> None:
        self._caller = Caller(job)
        self._armed_anew: Ask | None = None  # for this slot
        self._took = TOOK_TLS if urlsplit(job.url).scheme == "https" else TOOK  # seconds, the last time

    @property
    def line(self) -> Readable | None:
        """The armed connection: `look` when there is something to read before the instant."""
        return self._caller.armed

    @property
    def lead(self) -> float:
        """Seconds that arming should have, by what it took the last time; 0 where nothing is to be armed. A server
        with one worker can do nothing else meanwhile."""
        return LEAST_LEAD + 2 * self._took if self._caller.job.arm else 0.0

    def prepare(self, until: float) -> None:
        """Do before `arm` what no server notices, by Unix time `until`: look its name up."""
        left = until - time.time()
        if self._caller.job.arm and left > 0 and not self._caller.needs_no_lookup:
            with contextlib.suppress(DeadlinePassed, Cancelled), deadline(left):
                self._caller.look_up()

    def arm(self, ask: Ask, until: float) -> None:
        """Prepare the call as far as that gets by Unix time `until`. Nothing is sent yet."""
        left = until - time.time()
        if not self._caller.job.arm or left <= 0:
            return
        began = time.monotonic()
        if self._caller.needs_no_lookup:  # then a timeout is enough
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
        """The server said something, or closed: then arm anew, once."""
        if self._caller.armed and not self._caller.armed.is_alive():
            self._caller.disarm()
            if self._armed_anew != ask:
                self._armed_anew = ask
                self.arm(ask, until)

    def disarm(self) -> None:
        """There will be no call after all."""
        self._caller.disarm()

    def fire(self) -> bool:
        """The instant has come. Whether the request was armed and is on its way."""
        return self._caller.fire()

    def call(self, ask: Ask, until: float, rest: Callable[[float], bool]) -> Finished:
        """The rest of the run, or all of it where nothing was armed."""
        return perform(self._caller, ask, until, rest)


def perform(
    caller: Caller, ask: Ask, until: float, rest: Callable[[float], bool], now: Callable[[], float] = time.time
) -> Finished:
    """Call the endpoint; from Unix time `until` on (the next due) no retry may start any more.

    `rest` waits some seconds before a retry and says whether there is to be one.
    """
    record = _Record(number=ask.attempt)
    verdict = None
    while verdict is None:
        ends = now() + caller.job.timeout
        try:
            with deadline(caller.job.timeout):
                verdict = _attempts(caller, ask, min(until, ends), rest, now, record)
        except DeadlinePassed:
            progress = record.end()
            again = "timeout" in caller.job.retry_on and record.retried < caller.job.retries and now() < until
            if again:
                record.number, record.retried = record.number + 1, record.retried + 1
                record.verdicts.append(Verdict("timeout", _timeout_detail(caller, progress)))
            else:
                verdict = Verdict("timeout", _timeout_detail(caller, progress))
                record.verdicts.append(verdict)
        except Cancelled:
            verdict = Verdict("cancelled", "the daemon stopped before the reply came")
            if record.under_way:  # else it waited for a retry
                record.end()
                record.verdicts.append(verdict)
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
        reply=kept(caller.job.keep_replies, verdict.outcome, record.body),
        attempts=_told(record.verdicts),
    )


def _told(verdicts: list[Verdict]) -> tuple[tuple[Outcome, str], ...]:
    """What became of each attempt; of a single one the run itself says it."""
    if len(verdicts) < 2:
        return ()
    return tuple((one.outcome, one.detail[:ATTEMPT_LENGTH]) for one in verdicts[-ATTEMPTS_TOLD:])


def _attempts(
    caller: Caller,
    ask: Ask,
    until: float,
    rest: Callable[[float], bool],
    now: Callable[[], float],
    record: _Record,
) -> Verdict:
    while True:
        one = caller.attempt(ask, record.number, record.begin())
        record.end(one.error)
        record.verdicts.append(one.verdict)
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
    """Whether the secret's file holds another secret by now; the caller then uses it."""
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
    """Seconds before the next attempt; None when there must be none."""
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

"""Answers the requests of operators' commands."""

import uuid
from collections.abc import Callable
from typing import assert_never

from tocsin.ipc.actions import Acted, Action, Actor, FireJob, PauseJob, ReloadConfig, plain
from tocsin.ipc.control import Done, ListJobs, Note, Refused, Request
from tocsin.ipc.job import Deny, Finished, Fire, Pause, Skipped
from tocsin.jobfile.faults import nearest
from tocsin.parent.changes import named
from tocsin.parent.control import Client
from tocsin.parent.daemon import Daemon
from tocsin.timestamps import rfc3339

FAILED, UNUSABLE = 1, 2  # exit codes of the command: it failed; the request or the job file is wrong
LONGEST_ANSWER = 4000  # characters of an answer: they fit into one message, and nobody reads more


class Commands:
    """`reload` applies the job file and says what changed, or why nothing did."""

    def __init__(self, daemon: Daemon, reload: Callable[[], Done | Refused]) -> None:
        self._daemon = daemon
        self._reload = reload
        self._waiting: dict[tuple[str, float], Client | None] = {}  # who waits for the end of a manual run
        daemon.on_run_over = self._run_over
        daemon.on_job_exit = self._job_exited

    def handle(self, client: Client, request: Request) -> None:
        match request:
            case ListJobs():
                listed = sorted(self._daemon.feed.statuses.values(), key=lambda one: one.name)
                client.say_all([*self._daemon.feed.of_the_daemon(), *listed, Done()])
            case _:
                answer = self.act(request, client)
                if not isinstance(answer, Fire):
                    client.say(answer)

    def act(self, action: Action, client: Client | None = None) -> Done | Refused | Fire:
        """Carry out an action. The result of a fire follows at the end of the run, for `client`."""
        match action:
            case FireJob() | ReloadConfig() if self._daemon.stopping:
                return Refused("the daemon is stopping", FAILED)
            case FireJob():
                return self._fire(action, client)
            case PauseJob():
                return self._pause(action)
            case ReloadConfig(by=by, why=why):
                return self.reload(by, why)
            case _:
                assert_never(action)

    def knows(self, action: Action) -> bool:
        """Whether the job that it is about, if any, is in the job file."""
        return isinstance(action, ReloadConfig) or action.job in self._daemon.config.jobs

    def reload(self, by: Actor, why: str = "") -> Done | Refused:
        answer = self._reload()
        if isinstance(answer, Done):
            self._daemon.jobs.acted(Acted(self._daemon.clock.wall(), "reload", "", by, plain(why)))
        return answer

    def _fire(self, request: FireJob, client: Client | None) -> Refused | Fire:
        """Make the job run now."""
        job = request.job
        if job not in self._daemon.config.enabled_jobs:
            return self._unknown(job)
        jobs, slot = self._daemon.jobs, self._daemon.jobs.slot(job)
        if slot and jobs.is_running(job):
            since = rfc3339(slot.ask.due)
            return Refused(f"{job} is already running, since {since}; a job never runs twice at once", FAILED)
        if not jobs.ledger_writes:
            return Refused(f"the ledger does not commit at the moment, so {job} cannot run; see: tocsin jobs", FAILED)
        if any(name == job for name, _ in self._waiting):
            return Refused(f"a manual run of {job} was already requested and is about to start", FAILED)
        now = round(self._daemon.clock.wall(), 3)
        due = now if now != int(now) else now + 0.001  # never a whole second: those belong to the schedule
        fire = Fire(due, str(uuid.uuid4()))
        if not (jobs.send(job, fire) or jobs.fire_as_guest(job, fire)):
            state = self._daemon.feed.statuses[job].state
            return Refused(f"{job} has no running process at the moment ({state}); see: tocsin jobs", FAILED)
        jobs.acted(Acted(due, "fire", job, request.by, plain(request.why), run_id=fire.run_id))
        self._waiting[job, due] = client
        if slot and client:
            client.say(Note(f"the run due at {rfc3339(slot.ask.due)} comes first"))
        return fire

    def _pause(self, request: PauseJob) -> Done | Refused:
        """Of a paused job, a pause sets another end and reason."""
        job, paused, until, why = request.job, request.paused, request.until, plain(request.why)
        if job not in self._daemon.config.enabled_jobs:
            return self._unknown(job)
        now = self._daemon.clock.wall()
        if until is not None and until <= now:
            return Refused(f"the pause would end at {rfc3339(until)}, which has passed", UNUSABLE)
        jobs, status = self._daemon.jobs, self._daemon.feed.statuses[job]
        if jobs.is_known(job) and not paused and not status.paused:
            return Done(f"{job} was not paused")
        end = f" until {rfc3339(until)}" if until is not None else ""
        if status.paused and paused and (until, why) == (status.paused_until, status.paused_why):
            return Done(f"{job} is already paused{end}")
        event = Pause(job, paused, now, until, why, request.by.name) if paused else Pause(job, False, now)
        kept = jobs.pause(event, Acted(now, "pause" if paused else "resume", job, request.by, why, event.until))
        but = "" if kept else "; the ledger cannot write now, so a restart would forget this"
        return Done(f"{job} is {'paused' if paused else 'resumed'}{end}{but}")

    def _unknown(self, job: str) -> Refused:
        jobs = self._daemon.config.jobs
        if job in jobs:
            return Refused(f"{job} is disabled in the job file", FAILED)
        guess = nearest(job, jobs) or f"; there are: {named(sorted(jobs))}"
        return Refused(f"there is no job {job[:100]!r}{guess}"[:LONGEST_ANSWER], UNUSABLE)

    def _run_over(self, event: Finished | Skipped | Deny) -> None:
        due = event.first if isinstance(event, Skipped) else event.due
        client = self._waiting.pop((event.job, due), None)
        if client is None:
            return
        if isinstance(event, Finished):
            client.say(event)
        else:
            why = event.why if isinstance(event, Deny) else event.detail
            client.say(Refused(f"{event.job} did not run: {why}", FAILED))

    def _job_exited(self, job: str) -> None:
        """The process died before it asked for the slots of manual runs: tell their clients."""
        for key in [key for key in self._waiting if key[0] == job]:
            if client := self._waiting.pop(key):
                client.say(Refused(f"{job} did not run: its process died", FAILED))

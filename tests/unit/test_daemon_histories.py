"""The parent as histories: what its children and its operators say, and what it does then. Nothing is forked, and
nothing waits.
"""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from config_rig import Load
from daemon_rig import CLEAN, CRASH, Parent, T, Waiting
from tocsin.config import Config
from tocsin.ipc.actions import Acted, Action, Actor, Answered, FireJob, PauseJob, ReloadConfig, Requested
from tocsin.ipc.control import Done, ListJobs, Note, Refused
from tocsin.ipc.exporter import ConfigLoaded, JobStatus, ProcessUp, Started
from tocsin.ipc.job import CANCEL, Ask, Deny, Finished, Fire, Grant, Pause, Release, Skipped, Sleeping, Stop
from tocsin.ipc.ledger import Entry, LedgerTrouble, LedgerUnusable
from tocsin.ipc.record import JobRecord
from tocsin.jobfile.faults import ConfigError, Fault
from tocsin.parent.lifecycle import ExitStatus
from tocsin.parent.remote import BURST, Remote
from tocsin.parent.requests import Commands

DUE = T + 60
TEXT = """
[target]
base_url = "https://app.example.com"
send_secret = "none"
[jobs.tick]
schedule = "* * * * *"
path = "/tick"
[jobs.off]
schedule = "* * * * *"
path = "/off"
enabled = false
"""
ASK = Ask("tick", DUE, "run-1")
RUN = Finished("tick", DUE, "run-1", "schedule", 0, "success", finished=DUE + 1.0)


@pytest.fixture
def config(load: Load) -> Config:
    return load(TEXT)


@pytest.fixture
def parent(config: Config) -> Parent:
    """With the ledger open and every process up."""
    one = Parent(config)
    one.ledger_opens()
    return one


def bodies(parent: Parent, kind: type[Any]) -> list[Any]:
    return [entry.body for entry in parent.sent("ledger", Entry) if isinstance(entry.body, kind)]


def paused(parent: Parent, paused: bool) -> bool:
    """Whether the ledger keeps it."""
    return parent.daemon.jobs.pause(Pause("tick", paused, T), Acted(T, "pause", "tick", Actor()))


def granted(parent: Parent) -> None:
    parent.says("job tick", ASK)
    parent.ledger_commits()


# ---- a beginning, a run


def test_jobs_are_forked_when_the_ledger_has_told_of_them(config: Config) -> None:
    parent = Parent(config)
    assert parent.forked.keys() == {"ledger", "exporter"}
    parent.ledger_opens()
    assert parent.forked.keys() == {"ledger", "exporter", "job tick"}, "a disabled job has no process"
    assert {one.process for one in parent.sent("exporter", ProcessUp)} >= {"ledger", "exporter", "job"}


def test_a_run(parent: Parent) -> None:
    parent.says("job tick", Sleeping("tick", DUE), ASK)
    (ask,) = bodies(parent, Ask)
    assert isinstance(ask, Ask)
    assert ask.owner.endswith("/1"), "the parent says which life of the process asks"
    assert parent.sent("job tick", Grant) == [], "not before it is committed"
    parent.ledger_commits()
    assert parent.sent("job tick", Grant) == [Grant("tick", DUE)]
    parent.later(60.6)
    assert parent.sent("exporter", Started) == [Started("tick", DUE)]
    parent.says("job tick", RUN)
    assert bodies(parent, Finished) == [RUN]
    assert parent.sent("exporter", Finished) == [RUN]
    assert parent.daemon.feed.statuses["tick"].last_outcome == "success"
    assert parent.daemon.jobs.supervised["tick"].record == JobRecord(
        int(DUE), int(T), last_outcome="success", last_run=DUE + 1, last_success=DUE + 1, counts={"success": 1}
    )


def test_many_short_runs_under_a_long_timeout_leave_nothing_behind(parent: Parent) -> None:
    counts = []
    for number in range(1, 60):
        due = T + number
        parent.says("job tick", Ask("tick", due, f"run-{number}"))
        parent.ledger_commits()
        parent.later(1.0)
        parent.says("job tick", Finished("tick", due, f"run-{number}", "schedule", 0, "success", finished=due + 0.1))
        counts.append(parent.loop.pending)
    assert counts[-1] <= counts[5], "as many moments as before: none for each run until its deadline"


def test_a_run_that_overstays_is_killed_also_after_many_that_did_not(parent: Parent) -> None:
    timeout = parent.daemon.config.jobs["tick"].timeout
    for number in (1, 2):
        parent.says("job tick", Ask("tick", T + number, f"run-{number}"))
        parent.ledger_commits()
        parent.later(1.0)
        end = Finished("tick", T + number, f"run-{number}", "schedule", 0, "success", finished=T + number)
        parent.says("job tick", end)
    parent.later(10.0)
    parent.says("job tick", Ask("tick", T + 13, "run-3"))
    parent.ledger_commits()
    parent.later(1.0 + timeout + 4.9)
    assert parent.child("job tick").signals == []
    parent.later(0.2)
    assert parent.child("job tick").signals == [signal.SIGKILL]


def test_a_denied_slot_is_free_to_be_followed_by_the_next(parent: Parent) -> None:
    parent.says("job tick", ASK)
    parent.says("ledger", Deny("tick", DUE, 0, "taken"))
    assert parent.sent("job tick", Deny) == [Deny("tick", DUE, 0, "taken")]
    parent.says("job tick", Ask("tick", DUE + 60, "run-2"))
    assert len(bodies(parent, Ask)) == 2
    assert parent.child("job tick").signals == []


@pytest.mark.parametrize("said", [Sleeping("other", DUE), Ask("other", DUE, "r")])
def test_a_process_that_speaks_for_another_job_is_killed(parent: Parent, said: Sleeping | Ask) -> None:
    parent.says("job tick", said)
    assert parent.child("job tick").signals == [signal.SIGKILL]
    parent.dies("job tick", ExitStatus(signal=signal.SIGKILL))
    assert len(parent.forked["job tick"]) == 1, "not at once"
    parent.later(0.2)
    assert len(parent.forked["job tick"]) == 2


# ---- deaths


def test_what_a_process_runs_is_made_once_for_each_definition(parent: Parent, load: Load) -> None:
    """It is never freed (tocsin.immortal), and a job that crashes again and again must not fill the memory."""
    assert parent.programs == ["tick"]
    for _ in range(3):
        parent.dies("job tick", CRASH)
        parent.later(70.0)
    assert (len(parent.forked["job tick"]), parent.programs) == (4, ["tick"])
    changed = load(TEXT.replace('path = "/tick"', 'path = "/tock"'))
    assert parent.daemon.reload(lambda: changed) is None
    parent.dies("job tick", CLEAN)
    assert (len(parent.forked["job tick"]), parent.programs) == (5, ["tick", "tick"])


def test_a_process_that_dies_before_the_instant_frees_its_slot(parent: Parent) -> None:
    granted(parent)
    parent.dies("job tick")
    (released,) = bodies(parent, Release)
    assert isinstance(released, Release)
    assert (released.due, released.owner[-2:]) == (DUE, "/1")
    record = parent.daemon.jobs.supervised["tick"].record
    assert record
    assert record.accounted < DUE, "its successor asks for it"


def test_a_process_that_dies_in_its_call_has_lost_the_run(parent: Parent) -> None:
    granted(parent)
    parent.later(61.0)
    parent.dies("job tick", CRASH)
    (lost,) = bodies(parent, Finished)
    assert isinstance(lost, Finished)
    assert (lost.outcome, lost.run_id) == ("lost", "run-1")


def test_a_process_that_overstays_is_killed_and_the_run_timed_out(parent: Parent) -> None:
    granted(parent)
    parent.later(60 + parent.daemon.config.jobs["tick"].longest_run + 6.0)
    assert parent.child("job tick").signals == [signal.SIGKILL]
    parent.dies("job tick", ExitStatus(signal=signal.SIGKILL))
    assert [run.outcome for run in bodies(parent, Finished) if isinstance(run, Finished)] == ["timeout"]


def test_the_next_ledger_gets_what_the_last_did_not_commit(parent: Parent) -> None:
    parent.says("job tick", ASK)
    unsaid = parent.entries()
    parent.dies("ledger")
    assert not paused(parent, True), "it cannot be kept for now"
    parent.later(0.2)
    assert parent.sent("ledger", Entry)[:1] == unsaid
    parent.ledger_opens()
    assert parent.sent("job tick", Grant) == [Grant("tick", DUE)]


def test_trouble_of_the_ledger_is_told_and_its_end_too(parent: Parent) -> None:
    parent.says("ledger", LedgerTrouble("disk full"))
    assert not paused(parent, True)
    parent.says("ledger", LedgerTrouble(None))
    assert paused(parent, False)


def test_a_ledger_that_cannot_be_used_stops_the_daemon(parent: Parent) -> None:
    parent.says("ledger", LedgerUnusable("damaged"))
    assert parent.daemon.stopping
    assert parent.daemon.exit_code == 1
    assert parent.sent("job tick", Stop) == [Stop()]


# ---- a reload


def test_a_changed_job_finishes_its_call_first(parent: Parent, load: Load) -> None:
    granted(parent)
    changed = load(TEXT.replace('path = "/tick"', 'path = "/tock"'))
    assert parent.daemon.reload(lambda: changed) is None
    assert parent.sent("job tick", Stop) == [Stop()]
    assert len(parent.forked["job tick"]) == 1
    parent.later(61.0)
    parent.says("job tick", RUN)
    parent.dies("job tick", CLEAN)
    assert len(parent.forked["job tick"]) == 2
    assert parent.daemon.jobs.supervised["tick"].forked_as == changed.jobs["tick"]


def test_a_job_that_did_not_change_keeps_its_process(parent: Parent, load: Load) -> None:
    assert parent.daemon.reload(lambda: load(TEXT.replace("enabled = false", "enabled = true"))) is None
    parent.ledger_commits()
    assert parent.sent("job tick", Stop) == []
    assert len(parent.forked["job off"]) == 1


def test_a_removed_job_is_forgotten_once_its_process_is_gone(parent: Parent, load: Load) -> None:
    parent.daemon.reload(lambda: load(TEXT.replace("[jobs.tick]", "[jobs.tack]")))
    parent.ledger_commits()
    assert parent.forked.keys() >= {"job tack"}
    parent.dies("job tick", CLEAN)
    assert "tick" not in parent.daemon.jobs.supervised


def test_a_faulty_file_leaves_everything_as_it_was(parent: Parent) -> None:
    def faulty() -> Config:
        raise ConfigError([Fault("tocsin.toml", "jobs.tick", "path", "x", "is wrong")])

    why = parent.daemon.reload(faulty)
    assert why
    assert "is wrong" in why
    assert why.startswith("1 fault; nothing changed, and the previous job file stays in use:\n")
    assert [one.error for one in parent.sent("exporter", ConfigLoaded) if one.error]
    assert parent.sent("job tick", Stop) == []


# ---- the end


def test_a_stop_lets_the_call_finish_and_the_ledger_commit(parent: Parent) -> None:
    granted(parent)
    parent.later(61.0)
    parent.daemon.stop("SIGTERM")
    assert parent.sent("job tick", Stop) == [Stop()]
    parent.says("job tick", RUN)
    parent.dies("job tick", CLEAN)
    assert parent.sent("ledger", Stop) == [], "it has not committed the run"
    parent.ledger_commits()
    assert parent.sent("ledger", Stop) == [Stop()]
    parent.dies("ledger", CLEAN)
    parent.dies("exporter", CLEAN)
    assert parent.loop.done
    assert parent.daemon.exit_code == 0


def test_a_call_that_outlasts_the_drain_is_cancelled(parent: Parent) -> None:
    granted(parent)
    parent.later(61.0)
    parent.daemon.stop("SIGTERM")
    parent.later(parent.daemon.config.drain)
    assert parent.child("job tick").signals == [CANCEL]
    parent.later(2.0)
    assert parent.child("job tick").signals == [CANCEL, signal.SIGKILL]
    parent.dies("job tick", ExitStatus(signal=signal.SIGKILL))
    (run,) = bodies(parent, Finished)
    assert isinstance(run, Finished)
    assert run.outcome == "cancelled"


def test_a_second_stop_hurries(parent: Parent) -> None:
    granted(parent)
    parent.daemon.stop("SIGINT")
    assert parent.child("job tick").signals == []
    parent.daemon.stop("SIGINT")
    assert parent.child("job tick").signals == [CANCEL]


# ---- what operators ask for


@pytest.fixture
def ask(parent: Parent) -> Callable[[object], Waiting]:
    commands = Commands(parent.daemon, lambda: Done("reloaded"))

    def asked(request: object) -> Waiting:
        client = Waiting()
        commands.handle(client, request)  # type: ignore[arg-type]
        return client

    return asked


Asked = Callable[[object], Waiting]


def test_jobs_are_listed_by_name(ask: Asked) -> None:
    *listed, done = ask(ListJobs()).heard
    assert [one.name for one in listed if isinstance(one, JobStatus)] == ["off", "tick"]
    assert done == Done()


def test_a_fire_is_answered_at_the_end_of_the_run(parent: Parent, ask: Asked) -> None:
    client = ask(FireJob("tick"))
    (fire,) = parent.sent("job tick", Fire)
    assert fire.due != int(fire.due), "whole seconds are the schedule's"
    assert client.heard == []
    parent.says("job tick", Ask("tick", fire.due, fire.run_id, "manual"))
    parent.ledger_commits()
    again = ask(FireJob("tick")).heard[-1]
    assert isinstance(again, Refused)
    run = Finished("tick", fire.due, fire.run_id, "manual", 0, "success")
    assert isinstance(run, Finished)
    parent.says("job tick", run)
    assert client.heard == [run]
    record = parent.daemon.jobs.supervised["tick"].record
    assert record
    assert record.accounted == T, "it says nothing of the schedule's slots"


def test_a_fire_that_did_not_run_says_why(parent: Parent, ask: Asked) -> None:
    client = ask(FireJob("tick"))
    (fire,) = parent.sent("job tick", Fire)
    parent.says("job tick", Ask("tick", fire.due, fire.run_id, "manual"))
    parent.says("job tick", Skipped("tick", fire.due, fire.due, 1, "missed", "the ledger did not answer", "manual"))
    (refused,) = client.heard
    assert isinstance(refused, Refused)
    assert "the ledger did not answer" in refused.why


def test_a_fire_whose_process_dies_is_answered(parent: Parent, ask: Asked) -> None:
    client = ask(FireJob("tick"))
    parent.dies("job tick")
    (refused,) = client.heard
    assert isinstance(refused, Refused)
    assert "its process died" in refused.why
    without = ask(FireJob("tick")).heard[-1]
    assert isinstance(without, Refused)
    assert "no running process" in without.why


def test_a_fire_waits_for_the_slot_that_is_held(parent: Parent, ask: Asked) -> None:
    granted(parent)
    (note,) = ask(FireJob("tick")).heard
    assert isinstance(note, Note)
    assert "comes first" in note.text


@pytest.mark.parametrize(("job", "why"), [("off", "is disabled"), ("tock", "there is no job 'tock'")])
def test_what_cannot_be_fired_or_paused(ask: Asked, job: str, why: str) -> None:
    for request in (FireJob(job), PauseJob(job, True)):
        (refused,) = ask(request).heard
        assert isinstance(refused, Refused)
        assert why in refused.why


def test_a_pause_reaches_the_job_the_ledger_and_the_exporter(parent: Parent, ask: Asked) -> None:
    assert ask(PauseJob("tick", True)).heard == [Done("tick is paused")]
    pause = Pause("tick", True, T)
    assert parent.sent("job tick", Pause) == bodies(parent, Pause) == [pause]
    assert parent.sent("exporter", JobStatus)[-1].paused
    parent.ledger_commits()
    parent.later(30.0)
    assert ask(PauseJob("tick", False)).heard == [Done("tick is resumed")]
    assert parent.sent("exporter", JobStatus)[-1].since == T + 30
    resumed = JobRecord(int(T), T + 30, paused_since=T, paused_until=T + 30)
    assert parent.daemon.jobs.supervised["tick"].record == resumed


def test_a_pause_before_the_ledger_has_told_wins(config: Config) -> None:
    parent = Parent(config)
    parent.known["tick"] = JobRecord(int(T), T)
    paused(parent, True)
    parent.ledger_opens()
    assert parent.daemon.feed.statuses["tick"].paused
    assert len(parent.forked["job tick"]) == 1


def test_a_pause_ends_by_itself(parent: Parent, ask: Asked) -> None:
    request = PauseJob("tick", True, T + 100.0, Actor("ann"), "deploy")
    assert ask(request).heard == [Done("tick is paused until 2027-01-15T08:01:40Z")]
    assert ask(request).heard == [Done("tick is already paused until 2027-01-15T08:01:40Z")]
    status = parent.daemon.feed.statuses["tick"]
    assert (status.paused_until, status.paused_why, status.paused_by) == (T + 100.0, "deploy", "ann")
    parent.later(99.5)
    assert parent.daemon.feed.statuses["tick"].paused
    parent.later(0.6)
    assert bodies(parent, Pause) == [Pause("tick", True, T, T + 100.0, "deploy", "ann"), Pause("tick", False, T + 100)]
    assert parent.sent("job tick", Pause)[-1] == Pause("tick", False, T + 100)
    assert not parent.sent("exporter", JobStatus)[-1].paused
    first, last = bodies(parent, Acted)
    assert first == Acted(T, "pause", "tick", Actor("ann"), "deploy", T + 100.0)
    assert (last.what, last.at, last.by) == ("resume", T + 100, Actor("Tocsin", "daemon"))


def test_a_pause_that_gets_another_end_has_that_one_alone(parent: Parent, ask: Asked) -> None:
    for until in (T + 20.0, T + 50.0, None):
        ask(PauseJob("tick", True, until))
    parent.later(30.0)
    assert parent.daemon.feed.statuses["tick"].paused
    parent.later(3600.0)
    assert parent.daemon.feed.statuses["tick"].paused, "until it is resumed"
    assert ask(PauseJob("tick", True, T)).heard == [
        Refused("the pause would end at 2027-01-15T08:00:00Z, which has passed", 2)
    ]


def test_a_pause_whose_end_came_while_the_daemon_was_down(config: Config) -> None:
    parent = Parent(config)
    parent.known["tick"] = JobRecord(int(T) - 600, T - 7200, True, paused_since=T - 500, paused_until=T - 300)
    parent.known["off"] = JobRecord(int(T) - 600, T - 7200, True, paused_since=T - 500, paused_until=T - 300)
    parent.ledger_opens()
    assert [parent.daemon.feed.statuses[name].paused for name in ("tick", "off")] == [False, False]
    assert {(one.job, one.paused, one.at) for one in bodies(parent, Pause)} == {
        ("tick", False, T - 300), ("off", False, T - 300)
    }  # fmt: skip
    record = parent.daemon.jobs.supervised["tick"].record
    assert record
    assert record.pause == (T - 500, T - 300), "its process accounts for the slots of the pause"


def test_what_is_done_is_written_with_who_and_why(parent: Parent, ask: Asked) -> None:
    ask(FireJob("tick", Actor("ann", "page", "10.0.0.3"), "because\r\nof\x1b[2J"))
    ask(ReloadConfig(Actor("bob")))
    ask(PauseJob("off", True))
    fire, reload = bodies(parent, Acted)
    assert (fire.what, fire.job, fire.by, fire.why) == (
        *("fire", "tick", Actor("ann", "page", "10.0.0.3"), "because of [2J"),
    )
    assert fire.run_id == parent.sent("job tick", Fire)[-1].run_id
    assert (reload.what, reload.job, reload.by) == ("reload", "", Actor("bob"))


# ---- what the exporter asks for


@pytest.fixture
def remote(parent: Parent) -> Callable[..., list[Answered]]:
    """Has the exporter ask for actions; what it is answered."""
    commands = Commands(parent.daemon, lambda: Done("reloaded"))
    parent.daemon.on_request = Remote(commands, parent.loop).heard

    def asked(*actions: Action) -> list[Answered]:
        before = len(parent.sent("exporter", Answered))
        parent.says("exporter", *(Requested(number, action) for number, action in enumerate(actions, 1)))
        return parent.sent("exporter", Answered)[before:]

    return asked


ANN = Actor("ann", "page", "10.0.0.3")


def test_the_exporter_asks_and_the_parent_decides(parent: Parent, remote: Callable[..., list[Answered]]) -> None:
    fire, pause, reload = remote(FireJob("tick", ANN), PauseJob("tick", True, T + 60, ANN, "why"), ReloadConfig(ANN))
    (sent,) = parent.sent("job tick", Fire)
    assert fire == Answered(1, "done", "", sent.run_id)
    assert pause == Answered(2, "done", "tick is paused until 2027-01-15T08:01:00Z")
    assert reload == Answered(3, "done", "reloaded")
    assert [(one.what, one.by) for one in bodies(parent, Acted)] == [("fire", ANN), ("pause", ANN), ("reload", ANN)]
    (again,) = remote(FireJob("tick", ANN))
    assert (again.result, "already requested" in again.text) == ("refused", True)


def test_refusals_say_why(parent: Parent, remote: Callable[..., list[Answered]]) -> None:
    unknown, off = remote(FireJob("tock", ANN), PauseJob("off", True, None, ANN))
    assert (unknown.result, "there is no job 'tock'" in unknown.text) == ("unknown", True)
    assert (off.result, off.text) == ("refused", "off is disabled in the job file")
    parent.says("ledger", LedgerTrouble("disk full"))
    (no_ledger,) = remote(FireJob("tick", ANN))
    assert "the ledger does not commit" in no_ledger.text
    parent.says("ledger", LedgerTrouble(None))
    granted(parent)
    parent.later(61.0)
    (running,) = remote(FireJob("tick", ANN))
    assert "already running" in running.text
    parent.daemon.stop("SIGTERM")
    assert [one.text for one in remote(FireJob("tick", ANN), ReloadConfig(ANN))] == ["the daemon is stopping"] * 2


@pytest.mark.parametrize("way", ["command", "signal", "daemon"])
def test_an_exporter_that_pretends_to_be_somebody_else_is_killed(
    parent: Parent, remote: Callable[..., list[Answered]], way: Any
) -> None:
    remote(FireJob("tick", Actor("root", way)))
    assert parent.child("exporter").signals == [signal.SIGKILL]
    assert bodies(parent, Acted) == []


def test_an_exporter_that_asks_too_often_is_killed(parent: Parent, remote: Callable[..., list[Answered]]) -> None:
    for _ in range(BURST):
        assert remote(PauseJob("tick", True, None, ANN))
    parent.later(10.0)
    for _ in range(20):
        assert remote(PauseJob("tick", True, None, ANN)), "one each half second"
    assert parent.child("exporter").signals == []
    assert remote(PauseJob("tick", True, None, ANN)) == []
    assert parent.child("exporter").signals == [signal.SIGKILL]
    parent.dies("exporter")
    parent.later(1.0)
    assert remote(PauseJob("tick", True, None, ANN)), "the next one begins anew"


def test_a_daemon_that_stops_starts_nothing_more(parent: Parent, ask: Asked) -> None:
    parent.daemon.stop("SIGTERM")
    for request in (FireJob("tick"), ReloadConfig()):
        assert ask(request).heard == [Refused("the daemon is stopping", 1)]

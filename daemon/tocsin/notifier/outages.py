"""Decides what is worth a message, with pure functions: (state, event, now) -> (state, messages).

An outage has one cause: a host that does not answer, a secret that a host refuses, or a single job. It is reported
once, `gather` seconds after its first sign, so that one message names all its jobs. Its end is reported once. An outage
that comes back several times within an hour stays open until all has been well for a while.

`now` and every instant are Unix seconds, so that the state means the same to the next process.
"""

from collections.abc import Iterable
from typing import TypeVar

from msgspec.structs import replace

from tocsin.notifier.cases import OF_DAEMON, Began, Ended, Ill, Kind, Member, News, Outage, Patient, SlotsMissed, State

T = TypeVar("T")

SHARED: frozenset[Kind] = frozenset({"unreachable", "unauthorized"})  # all jobs of a host have these at once
WIDE = 3  # named jobs of an outage: after that many it is the host's outage, and another job is no news
SETTLE = 10.0  # seconds that the daemon may take to start, or be busy
HOLD = 60.0  # seconds that a job must stand still: a new process or one slow commit is not worth a message
FLAP_SPAN = 3600.0  # seconds
FLAPS = 3  # outages of one key within FLAP_SPAN are flapping
STEADY = 1800.0  # seconds that all must be well before the end of a flapping outage is reported
MISSED_WAIT = (
    20.0  # seconds before missed slots are reported: by then their cause is known, perhaps a ledger that hangs
)
MISSED_QUIET = 900.0  # seconds after a message about missed slots in which further ones wait

Step = tuple[State, list[News]]


def key_of(patient: Patient) -> str:
    """Return the key of the outage to which the illness belongs: illnesses with the same key have one cause."""
    assert patient.ill
    kind = patient.ill.kind
    return f"{kind} {patient.host}" if kind in SHARED else f"job {patient.name}"


# ---- the states of jobs


def saw(state: State, patient: Patient, now: float, gather: float) -> State:
    """Apply the present state of a job."""
    state = _missed(state, patient, now, gather)
    held = next((key for key, one in state.outages.items() if patient.name in one.members), None)
    ill = patient.ill
    if patient.name in state.pardoned:
        if ill and ill.kind != "stalled" and patient.ran <= state.pardoned[patient.name]:
            return state
        state = replace(state, pardoned=_without(state.pardoned, patient.name))
    if ill is None:
        return _well(state, held, patient, now, gather) if held else state
    key = key_of(patient)
    if held and held != key and state.outages[held].told is None:  # not reported yet: report what it is by now
        state, held = _drop(state, held, patient.name), None
    if held is None:
        joins = key in state.outages and ill.kind in SHARED
        if not patient.heeded or not (ill.urgent or joins):
            return state
    return _is_ill(state, held or key, patient, ill, now, gather)


def gone(state: State, name: str) -> State:
    """The job was removed or disabled, or nobody is notified of it any more: its outage ends without a message."""
    state = replace(
        state,
        pardoned=_without(state.pardoned, name),
        missed=_without(state.missed, name),
        missing=_without(state.missing, name),
    )
    for key, outage in state.outages.items():
        if name in outage.members:
            return _drop(state, key, name)
    return state


def listed(state: State, names: Iterable[str]) -> State:
    """These are all jobs. Forget what an earlier process knew of others."""
    known = set(names)
    others = {*state.pardoned, *state.missed, *state.missing}
    others.update(name for outage in state.outages.values() for name in outage.members)
    for name in others - known:
        if not name.startswith(OF_DAEMON):
            state = gone(state, name)
    return state


def _is_ill(state: State, key: str, patient: Patient, ill: Ill, now: float, gather: float) -> State:
    outage = state.outages.get(key)
    if outage is None:
        subject = patient.host if ill.kind in SHARED or ill.kind == "daemon" else patient.name
        wait = max(gather, HOLD if ill.kind in ("stalled", "overdue") else SETTLE if ill.kind == "daemon" else 0.0)
        also = [one.due for one in state.outages.values() if one.told is None and _alike(one, ill.kind, patient.host)]
        outage = Outage(ill.kind, subject, patient.host, ill.since, {}, _first(also, now + wait))
    before = outage.members.get(patient.name)
    is_news = before is None
    told = before.told if before else False
    if is_news and outage.told is not None and sum(one.told for one in outage.members.values()) >= WIDE:
        told, is_news = True, False
    since = before.ill.since if before and before.ill else ill.since
    member = Member(replace(ill, since=since), patient.ran, told)
    outage = replace(outage, members={**outage.members, patient.name: member}, since=min(outage.since, since))
    if outage.ended is not None and (outage.kind not in SHARED or patient.ran > outage.ended):  # so it is not over
        well = [name for name, one in outage.members.items() if one.ill is None]
        members = {name: one for name, one in outage.members.items() if one.ill}
        outage = replace(outage, members=members, recovered=(*outage.recovered, *well), ended=None, due=None)
    if outage.ended is None and outage.due is None and any(not one.told for one in outage.members.values() if one.ill):
        outage = replace(outage, due=now + gather)
    return _put(state, key, outage)


def _well(state: State, key: str, patient: Patient, now: float, gather: float) -> State:
    outage = state.outages[key]
    before = outage.members[patient.name]
    if before.ill is None:
        return state
    if not before.told:  # nobody was notified of it, and nobody needs to be
        return _drop(state, key, patient.name)
    member = Member(None, patient.ran, told=True)
    outage = replace(outage, members={**outage.members, patient.name: member})
    if outage.ended is None:
        also = [
            one.due
            for one in state.outages.values()
            if one.ended is not None and not one.flapping and _alike(one, outage.kind, outage.host)
        ]
        due = now + STEADY if outage.flapping else _first(also, now + gather)
        outage = replace(outage, ended=now, due=due)
    return _put(state, key, outage)


def _alike(outage: Outage, kind: Kind, host: str) -> bool:
    """Whether one message can report it together with an outage of this kind and host."""
    return (outage.kind, outage.host) == (kind, host)


def _first(dues: Iterable[float | None], own: float) -> float:
    return min((due for due in dues if due is not None), default=own)


def _missed(state: State, patient: Patient, now: float, gather: float) -> State:
    known = state.missed.get(patient.name)
    if known == (patient.missed, patient.missed_at):
        return state
    state = replace(state, missed={**state.missed, patient.name: (patient.missed, patient.missed_at)})
    if known is None or patient.missed_at <= known[1] or not patient.heeded:
        return state
    count = max(1, patient.missed - known[0])
    due = max(now + max(gather, MISSED_WAIT), state.missed_told + MISSED_QUIET)
    return replace(
        state,
        missing={**state.missing, patient.name: state.missing.get(patient.name, 0) + count},
        missed_due=due if state.missed_due is None else state.missed_due,
    )


# ---- the news


def tick(state: State, now: float, *, held: bool = False) -> Step:
    """Return the news that are due. `held`: no job can be called, so more slots will be missed; they are reported
    later."""
    news: list[News] = []
    for key, outage in list(state.outages.items()):
        if outage.due is None or now < outage.due:
            continue
        if outage.ended is None:
            state, more = _tell(state, key, outage, now)
        else:
            state, more = _tell_end(state, key, outage, now)
        news += more
    if state.missed_due is not None and now >= state.missed_due and not held:
        if state.missing:
            news.append(SlotsMissed(state.missing))
        state = replace(state, missing={}, missed_due=None, missed_told=now)
    return state, news


def next_due(state: State) -> float | None:
    """Return when `tick` has something to do."""
    moments = [outage.due for outage in state.outages.values()] + [state.missed_due]
    return min((moment for moment in moments if moment is not None), default=None)


def _tell(state: State, key: str, outage: Outage, now: float) -> Step:
    names = tuple(name for name, one in outage.members.items() if one.ill and not one.told)
    first = outage.told is None
    if first and not any(ill.urgent for ill in outage.ill.values()):
        return replace(state, outages=_without(state.outages, key)), []
    if not names:
        return _put(state, key, replace(outage, due=None)), []
    times = tuple(at for at in state.told.get(key, ()) if at > now - FLAP_SPAN)
    if first:
        times = (*times, now)
        state = replace(state, told={**_recent(state.told, now), key: times})
    members = {name: replace(one, told=True) if one.ill else one for name, one in outage.members.items()}
    outage = replace(
        outage,
        members=members,
        told=now if first else outage.told,
        due=None,
        flapping=outage.flapping or len(times) >= FLAPS,
    )
    return _put(state, key, outage), [Began(outage, names, first)]


def _tell_end(state: State, key: str, outage: Outage, now: float) -> Step:
    """The outage is over, also for jobs that have not run since: a job that failed again would have kept it open."""
    waiting = {name: ill.next_try for name, ill in outage.ill.items()}
    pardoned = {name: outage.members[name].ran for name in waiting}
    state = replace(state, outages=_without(state.outages, key), pardoned={**state.pardoned, **pardoned})
    return state, [Ended(outage, waiting, outage.ended or now)]


def _recent(told: dict[str, tuple[float, ...]], now: float) -> dict[str, tuple[float, ...]]:
    return {key: times for key, times in told.items() if times and times[-1] > now - FLAP_SPAN}


def _put(state: State, key: str, outage: Outage) -> State:
    return replace(state, outages={**state.outages, key: outage})


def _drop(state: State, key: str, name: str) -> State:
    """Remove the job from the outage. Without any jobs, the outage ends without a message."""
    outage = state.outages[key]
    members = _without(outage.members, name)
    if not members:
        return replace(state, outages=_without(state.outages, key))
    return _put(state, key, replace(outage, members=members))


def _without(table: dict[str, T], name: str) -> dict[str, T]:
    return {key: value for key, value in table.items() if key != name} if name in table else table

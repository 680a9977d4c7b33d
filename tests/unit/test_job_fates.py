"""Whatever happens to a job, every slot has one fate."""

import heapq
import math
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from job_world import GIVE_UP, LATENCY, LEAD, Event, MakeJob, T, World, fates
from tocsin.ipc.job import Beginning, Fire, Pause, Stop
from tocsin.schedule import Schedule

gaps = st.floats(0, 200)
kinds: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("step"), st.sampled_from([0.5, 30.0, 61.0, 3600.0, 40_000.0])),
    st.tuples(st.just("step"), st.sampled_from([-0.5, -30.0, -61.0, -900.0])),
    st.tuples(st.just("suspend"), st.sampled_from([0.1, 30.0, 90.0, 3600.0])),
    st.tuples(st.just("ledger"), st.sampled_from(["grant", "grant", "deny", "silent"])),
    st.tuples(st.just("answer_after"), st.sampled_from([0.0, 0.1, 0.3, 5.0, 70.0])),
    st.tuples(st.just("call_takes"), st.sampled_from([0.0, 0.1, 30.0, 100.0])),
    st.tuples(st.just("send"), st.builds(Pause, st.just("sla-check"), st.booleans(), st.just(60.0))),
    st.tuples(st.just("fire"), st.none()),
)


@settings(max_examples=250)
@given(
    st.lists(st.tuples(gaps, kinds), max_size=10),
    st.sampled_from(["* * * * *", "*/20 * * * * *", "@every 7s", "0 * * * *"]),
    st.sampled_from([0.0, 0.5, 20.0, 60.0, 4000.0]),
    st.sampled_from(["last", "all", "none"]),
    st.integers(0, 4000),
    st.sampled_from(
        [(0.0, 0.0), (0.0, math.inf), (T - 500.0, T - 130.0), (T - 3000.0, T + 200.5), (T + 0.0, T + 60.0)]
    ),
)
def test_any_history_gives_every_slot_one_fate(
    make_job: MakeJob,
    drawn: list[tuple[float, Event]],
    expression: str,
    grace: float,
    catch_up: Literal["last", "all", "none"],
    down: int,
    pause: tuple[float, float],
) -> None:
    """Steps back add up to less than three hours: beyond, the clock counts as wrong, and only runs are unique."""
    events: list[tuple[float, Event]] = []
    at = 0.0
    for number, (gap, (kind, value)) in enumerate(drawn):
        at += gap
        if kind == "fire":
            kind, value = "send", Fire(T + round(at, 0) + 0.001 * (number + 1), f"manual-{number}")
        events.append((at, (kind, value)))
    job = make_job(schedule=Schedule(expression), grace=grace, catch_up=catch_up)
    last = job.schedule.next_due(T - down) - 1
    one = World(job, Beginning(last, pause, "it was away"), T + 5.0, events)
    try:
        heapq.heappush(one.events, (at + 300, 10_000, ("send", Stop())))
        for _ in range(GIVE_UP):
            if one.process.orders.stopping:
                break
            one.process.step()
        one._hear()
        assert one.process.orders.stopping
        fates(one)
        runs = [ask.due for ask, _ in one.called]
        assert len(runs) == len(set(runs)), "never an instant twice"
        for ask, called_at in one.called:
            if ask.trigger != "manual":
                assert ask.due <= called_at <= ask.due + grace + LEAD + LATENCY
                assert job.schedule.next_due(int(ask.due) - 1) == ask.due
    finally:
        one.parent.close()
        one.child.close()

"""How the exporter reads the jobs' processes: from the kernel, and at a pace."""

import os

import pytest

from exporter_rig import NOON, Asked, job, world
from tocsin.exporter import processes
from tocsin.exporter.pieces import at_once
from tocsin.exporter.processes import ASKED, LOOKED, MEASURED, MEASURED_AT_ONCE, REST, Processes, Seen
from tocsin.ipc.exporter import ProcessExited, ProcessUp


def some(many: int) -> list[Seen]:
    return [Seen(os.getpid()) for _ in range(many)]


def test_a_state_counts_as_known_for_a_moment() -> None:
    found, (one,) = Processes(), some(1)
    at_once(found.look([one], 100.0))
    assert one.state in ("R", "S")
    one.state = "T"
    at_once(found.look([one], 100.0 + LOOKED / 2))
    assert one.state == "T"
    at_once(found.look([one], 100.0 + LOOKED))
    assert one.state != "T"


def test_of_too_many_each_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOOKS_AT_ONCE", 2)
    found, seen = Processes(), some(5)
    for turn in range(3):
        at_once(found.look(seen, 100.0 + 10 * turn))
    assert all(one.state for one in seen)


def test_memory_is_read_a_few_at_a_time_and_only_while_somebody_asks() -> None:
    found, seen = Processes(), some(2 * MEASURED_AT_ONCE + 1)
    assert found.measure(seen, 100.0) == REST
    assert not any(one.memory for one in seen)
    found.want_memory(seen, 100.0)
    assert sum(one.memory is not None for one in seen) == MEASURED_AT_ONCE
    for turn in (1, 2):
        assert found.measure(seen, 100.0 + turn) < REST
    assert all(one.memory for one in seen)
    measured = [one.measured for one in seen]
    found.measure(seen, 103.0)
    assert [one.measured for one in seen] == measured, "it is known"
    found.measure(seen, 100.0 + MEASURED)
    assert [one.measured for one in seen] != measured
    assert found.measure(seen, 101.0 + ASKED) == REST


def test_a_new_process_is_looked_at_anew() -> None:
    asked = Asked(*world(job()))
    (before,) = asked.json("/api/jobs")[1]
    assert before["memory"] > 1e6
    asked.tell(ProcessExited("job", "sla-check", "error", ""))
    assert asked.json("/api/jobs")[1][0]["memory"] is None
    asked.tell(ProcessUp("job", "sla-check", 2**22 + 1, NOON))  # there is none with that number
    assert asked.json("/api/jobs")[1][0]["memory"] is None

"""Requests that are refused leave a trace, few lines, and no time for whoever guesses."""

from collections import Counter
from collections.abc import Callable

import pytest

from tocsin import log
from tocsin.exporter import refusals
from tocsin.exporter.refusals import DELAY, FORGET, FREE, PEERS, QUIET, Refusal, Refusals


class Rig:
    """Refusals with a clock of the test's, and what the log was told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.due: list[tuple[float, Callable[[Refusal], None], Refusal]] = []
        self.refusals = Refusals(self.count, self.later, lambda: self.now)

    def count(self, reason: Refusal) -> None:
        self.counts[reason] += 1

    def later(self, seconds: float, call: Callable[[Refusal], None], reason: Refusal) -> None:
        self.due.append((self.now + seconds, call, reason))

    def warning(self, message: str, /, **fields: object) -> None:
        self.lines.append((message, fields))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [one for one in self.due if one[0] <= self.now]
        self.due = [one for one in self.due if one[0] > self.now]
        for _, call, reason in due:
            call(reason)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    one = Rig()
    monkeypatch.setattr(log, "warning", one.warning)
    return one


def test_300_wrong_tokens_are_counted_and_take_two_lines(rig: Rig) -> None:
    for _ in range(300):
        rig.refusals.add("wrong_credentials", "192.0.2.7")
    assert rig.counts == {"wrong_credentials": 300}
    assert len(rig.lines) == 1
    rig.wait(QUIET)
    assert [fields["requests"] for _, fields in rig.lines] == [None, 299]
    assert all(fields["peer"] == "192.0.2.7" and "credentials are wrong" in said for said, fields in rig.lines)
    rig.wait(QUIET)
    assert len(rig.lines) == 2
    assert not rig.due
    rig.refusals.add("wrong_credentials", "192.0.2.8")
    assert len(rig.lines) == 3


def test_each_reason_has_its_own_lines(rig: Rig) -> None:
    for reason in refusals.REFUSALS:
        rig.refusals.add(reason, "192.0.2.7", "evil.example" * 50)
    assert len(rig.lines) == len(refusals.REFUSALS)
    assert all(len(str(fields["detail"])) <= 100 for _, fields in rig.lines)


def test_who_guesses_waits_and_nobody_else(rig: Rig) -> None:
    waits = [rig.refusals.add("wrong_credentials", "192.0.2.7") for _ in range(FREE + 2)]
    assert waits == [0.0] * FREE + [DELAY] * 2
    assert rig.refusals.add("wrong_credentials", "192.0.2.8") == 0
    for reason in set(refusals.REFUSALS) - {"wrong_credentials"}:
        assert rig.refusals.add(reason, "192.0.2.7") == 0
    rig.wait(FORGET)
    assert rig.refusals.add("wrong_credentials", "192.0.2.7") == DELAY
    rig.wait(FORGET + 1)
    assert rig.refusals.add("wrong_credentials", "192.0.2.7") == 0


def test_a_network_of_ipv6_is_one_peer(rig: Rig) -> None:
    waits = [rig.refusals.add("wrong_credentials", f"2001:db8::{host:x}%eth0") for host in range(FREE + 1)]
    assert waits[-1] == DELAY
    assert rig.refusals.add("wrong_credentials", "2001:db8:0:1::1") == 0
    for last in range(FREE + 1):  # IPv4 in IPv6 is not one network
        assert rig.refusals.add("wrong_credentials", f"::ffff:192.0.2.{last}") == 0


def test_what_is_known_of_peers_is_bounded(rig: Rig) -> None:
    for _ in range(FREE):
        rig.refusals.add("wrong_credentials", "192.0.2.7")
    for number in range(PEERS):
        rig.refusals.add("wrong_credentials", f"10.0.{number // 256}.{number % 256}")
    assert rig.refusals.add("wrong_credentials", "192.0.2.7") == 0

"""How many messages go out, what becomes of those that are not taken, and what outlives the process."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.ipc.exporter import NotifierState
from tocsin.notifier import outbox, pace
from tocsin.notifier.cases import Ill, Member, Outage, State
from tocsin.notifier.kept import NAME, Kept, Memory
from tocsin.notifier.outbox import BACKOFF, GIVE_UP, KEPT, Letter
from tocsin.notifier.pace import SPAN, Message, Pace

T = 1_800_000_000.0


def message(number: int = 1, at: float = T, **more: str) -> Message:
    return Message(f"message {number}", more.get("body", "body"), "failure", at)


# ---- the pace


def test_what_is_beyond_the_limit_comes_as_one_digest_when_there_is_room() -> None:
    now, paced, sent = T, Pace(), []
    for number in range(50):
        paced, out = pace.put(paced, message(number), now, 3)
        sent += out
    assert [one.title for one in sent] == ["message 0", "message 1", "message 2"]
    paced, out = pace.tick(paced, now + SPAN - 1, 3, "Tocsin: ")
    assert out == []
    paced, [digest] = pace.tick(paced, now + SPAN + 1, 3, "Tocsin: ")
    assert digest.title == "Tocsin: 47 more messages"
    assert digest.body.count("message ") == pace.LISTED
    assert digest.body.endswith("and 17 more")
    assert pace.tick(paced, now + SPAN + 2, 3, "") == (paced, [])
    _, out = pace.put(paced, message(), now + SPAN + 2, 3)
    assert len(out) == 1


@given(st.lists(st.tuples(st.sampled_from(["put", "tick"]), st.floats(0, 900)), max_size=80), st.integers(1, 5))
def test_no_hour_has_more_and_nothing_is_lost(steps: list[tuple[str, float]], most: int) -> None:
    now, paced, put = T, Pace(), 0
    sent: list[tuple[float, Message]] = []
    for what, seconds in steps:
        now += seconds
        if what == "put":
            paced, out = pace.put(paced, message(put), now, most)
            put += 1
        else:
            paced, out = pace.tick(paced, now, most, "")
        sent += ((now, one) for one in out)
    for at, _ in sent:
        assert sum(at <= other < at + SPAN for other, _ in sent) <= most
    told = sum(1 for _, one in sent if one.title.startswith("message"))
    in_digests = sum(int(one.title.split()[0]) for _, one in sent if "more message" in one.title)
    assert told + in_digests + len(paced.held) + paced.more == put


# ---- the outbox


def test_a_letter_is_tried_again_ever_later_and_holds_back_those_behind_it() -> None:
    box, _ = outbox.posted({}, message(1), ["a", "b"])
    box, _ = outbox.posted(box, message(2), ["a", "b"])
    now, waits = T, []
    for _ in range(8):
        letter = outbox.first(box, "a", now)
        assert letter
        assert letter.message == message(1)
        box, over = outbox.failed(box, "a", letter, "refused", now)
        assert not over
        assert outbox.first(box, "a", now) is None
        waits.append(box["a"][0].after - now)
        now = box["a"][0].after
    assert waits[0] == BACKOFF[0]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF[1]
    assert outbox.first(box, "b", T) == Letter(message(1)), "the other address is not held back"
    letter = outbox.first(box, "a", now)
    assert letter
    box = outbox.sent(box, "a", letter)
    assert outbox.first(box, "a", now) == Letter(message(2))


def test_a_message_that_nobody_takes_for_a_day_is_given_up() -> None:
    box, _ = outbox.posted({}, message(), ["a"])
    box, over = outbox.failed(box, "a", box["a"][0], "refused", T + GIVE_UP + 1)
    assert over
    assert box == {}


def test_a_full_queue_drops_the_oldest_and_says_how_many() -> None:
    box: outbox.Outbox = {}
    for number in range(KEPT):
        box, dropped = outbox.posted(box, message(number), ["a"])
        assert dropped == 0
    box, dropped = outbox.posted(box, message(KEPT), ["a"])
    assert dropped == 1
    assert [one.message.title for one in box["a"]][:: KEPT - 1] == ["message 1", f"message {KEPT}"]


def test_what_is_for_an_address_that_is_gone_is_dropped() -> None:
    box, _ = outbox.posted({}, message(), ["a", "b"])
    assert outbox.kept(box, ["b"]).keys() == {"b"}


# ---- the file


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    box, _ = outbox.posted({}, message(), ["a"])
    outage = Outage("failing", "x", "app", T, {"x": Member(Ill("failing", "why", T), T, told=True)}, None, told=T)
    kept = Kept(State({"job x": outage}, {"job x": (T,)}), Pace((T,)), box, NotifierState(sent=3))
    Memory(tmp_path).write(kept)
    assert Memory(tmp_path).read() == kept
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [NAME], "nothing is left behind"


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.write(Kept())
    before = (tmp_path / NAME).stat().st_ino
    memory.write(Kept())
    assert (tmp_path / NAME).stat().st_ino == before


@pytest.mark.parametrize("text", [b"", b"{", b'{"outbox":7}', b"\xff"])
def test_a_damaged_file_is_said_and_begun_anew(tmp_path: Path, text: bytes) -> None:
    (tmp_path / NAME).write_bytes(text)
    memory = Memory(tmp_path)
    assert memory.read() == Kept()
    memory.write(Kept(counts=NotifierState(sent=1)))
    assert Memory(tmp_path).read().counts.sent == 1


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "state"
    folder.mkdir()
    os.symlink(victim, folder / "notifier.new")
    Memory(folder).write(Kept(counts=NotifierState(sent=1)))
    assert victim.read_text() == "mine"
    assert Memory(folder).read().counts.sent == 1


def test_a_folder_that_is_gone_keeps_no_message_back(tmp_path: Path) -> None:
    Memory(tmp_path / "gone").write(Kept(counts=NotifierState(sent=1)))

"""The channel: every message survives the way, garbage and death have names, nobody who must not wait waits."""

import dataclasses
import os
import select
import signal
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import ANYTHING
from tocsin.ipc import channel as channels
from tocsin.ipc.actions import Acted, Actor, Answered, FireJob, PauseJob, ReloadConfig, Requested
from tocsin.ipc.channel import MESSAGE_SIZE, AnyChannel, Channel, ChannelClosed, ChannelGarbage
from tocsin.ipc.cluster import Away, AwayPart, GivenUp, Leave, Member, Members, Roster, RosterPart, Yield
from tocsin.ipc.control import Answer, Done, ListJobs, Note, Refused, Request, decode_answer, decode_request
from tocsin.ipc.exporter import (
    ConfigLoaded,
    DaemonStops,
    EventsDropped,
    Heartbeat,
    JobRemoved,
    JobStatus,
    LedgerState,
    LogLinesDropped,
    NotifierState,
    ProcessExited,
    ProcessUp,
    Started,
    ToExporter,
    decode_from_exporter,
    decode_to_exporter,
)
from tocsin.ipc.job import (
    Ask,
    Deny,
    Finished,
    Fire,
    FromJob,
    Grant,
    Pause,
    Release,
    Skipped,
    Sleeping,
    Stop,
    ToJob,
    decode_from_job,
    decode_to_job,
    scheduled_run_id,
)
from tocsin.ipc.ledger import (
    Body,
    Committed,
    Enroll,
    Enrolled,
    Entry,
    FromLedger,
    JobHistory,
    LedgerReady,
    LedgerRoom,
    LedgerTrouble,
    LedgerUnusable,
    ToLedger,
    decode_from_ledger,
    decode_to_ledger,
)
from tocsin.ipc.notifier import (
    FromNotifier,
    RunBegan,
    RunOver,
    ToNotifier,
    decode_from_notifier,
    decode_to_notifier,
)
from tocsin.ipc.record import JobRecord
from tocsin.ipc.types import Message

FINISHED = Finished(
    job="a",
    due=1.0,
    run_id="r",
    trigger="schedule",
    attempt=0,
    outcome="http_error",
    detail="503: \x00 \x1b[31m \u2028 ü €",
    status=503,
    started=1.25,
    finished=2.5,
    lateness=0.25,
    duration=1.25,
    reported={"unassigned": 3.0, "far": 1e300},
    reported_errors={"b": "missing"},
    responses=("5xx", "2xx"),
    connection_errors=("dns",),
)
STATUS = JobStatus(
    name="a",
    schedule="* * * * *",
    timezone="UTC",
    words="every minute",
    method="POST",
    url="https://a.example/x",
    host="a.example",
    enabled=True,
    description="",
    timeout=300.0,
    grace=60.0,
    fields=("unassigned",),
    state="backing off",
)
ASK = Ask("a", 60.0, "run", "catch-up", 2, "session/1")
SKIPPED = Skipped("a", 60.0, 180.0, 3, "missed", "why")
BODIES: list[Body] = [
    ASK,
    FINISHED,
    SKIPPED,
    Release("a", 60.0, 0, "session/1"),
    Pause("a", True, 60.0, 120.0, "deploy", "ann"),
    Acted(60.0, "pause", "a", Actor("ann", "page", "10.0.0.3"), "deploy", 120.0),
    Enroll("a", "* * * * * UTC", 7, 60.5),
    Enrolled(7),
    Roster("hash", {"a": "1", "b": ""}, last=True),
    Yield("a"),
    Leave(),
]
SAMPLES: list[Message] = [
    Sleeping("a", 60.0),
    ASK,
    Grant("a", 60.0, 1),
    Deny("a", 60.0, 0, "taken"),
    FINISHED,
    SKIPPED,
    Release("a", 60.0, 0, ""),
    Fire(60.001, "run"),
    Pause("a", False, 60.0),
    Members("s1", 1, (Member("s1", "one", 1, "live", "1.0", "hash", -0.5),)),
    RosterPart("hash", {"a": "1"}, last=True),
    GivenUp(2),
    AwayPart((Away("a", "two", "timeout", "why", 60.0, 30.0, 2),)),
    Stop(),
    JobHistory("a", JobRecord(60, 30.0, True, "lost", "why", 1.0, None, 3)),
    *[Entry(seq, body) for seq, body in enumerate(BODIES)],
    Committed(9, 0.001),
    LedgerRoom("sqlite", 4096, 8192),
    LedgerReady("the daemon had died"),
    LedgerReady(seq=12),
    LedgerTrouble("disk full"),
    LedgerUnusable("damaged"),
    STATUS,
    JobRemoved("a"),
    Started("a", 60.1),
    ProcessUp("job", "a", 12, 60.0),
    ProcessExited("job", "a", "signal", "killed by SIGKILL"),
    ConfigLoaded("hash", 60.0, "why not"),
    LedgerState(False, 3, "why"),
    NotifierState(3, 2, 1, 4, 60, 1, "address 1 (json): refused"),
    RunBegan("a", "run"),
    RunOver("a", "run", "timeout", "why", 1.5),
    LogLinesDropped(3),
    EventsDropped(3),
    DaemonStops(60.0),
    Heartbeat(60.0),
    ListJobs(),
    FireJob("a", Actor("ann"), "deploy"),
    PauseJob("a", True, 60.0, Actor("ann"), "deploy"),
    ReloadConfig(Actor("ann"), "deploy"),
    Requested(7, PauseJob("a", True, 60.0, Actor("ann", "page", "10.0.0.3"), "deploy")),
    Answered(7, "done", "a is paused"),
    BODIES[5],
    Done("done"),
    Note("the run due at 2026-01-01T00:00:00Z comes first"),
    Refused("why", 2),
]


@dataclasses.dataclass
class Ends:
    ours: AnyChannel
    theirs: AnyChannel
    raw: socket.socket  # of theirs


@pytest.fixture
def ends() -> Iterator[Ends]:
    yield from made()


def made(queue_length: int = channels.QUEUE_LENGTH) -> Iterator[Ends]:
    a, b = channels.pair()
    ours: AnyChannel = Channel(a, ANYTHING, blocking=False, queue_length=queue_length)
    both = Ends(ours, Channel(b, ANYTHING, blocking=True), b)
    yield both
    both.ours.close()
    both.theirs.close()


DECODERS: dict[str, tuple[Callable[[bytes], object], Any]] = {  # what may be heard at each end of each channel
    "job, by the parent": (decode_from_job, FromJob),
    "parent, by a job": (decode_to_job, ToJob),
    "ledger, by the parent": (decode_from_ledger, FromLedger),
    "parent, by the ledger": (decode_to_ledger, ToLedger),
    "parent, by the exporter": (decode_to_exporter, ToExporter),
    "exporter, by the parent": (decode_from_exporter, Requested),
    "notifier, by the parent": (decode_from_notifier, FromNotifier),
    "parent, by the notifier": (decode_to_notifier, ToNotifier),
    "command, by the daemon": (decode_request, Request),
    "daemon, by a command": (decode_answer, Answer),
}


@pytest.mark.parametrize("end", DECODERS)
def test_what_comes_the_wrong_way_is_garbage(end: str) -> None:
    decode, union = DECODERS[end]
    heard, refused = set(), set()
    for sample in SAMPLES:
        try:
            assert decode(channels.encode(sample)) == sample
            heard.add(type(sample))
        except msgspec.ValidationError:
            refused.add(type(sample))
    assert heard == set(get_args(union) or (union,))
    assert refused == {type(sample) for sample in SAMPLES} - heard


def test_the_samples_are_every_message_a_channel_carries() -> None:
    carried = {one for _, union in DECODERS.values() for one in get_args(union) or (union,)}
    assert {type(sample) for sample in SAMPLES} == carried
    assert {type(body) for body in BODIES} == set(get_args(Body))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_comes_out_as_it_went_in(ends: Ends, message: Message) -> None:
    assert ends.ours.send(message)
    assert ends.theirs.receive(wait=True) == message
    ends.theirs.send(message)
    assert ends.ours.receive() == message


def test_messages_keep_their_boundaries_and_order(ends: Ends) -> None:
    sent = [FireJob(f"job-{number}") for number in range(50)]
    for message in sent:
        assert ends.theirs.send(message)
    assert list(ends.ours.waiting(30)) == sent[:30]
    assert list(ends.ours.waiting(30)) == sent[30:]
    assert list(ends.ours.waiting(30)) == []


def test_nothing_there_is_none_not_a_wait(ends: Ends) -> None:
    assert ends.ours.receive() is None
    assert ends.theirs.receive() is None  # also of a blocking end


def test_end_of_file_comes_after_the_last_word(ends: Ends) -> None:
    ends.theirs.send(Stop())
    ends.theirs.close()
    assert ends.ours.receive() == Stop()
    for _ in range(2):
        with pytest.raises(ChannelClosed, match="end of file"):
            ends.ours.receive()
    with pytest.raises(ChannelClosed):
        ends.ours.send(Stop())


def test_what_one_said_before_it_died_counts_also_when_it_left_messages_unread(ends: Ends) -> None:
    """Linux then reports ECONNRESET before it hands out what is still queued."""
    ends.ours.send(Stop())
    ends.theirs.send(FINISHED)
    ends.theirs.close()
    assert ends.ours.receive() == FINISHED
    with pytest.raises(ChannelClosed):
        ends.ours.receive()


def test_sending_to_the_dead_raises_no_signal(ends: Ends) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        ends.theirs.close()
        with pytest.raises(ChannelClosed):
            ends.ours.send(Stop())
    finally:
        signal.signal(signal.SIGPIPE, before)


GARBAGE = [
    b"\x00",
    b"{}",
    b"[]",
    b"null",
    b'{"type":"Nothing"}',
    b'{"type":"Beginning","last":1,"paused":false,"why_missed":""}',  # no message: a child is born with it
    b'{"type":"Stop","more":1}',
    b'{"type":"JobRemoved","name":7}',
    b'{"type":"JobRemoved","name":"\xff"}',
    b'{"type":"JobRemoved","name":"\\ud800"}',
    b'{"type":"Skipped","job":"a","first":1e300,"last":1,"count":1,"reason":"missed"}',
    b'{"type":"Skipped","job":"a","first":-1,"last":1,"count":1,"reason":"missed"}',
    b'{"type":"Skipped","job":"a","first":1,"last":1,"count":99999999999999999999,"reason":"missed"}',
    b'{"type":"Skipped","job":"a","first":NaN,"last":1,"count":1,"reason":"missed"}',
    b'{"type":"Sleeping","job":"a","due":1e999}',
    b'{"x":' + b"[" * 20_000,
    b'{"type":"Entry","seq":1,"body":{"type":"Stop"}}',
]


@pytest.mark.parametrize("packet", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_has_a_name(ends: Ends, packet: bytes) -> None:
    ends.raw.send(packet)
    with pytest.raises(ChannelGarbage) as raised:
        ends.ours.receive()
    assert len(str(raised.value)) < 1000
    ends.theirs.send(Stop())
    assert ends.ours.receive() == Stop(), "the next message is heard all the same"


mangled = st.builds(
    lambda sample, at, patch: (lambda p: p[: at % len(p)] + patch + p[at % len(p) + len(patch) :])(
        channels.encode(sample)
    ),
    st.sampled_from(SAMPLES),
    st.integers(0, 2000),
    st.binary(max_size=6),
)


@given(st.one_of(st.binary(max_size=300), mangled))
def test_any_bytes_are_a_message_or_garbage(packet: bytes) -> None:
    for ends in made():
        ends.raw.send(packet)
        try:
            message = ends.ours.receive()
        except (ChannelGarbage, ChannelClosed):
            continue
        assert isinstance(message, Message)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@given(st.sampled_from(SAMPLES), st.integers(0, 30), json_values)
def test_a_field_of_another_kind_harms_nobody(sample: Message, which: int, value: Any) -> None:
    """What decodes can be shown and stored: instants are dates, numbers fit into 64 bits."""
    fields = msgspec.to_builtins(sample)
    names = [name for name in fields if name != "type"]
    if not names:
        return
    fields[names[which % len(names)]] = value
    try:
        message = ANYTHING(msgspec.json.encode(fields))
    except (msgspec.MsgspecError, RecursionError):
        return
    if isinstance(message, Skipped):
        from tocsin.timestamps import rfc3339

        assert rfc3339(message.first)
        assert rfc3339(message.last)
        assert message.count < 2**63


def test_a_message_that_is_too_large_is_refused_where_it_is_made(ends: Ends) -> None:
    room = MESSAGE_SIZE - len(channels.encode(Note("")))
    assert ends.ours.send(Note("x" * room))
    received = ends.theirs.receive(wait=True)
    assert received == Note("x" * room)
    with pytest.raises(ValueError, match=f"cannot send Note: {MESSAGE_SIZE + 1} bytes, at most {MESSAGE_SIZE}"):
        ends.ours.send(Note("x" * (room + 1)))


def test_a_packet_that_is_too_large_is_garbage(ends: Ends) -> None:
    packet = channels.encode(FireJob("x" * MESSAGE_SIZE))
    ends.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MESSAGE_SIZE)
    ends.raw.send(packet)
    with pytest.raises(ChannelGarbage):
        ends.ours.receive()


def test_what_the_other_side_does_not_take_is_queued_up_to_the_bound() -> None:
    for ends in made(queue_length=10):
        sent: list[Message] = []
        while not ends.ours.backlog:
            sent.append(Entry(len(sent), SKIPPED))
            assert ends.ours.send(sent[-1])
        while ends.ours.backlog < 10:
            sent.append(Entry(len(sent), SKIPPED))
            assert ends.ours.send(sent[-1])
        assert not ends.ours.send(Stop()), "full: refused, not lost in silence"
        assert ends.ours.backlog == 10
        heard: list[Message] = []
        while len(heard) < len(sent):
            ends.ours.flush()
            heard.extend(ends.theirs.waiting(7))
        assert heard == sent
        assert ends.ours.backlog == 0
        assert ends.theirs.receive() is None


def test_a_later_message_never_overtakes_a_queued_one() -> None:
    for ends in made(queue_length=10):
        count = 0
        while not ends.ours.backlog:
            ends.ours.send(Committed(count, 0.0))
            count += 1
        assert ends.theirs.receive() == Committed(0, 0.0)  # there is room again, but also a queue
        ends.ours.send(Committed(count, 0.0))
        assert ends.ours.backlog == 2


def test_flushing_to_the_dead_raises() -> None:
    for ends in made():
        while not ends.ours.backlog:
            ends.ours.send(SKIPPED)
        ends.theirs.close()
        with pytest.raises(ChannelClosed):
            ends.ours.flush()


def test_an_adopted_descriptor_is_the_same_channel(ends: Ends) -> None:
    again: AnyChannel = Channel(channels.adopt(os.dup(ends.theirs.fileno())), ANYTHING, blocking=True)
    again.send(Stop())
    again.close()
    assert ends.ours.receive() == Stop()


def test_the_descriptors_do_not_survive_exec() -> None:
    for sock in channels.pair():
        assert not os.get_inheritable(sock.fileno())
        sock.close()


# ---- a named socket


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 107
    return folder


def test_a_folder_of_any_length_will_do(deep: Path) -> None:
    listener = channels.listen(deep, "control.sock")
    client = channels.connect(deep, "control.sock", decode_answer)
    sock, _ = listener.accept()
    server: AnyChannel = Channel(sock, decode_request, blocking=False)
    client.send(ListJobs())
    assert server.receive() == ListJobs()
    server.send(Done())
    assert client.receive(wait=True) == Done()
    for one in (client, server, listener):
        one.close()


def test_the_socket_is_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listener = channels.listen(tmp_path, "control.sock")
        assert os.umask(0) == 0, "the umask is put back"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600
    listener.close()


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    channels.listen(tmp_path, "control.sock").close()
    with pytest.raises(ConnectionRefusedError):
        channels.connect(tmp_path, "control.sock", decode_answer)
    listener = channels.listen(tmp_path, "control.sock")
    client = channels.connect(tmp_path, "control.sock", decode_answer)
    assert select.select([listener], [], [], 30)[0]
    client.close()
    listener.close()


def test_no_folder_and_no_socket_are_os_errors(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        channels.connect(tmp_path, "control.sock", decode_answer)
    with pytest.raises(FileNotFoundError):
        channels.connect(tmp_path / "missing", "control.sock", decode_answer)
    with pytest.raises(FileNotFoundError):
        channels.listen(tmp_path / "missing", "control.sock")
    assert len(os.listdir("/proc/self/fd")) == descriptors, "nothing stays open"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 253_402_300_799))
def test_a_run_id_is_the_uuid_of_job_and_instant(job: str, due: int) -> None:
    named = uuid.uuid5(uuid.UUID("7b1a7f9e-0c0b-5f0e-9d1c-70c51d000001"), f"{job}\n{due}")
    assert scheduled_run_id(job, due) == scheduled_run_id(job, due + 0.5) == str(named)

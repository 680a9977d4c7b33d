"""Long answers are made in pieces, between which others have their turn. The pieces make the same answer."""

import asyncio
from collections.abc import Generator

import pytest

from exporter_rig import NOON, Asked, job, run, world
from tocsin.exporter.pieces import PIECE, SLOW_PIECE, Work, at_once, in_turns, pieces
from tocsin.exporter.replies import Reply, Request
from tocsin.ipc.exporter import JobRemoved, ProcessExited
from tocsin.ipc.job import Sleeping

JOBS = PIECE + 2 * SLOW_PIECE
PATHS = ("/", "/metrics", "/api/jobs", "/readyz")


def name_of(number: int) -> str:
    return f"job-{number:05}"


@pytest.fixture
def asked() -> Asked:
    names = [name_of(number) for number in range(JOBS)]
    asked = Asked(*world(*(job(name=name) for name in names)), *(Sleeping(name, NOON + 60) for name in names))
    asked.tell(*(run(name=name) for name in names[::2]))
    for known in asked.state.jobs.values():
        known.seen = None  # or the memory of the processes would come in by and by
    return asked


def begun(asked: Asked, path: str) -> Work[Reply]:
    work = asked.routes.answer(Request("GET", path, host="127.0.0.1:9911"))
    assert isinstance(work, Generator)
    return work


def body_of(reply: Reply) -> bytes:
    return b"".join((reply.body, *reply.more))


def without_processes(body: bytes) -> list[bytes]:
    """The lines that do not change by themselves."""
    return [line for line in body.splitlines() if b"process_" not in line or b"job_name" in line]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_has_many_pieces_and_they_make_the_same_as_all_at_once(asked: Asked, path: str) -> None:
    in_pieces, steps = begun(asked, path), 0
    while True:
        try:
            next(in_pieces)
            steps += 1
            asked.json("/healthz")  # somebody else's turn
        except StopIteration as done:
            first = body_of(done.value)
            break
    assert steps > JOBS // PIECE
    asked.clock += 2  # nothing is shared any more
    second = asked.ask(path).body
    if path == "/metrics":
        assert without_processes(first) == without_processes(second)
    else:
        assert first == second
    assert first.count(name_of(JOBS - 1).encode()) == second.count(name_of(JOBS - 1).encode())


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/jobs"])
def test_no_piece_is_longer_than_another_number_of_jobs_makes_it(
    asked: Asked, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pieces, at most so many jobs are judged, rows rendered, or lines written."""
    done = 0

    def counted(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def instead(*arguments: object, **named: object) -> object:
            nonlocal done
            done += 1
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, instead)

    counted(type(asked.state), "judge")
    for memory in asked.metrics.families.memories[:1]:
        counted(type(memory), "_write")
    row = asked.routes._pages._row
    counted(type(row), "render")
    work, longest, total = begun(asked, path), 0, 0
    try:
        while True:
            done = 0
            next(work)
            longest, total = max(longest, done), total + done
    except StopIteration:
        pass
    assert total >= JOBS
    assert longest <= PIECE + 2
    if path == "/":
        assert total >= 2 * JOBS, "each job was judged and rendered"


@pytest.mark.parametrize("path", PATHS)
def test_jobs_that_change_come_and_go_in_the_middle(asked: Asked, path: str) -> None:
    work, turn = begun(asked, path), 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            reply: Reply = done.value
            break
        turn += 1
        asked.tell(
            JobRemoved(name_of(turn)),
            JobRemoved(name_of(JOBS - turn)),
            job(name=f"new-{turn}"),
            ProcessExited("job", name_of(SLOW_PIECE + turn), "error", ""),
            *(run(name=name_of(number)) for number in range(PIECE, PIECE + 20)),
        )
    assert reply.status in (200, 503)
    assert body_of(reply)
    asked.clock += 2
    fresh = asked.ask(path).body
    assert name_of(1).encode() not in fresh
    if path == "/metrics":
        assert b"new-1" in fresh
        assert not any(memory.changed for memory in asked.metrics.families.memories)


def test_a_row_that_changed_after_it_was_judged_is_rendered_again(asked: Asked) -> None:
    work = begun(asked, "/")
    for _ in range(JOBS // PIECE + 4):
        next(work)
    asked.tell(run(name=name_of(JOBS - 1), outcome="http_error", detail="it answered 500"))
    at_once(work)
    asked.clock += 2
    assert b"it answered 500" in asked.ask("/").body


def test_others_have_their_turn_between_the_pieces() -> None:
    async def others() -> tuple[int, int]:
        turns, over = 0, False

        async def other() -> None:
            nonlocal turns
            while not over:
                turns += 1
                await asyncio.sleep(0)

        def work() -> Work[int]:
            for _ in range(50):
                yield
            return 7

        task = asyncio.create_task(other())
        result = await in_turns(work())
        over = True
        await task
        return turns, result

    turns, result = asyncio.run(others())
    assert turns >= 50
    assert result == 7


def test_pieces_are_the_whole() -> None:
    for size in (1, 2, 7, SLOW_PIECE):
        for many in range(9):
            parts = list(pieces(range(many), size))
            assert [one for part in parts for one in part] == list(range(many))
            assert all(0 < len(part) <= size for part in parts)

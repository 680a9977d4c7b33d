"""Long work in pieces: a generator that yields where other requests may have their turn, and returns its result."""

import asyncio
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Work = Generator[None, None, T]

PIECE = 500  # jobs looked at, or lines written, at once: a few milliseconds
SLOW_PIECE = 100  # rows or objects of jobs rendered at once, each of which takes a tenth of a millisecond


def pieces(whole: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    rest = iter(whole)
    while some := list(islice(rest, size)):
        yield some


def at_once(work: Work[T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


async def in_turns(work: Work[T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)

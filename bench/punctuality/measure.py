"""One tool with so many jobs: start it, let it fire, write down what the sink saw and what it cost.

The tool is started just after an instant of the grid (whole multiples of the period since the epoch), or with most
of a period left, so that it has time to come up; its memory is read when it sleeps; the next instant is its first
(cold) fire. (Unless it came up, and fired, while it was still being looked at: then no cold fire is known.)
"""

import math
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from punctuality.peer import Command, Peer, Plan
from punctuality.sink import SECRET, Sink
from punctuality.stats import EARLY, lateness, match
from punctuality.tree import Tree

BEFORE = 3.0  # seconds before an instant at which its processor time begins to count: tools may prepare
AFTER = 5.0  # and how long it counts at least
QUIET = 3.0  # seconds without a request: the instant's work is done
ASLEEP = 0.03  # of a core: a tree that uses less sleeps
SHORT = 15  # seconds: below this a period has no room for a window, and the run as a whole is measured
START = 0.75  # of a period must be left for a start; else the next instant is waited for
READY = 110.0  # seconds a tool may take to come up


class NotReady(Exception):
    """The tool did not come up."""


def wait_until(epoch: float) -> None:
    time.sleep(max(0.0, epoch - time.time()))


def not_before(epoch: float, instant: int, period: int) -> int:
    """The instant, or the first one a whole number of periods later that is not before `epoch`."""
    return instant + period * max(0, math.ceil((epoch - instant) / period))


def come_up(tree: Tree, commands: list[Command], log: Path) -> None:
    """Start the commands one after the other. Raises NotReady with the tool's last words."""
    for number, command in enumerate(commands):
        output = log.with_suffix(f".{number}")
        tree.start(command.words, command.whole_environment(), log.parent, output)
        give_up = time.monotonic() + READY
        while not command.ready(output.read_text(errors="replace")):
            if tree.died() or time.monotonic() > give_up:
                said = output.read_text(errors="replace")[-2000:]
                raise NotReady(f"{'ended' if tree.died() else 'not ready'}: {' '.join(command.words)}\n{said}")
            time.sleep(0.1)


def fall_asleep(tree: Tree, deadline: float) -> bool:
    """Wait until the tree uses next to no processor; False when it still does at the deadline (epoch seconds)."""
    while time.time() < deadline:
        before = tree.cpu()
        time.sleep(0.5)
        if tree.cpu() - before < 0.5 * ASLEEP:
            return True
    return False


def watch(tree: Tree, sink: Sink, due: int, period: int) -> dict[str, float]:
    """Sleep through one instant: seconds of processor time of the tree and the sink in a window around it.

    The window ends when no request has come for QUIET seconds, or shortly before the next instant's begins.
    """
    wait_until(due - BEFORE)
    begin, tree_begin, sink_begin = time.time(), tree.cpu(), sink.cpu()
    seen, since = sink.count(), due + AFTER - QUIET
    while time.time() < min(since + QUIET, due + period - BEFORE - 0.5):
        time.sleep(0.2 if time.time() > due + 1 else max(0.0, due + 1 - time.time()))  # the fire itself is left alone
        if (count := sink.count()) != seen:
            seen, since = count, max(since, time.time())
    return {"window": time.time() - begin, "cpu": tree.cpu() - tree_begin, "sink_cpu": sink.cpu() - sink_begin}


def measure(peer: Peer, sink: Sink, cache: Path, jobs: int, fires: int, period: int) -> dict[str, Any]:
    """One cold fire and then warm ones, `fires` in all. Seconds and bytes. Raises NotReady."""
    folder = Path(tempfile.mkdtemp(prefix=f"{peer.name}-{jobs}-", dir=cache))
    tree = Tree(apart={sink.process.pid})
    now = time.time()
    instant = int(now // period + 1) * period
    enough = instant - now >= START * period
    started, first = (now, instant) if enough else (instant + 0.2, instant + period)
    url = f"https://localhost:{sink.tls}" if peer.real else f"http://127.0.0.1:{sink.plain}"
    plan = Plan(folder, cache, jobs, first, period, url, sink.certificate, SECRET)
    before, sink_began, number = sink.totals(), sink.cpu(), sink.count()
    try:
        commands = peer.commands(plan)
        wait_until(started)
        come_up(tree, commands, folder / "output")
        came_up = time.time()
        result: dict[str, Any] = {
            "tool": peer.name,
            "jobs": jobs,
            "period": period,
            "about": peer.about,
            "ready_after": came_up - started,
        }
        room = BEFORE if period >= SHORT else 0.5
        first = not_before(time.time() + room + 2, first, period)  # a slow start: the next instant, then
        quiet = fall_asleep(tree, first - room - 1)
        asleep, processes = tree.pss(), len(tree.pids())
        first = not_before(time.time() + room, first, period)
        dues = [first + n * period for n in range(fires)]
        windows = []
        if period >= SHORT:
            windows = [watch(tree, sink, due, period) for due in dues]
        else:
            wait_until(dues[0] + period / 2)
            begin, tree_begin, sink_begin = time.time(), tree.cpu(), sink.cpu()
            wait_until(dues[-1] + period / 2)
            share = {"cpu": tree.cpu() - tree_begin, "sink_cpu": sink.cpu() - sink_begin, "window": time.time() - begin}
            windows = [{}, *({name: value / (fires - 1) for name, value in share.items()} for _ in dues[1:])]
        after = tree.pss()
        if tree.died():
            raise NotReady("a process ended while it was measured")
    finally:
        tree.stop()
        shutil.rmtree(folder)
    records = sink.records(number)
    arrived = match([(job, at) for job, at, _ in records], dues, jobs)
    seen = match([(job, at) for job, _, at in records], dues, jobs)
    result["fires"] = [
        {
            "due": one.due,
            "arrived": asdict(lateness(one.lateness)),
            "seen": asdict(lateness(two.lateness)),
            "missed": one.missed,
            "duplicates": one.duplicates,
            "unknown": one.unknown,
            **window,
        }
        for one, two, window in zip(arrived, seen, windows, strict=True)
    ]
    totals = sink.totals()
    return result | {
        "cold": all(at > first - EARLY for _, at, _ in records),  # else it fired before it was looked at
        "asleep": asleep,
        "was_asleep": quiet,
        "processes": processes,
        "after": after,
        "sink": {name: totals[name] - before[name] for name in totals} | {"cpu": sink.cpu() - sink_began},
    }

"""What one round of a job's process costs: ask, connect, wake up, send, read the reply, report.

    python bench/round.py

The parent is a process that grants whatever is asked; the endpoint is that of `make bench` (it needs gcc and OpenSSL's
headers). Each wait ends after so many milliseconds as if its instant had come: the longer they are, the more of the
processor's caches somebody else has taken meanwhile.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from tocsin.ipc.channel import AnyChannel
from tocsin.ipc.job import decode_from_job, decode_to_job

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # from a checkout, installed or not

from punctuality.sink import SECRET, Sink
from tocsin import config
from tocsin.call import deadline
from tocsin.call.attempts import Endpoint
from tocsin.config import Job
from tocsin.ipc import channel as channels
from tocsin.ipc.channel import Channel, ChannelClosed, Readable
from tocsin.ipc.job import Ask, Beginning, Finished, Grant
from tocsin.job.clock import Clock, Woken
from tocsin.job.main import JobProcess

CACHE = Path(__file__).parent / ".cache"
WAITS = (0.01, 0.2, 1.0, 5.0, 20.0)  # milliseconds
WARM = 100  # rounds before the ones that count: bytecode is specialised by then


class Hurried(Clock):
    """Each wait is over after `seconds`, as if its instant had come."""

    seconds = 0.0
    reached = 0.0

    def now(self) -> float:
        return max(time.time(), self.reached)

    def wait(self, until: float, channel: Readable, line: Readable | None = None) -> Woken:
        woken = super().wait(time.time() + self.seconds, channel, line)
        if woken == "due":
            self.reached = max(self.reached, until)
        return woken


def job_at(url: str) -> Job:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tocsin.toml")
        file.write_text(
            f'[target]\nbase_url = "{url}"\n[jobs.one]\nschedule = "* * * * *"\npath = "/job/1"\n'
            'expect.json = { success = true }\ntotals = { unassigned = "unassignedCount" }\n'
        )
        return config.load(file, {"CRON_SECRET": SECRET}).jobs["one"]


def grant(channel: AnyChannel) -> None:
    """Plays the parent, until the process that asks is gone."""
    try:
        while True:
            message = channel.receive(wait=True)
            if isinstance(message, Ask):
                channel.send(Grant(message.job, message.due))
            elif isinstance(message, Finished) and message.outcome != "success":
                print(f"{message.outcome}: {message.detail}", flush=True)
    except ChannelClosed:
        os._exit(0)


def measure(process: JobProcess, clock: Hurried, rounds: int) -> None:
    print(f"{'wait, ms':>10}{'user, µs':>10}{'system, µs':>12}{'s per 1,000':>13}")
    for wait in WAITS:
        clock.seconds = wait / 1000
        for _ in range(WARM):
            process.step()
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(rounds):
            process.step()
        after = resource.getrusage(resource.RUSAGE_SELF)
        user, system = ((getattr(after, one) - getattr(before, one)) / rounds for one in ("ru_utime", "ru_stime"))
        print(f"{wait:10g}{user * 1e6:10.0f}{system * 1e6:12.0f}{(user + system) * 1e3:13.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    CACHE.mkdir(exist_ok=True)
    deadline.listen()
    ours, theirs = channels.pair()
    parent = os.fork()
    if parent == 0:
        theirs.close()
        grant(Channel(ours, decode_from_job, blocking=True))
    ours.close()
    try:
        with Sink(CACHE) as sink:
            job, clock = job_at(f"http://127.0.0.1:{sink.plain}"), Hurried()
            beginning = Beginning(int(time.time()), (0.0, 0.0), "")
            measure(
                JobProcess(job, Channel(theirs, decode_to_job, blocking=True), beginning, clock, Endpoint(job)),
                clock,
                rounds,
            )
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


if __name__ == "__main__":
    main()

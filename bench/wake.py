"""How late does a process wake that waits for an instant? Ours beside what others use, in one run.

    python bench/wake.py [rounds]

Prints p50 and p99 of the lateness in microseconds: our Clock (timerfd and poll), time.sleep, select with a
timeout, epoll with a timeout, and clock_nanosleep(TIMER_ABSTIME) called from C (gcc must be there). The ways take
turns, so that they see the same machine.
"""

import ctypes
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tocsin.ipc import channel as channels
from tocsin.job.clock import Clock

AHEAD = 0.02  # seconds from now to the instant

C = """
#include <time.h>
double wake(double until) {
    struct timespec at = {(time_t)until, (long)((until - (time_t)until) * 1e9)}, now;
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec - until + now.tv_nsec * 1e-9;
}
"""


def in_c(folder: str) -> Callable[[float], float]:
    source, library = Path(folder, "wake.c"), Path(folder, "wake.so")
    source.write_text(C)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).wake
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    return lambda until: float(function(until))


def main(rounds: int) -> None:
    ours, theirs = channels.pair()
    clock, epoll = Clock(), select.epoll()

    def lateness(wait: Callable[[float], object]) -> Callable[[float], float]:
        def measured(until: float) -> float:
            wait(until)
            return time.time() - until

        return measured

    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "tocsin (timerfd + poll)": lateness(lambda until: clock.wait(until, theirs)),
            "C clock_nanosleep": in_c(folder),
            "time.sleep": lateness(lambda until: time.sleep(until - time.time())),
            "select(timeout)": lateness(lambda until: select.select([ours], [], [], until - time.time())),
            "epoll(timeout)": lateness(lambda until: epoll.poll(until - time.time())),
        }
        seen: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, wait in ways.items():
                seen[way].append(wait(time.time() + AHEAD) * 1e6)
    floor = statistics.median(seen["C clock_nanosleep"])
    print(f"{'':28}{'p50 µs':>9}{'p99 µs':>9}{'p50 / C':>9}")
    for way, found in seen.items():
        p50, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
        print(f"{way:28}{p50:9.0f}{p99:9.0f}{p50 / floor:9.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)

"""A process that calls: for each order it forks a child, as the daemon does, and measures it.

It has one thread, unlike the process of the tests. Orders and reports are pickles on its standard input and
output; what the child writes there would be garbage, and to standard error is for the test to read.
"""

import dataclasses
import os
import pickle
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from tocsin.call import attempts, deadline
from tocsin.call.request import Attempt, Caller
from tocsin.config import Job
from tocsin.ipc.job import Ask, Finished, scheduled_run_id
from tocsin.redact import redact


@dataclasses.dataclass(frozen=True)
class Order:
    job: Job
    warm_up: Job  # called first, so that what every call needs once does not count
    addresses: tuple[tuple[str, int], ...] | None = None  # what the job's host resolves to; () is an error
    trusted: str = ""  # a file of certificates to trust
    data_limit: int = 0  # bytes, as memory_limit sets it


@dataclasses.dataclass(frozen=True)
class Report:
    finished: Finished | None  # None when the child died
    tries: int
    seconds: float
    grown: int  # bytes of memory at the peak, above what it had before the call


def carry_out(order: Order) -> Report:
    attempts.BACKOFF = (0.01, 0.02)
    if order.trusted:
        os.environ["SSL_CERT_FILE"] = order.trusted
    _call(Caller(order.warm_up))
    if order.addresses is not None:
        _resolve(order.addresses)
    if order.data_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (order.data_limit, order.data_limit))
    caller = Caller(order.job)
    redact.hide(order.job.secret.parts() if order.job.secret else [])
    tries: list[Attempt | None] = []
    original = caller.attempt

    def counted(*args: Any) -> Attempt:
        tries.append(None)
        return original(*args)

    caller.attempt = counted  # type: ignore[method-assign, assignment]
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    before, began = _memory("VmRSS"), time.monotonic()
    finished = _call(caller)
    return Report(finished, len(tries), time.monotonic() - began, _memory("VmHWM") - before)


def _call(caller: Caller) -> Finished:
    due = time.time()
    ask = Ask(caller.job.name, due, scheduled_run_id(caller.job.name, due))
    deadline.listen()
    return attempts.perform(caller, ask, due + 60, _rest)


def _rest(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def _resolve(addresses: tuple[tuple[str, int], ...]) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    socket.getaddrinfo = getaddrinfo


def _memory(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise LookupError(key)


def _forked(work: Callable[[], bytes]) -> bytes:
    """What `work` makes in a child; empty when it dies."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        code = 1
        try:
            os.close(reader)
            with open(writer, "wb") as pipe:
                pipe.write(work())
            code = 0
        except BaseException:  # noqa: BLE001 - the last frame of the process
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as pipe:
        made = pipe.read()
    os.waitpid(pid, 0)
    return made


def main(orders: BinaryIO, reports: BinaryIO) -> None:
    while True:
        try:
            order = pickle.load(orders)
        except EOFError:
            return
        made = _forked(lambda order=order: pickle.dumps(carry_out(order)))  # type: ignore[misc]
        reports.write(made or pickle.dumps(Report(None, 0, 0.0, 0)))
        reports.flush()


if __name__ == "__main__":
    import caller  # so that the pickled classes have one name here and in the tests

    caller.main(sys.stdin.buffer, sys.stdout.buffer)

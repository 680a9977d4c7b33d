"""The `tocsin` program: prepares signals and standard streams before other imports, then runs the command line."""

import os
import signal
import sys

HELD_BACK = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}  # until the daemon handles them: by default they kill


def main() -> None:
    closed = open_standard_descriptors()
    if sys.argv[1:2] == ["run"]:
        prepare_for_signals()
        if 1 in closed and 2 not in closed:
            os.write(2, b"tocsin: standard output is closed, so nobody can read the log\n")
    from tocsin.cli import main as commands

    commands()


def open_standard_descriptors() -> list[int]:
    """Open /dev/null in place of each closed standard stream. Otherwise a file or socket would get its number, be taken
    for standard output, and stay open in every child."""
    closed = []
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # open(2) takes the lowest free number
            closed.append(descriptor)
    return closed


def prepare_for_signals() -> None:
    """Set signals for the time until the daemon's handlers are set: a reload waits, and a stop ends it at once."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback
    if os.getpid() == 1:  # the kernel ignores signals to process 1 that have no handler
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os._exit(128 + number))


if __name__ == "__main__":
    main()

"""`tocsin`, as one node of the bench runs it: it names itself in its calls, its clock may be off, and a safety rule
may be switched off. The bench does that here, so that no setting of Tocsin can.

    BENCH_NODE=n1 BENCH_CLOCK=+2 BENCH_WITHOUT=until python as_node.py run
"""

import os
import time


def set_clock(off: float) -> None:
    """The wall clock of this process and its children, before anything of Tocsin's is imported."""
    real = time.time
    time.time = lambda: real() + off

    from tocsin import linux

    arm = linux.arm_timerfd
    linux.arm_timerfd = lambda descriptor, until: arm(descriptor, until - off)


def without(rule: str) -> None:
    """Switch one of the safety rules off."""
    from tocsin.job.main import JobProcess
    from tocsin.ledger import opening, peers
    from tocsin.ledger.session import Fence

    def patch(place: object, name: str, value: object) -> None:
        assert hasattr(place, name), f"there is no {name} any more"
        setattr(place, name, value)

    match rule:
        case "until":  # a grant that is over is not asked for again before the call
            patch(JobProcess, "holds", lambda _self, _grant: True)
        case "contact":  # whoever is back first after an outage may give up the others at once
            patch(peers, "CONTACT", 0.0)
            patch(opening, "CONTACT", 0.0)
        case "fence":  # who was given up writes all the same
            patch(Fence, "seq", property(lambda fence: int((fence._row() or (0,))[0])))
        case _:
            raise SystemExit(f"there is no rule {rule!r}")


def main() -> None:
    if off := float(os.environ.get("BENCH_CLOCK", "0")):
        set_clock(off)
    if rule := os.environ.get("BENCH_WITHOUT", ""):
        without(rule)
    from tocsin.call import headers

    headers.USER_AGENT += f" {os.environ['BENCH_NODE']}"

    from tocsin.__main__ import main as tocsin

    tocsin()


if __name__ == "__main__":
    main()

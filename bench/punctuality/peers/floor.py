"""The floor in C; see c/floor.c."""

from pathlib import Path

from punctuality.peer import Command, Plan
from punctuality.sink import build


class Floor:
    real = False
    seconds = True

    def __init__(self, name: str, way: str, about: str) -> None:
        self.name, self.way, self.about = name, way, about

    def setup(self, cache: Path) -> None:
        build("floor", cache)

    def commands(self, plan: Plan) -> list[Command]:
        port = plan.url.rsplit(":", 1)[1]
        words = [self.way, port, plan.jobs, plan.first, plan.period, plan.secret]
        return [Command([str(plan.cache / "floor"), *map(str, words)])]


PROCESSES = Floor(
    "floor", "processes", "C, one process for each job: its connection open, `clock_nanosleep`, one `send`, one `read`"
)
SINGLE = Floor("floor-single", "single", "C, one process with all connections open that sends in one loop")

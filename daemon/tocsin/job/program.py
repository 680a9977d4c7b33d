"""The main function of a job's process, prepared before the fork."""

import gc
import resource
from collections.abc import Callable

from tocsin import immortal, linux
from tocsin.call import deadline
from tocsin.call.attempts import Endpoint
from tocsin.config import Job
from tocsin.ipc.channel import Channel
from tocsin.ipc.job import Beginning, FromJob, ToJob
from tocsin.job.clock import Clock
from tocsin.job.main import JobProcess


def program(job: Job) -> Callable[[Channel[FromJob, ToJob], Beginning], None]:
    """Return the main function of the forked child, which runs until Stop. This is called before the fork, so the
    children share what it builds."""
    endpoint = Endpoint(job)
    deadline.listen()
    linux.sharpest_timers()  # children inherit them

    def main(channel: Channel[FromJob, ToJob], beginning: Beginning) -> None:
        gc.freeze()  # a garbage collection would touch the parent's objects, and so copy their pages
        if job.memory_limit:
            resource.setrlimit(resource.RLIMIT_DATA, (job.memory_limit, job.memory_limit))
        JobProcess(job, channel, beginning, Clock(), endpoint).run()

    immortal.more(main)
    return main

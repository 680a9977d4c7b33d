"""Celery: beat asks, Redis carries, a worker calls."""

from pathlib import Path

from punctuality.install import needs, python
from punctuality.peer import Command, Plan, said
from punctuality.peers.tocsin import free_port

APP = "celery_app.py"


class Celery:
    name = "celery"
    about = "Celery 5.7.0: beat, one prefork worker with 8 processes, urllib3; Redis as the broker (counted in)"
    real = False
    seconds = False  # its crontab has minutes

    def setup(self, cache: Path) -> None:
        needs("redis-server", "redis-server")
        python(cache, self.name, APP)

    def commands(self, plan: Plan) -> list[Command]:
        port = free_port()
        folder = plan.cache / self.name
        redis = [needs("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
        environment = {
            "URL": plan.url,
            "JOBS": str(plan.jobs),
            "CRON_SECRET": plan.secret,
            "BROKER": f"redis://127.0.0.1:{port}/0",
            "PYTHONPATH": str(folder),
            "C_FORCE_ROOT": "1",
        }
        celery = [str(folder / ".venv/bin/celery"), "-A", "celery_app"]
        return [
            Command([*redis, "--save", "", "--appendonly", "no"], ready=said("Ready to accept connections")),
            Command([*celery, "worker", "--concurrency", "8", "--loglevel", "INFO"], environment, said(" ready.")),
            Command([*celery, "beat", "--loglevel", "INFO"], environment, said("beat: Starting")),
        ]


CELERY = Celery()

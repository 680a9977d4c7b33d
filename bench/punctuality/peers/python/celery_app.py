"""celery -A celery_app worker|beat: what to call is in the environment."""

import os

import urllib3
from celery import Celery
from celery.schedules import crontab

URL, JOBS = os.environ["URL"], int(os.environ["JOBS"])
pool = urllib3.PoolManager(headers={"x-cron-secret": os.environ["CRON_SECRET"]})

app = Celery("bench", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, timezone="UTC", broker_connection_retry_on_startup=True)


@app.task(name="call")
def call(job: int) -> None:
    reply = pool.request("POST", f"{URL}/job/{job}")
    if reply.status != 200 or not reply.json()["success"]:
        raise RuntimeError(f"job {job}: {reply.status}")


app.conf.beat_schedule = {
    f"job-{job}": {"task": "call", "schedule": crontab(), "args": (job,)}  # every minute
    for job in range(JOBS)
}

"""python apscheduler_jobs.py JOBS PERIOD URL: one process, a thread pool, a pool of connections."""

import os
import sys
import time

import urllib3
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

THREADS = 100
jobs, period, url = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
tls = {"ca_certs": os.environ["SSL_CERT_FILE"]} if url.startswith("https:") else {}
secret = {"x-cron-secret": os.environ["CRON_SECRET"]}
pool = urllib3.connection_from_url(url, maxsize=THREADS, headers=secret, **tls)


def call(job: int) -> None:
    reply = pool.request("POST", f"/job/{job}")
    if reply.status != 200 or not reply.json()["success"]:
        print(f"job {job}: {reply.status}")


scheduler = BackgroundScheduler(
    timezone="UTC",
    executors={"default": ThreadPoolExecutor(THREADS)},
    job_defaults={"misfire_grace_time": 60},  # the default, 1 s, drops what the pool has not reached by then
)
for job in range(jobs):
    scheduler.add_job(call, "cron", args=[job], second="0" if period == 60 else f"*/{period}")
scheduler.start()
print("ready", flush=True)
while True:
    time.sleep(3600)

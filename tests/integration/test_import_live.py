"""What was imported, called for real: as curl called it, and as Vercel calls."""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import SECRET, Call, Daemon, Endpoint
from tocsin import config
from tocsin.call.request import Caller, Progress
from tocsin.importing import crontab, toml
from tocsin.ipc.job import Ask, scheduled_run_id

RARELY = "0 0 29 2 *"  # fired by hand only
LITERAL = "another-secret-that-stands-there"
RANDOM = "5f3a1c520b1e4c4f9a552d8f6e1b7c90"
OURS = re.compile(
    "content-length|x-tocsin-|traceparent|idempotency-key|connection|accept-encoding|user-agent|cache-control|accept$|host"
)
COMMANDS = [
    '-fsS -m 20 -X POST -H "x-cron-secret: $CRON_SECRET" "$APP/headers"',
    '-s -H "Authorization: Bearer $CRON_SECRET" "$APP/bearer?a=1&b=%C3%A4"'.replace("%", r"\%"),
    f'-s -u "me:{LITERAL}" $APP/basic',
    """-s --json '{"kind": "x y", "price": "$5"}' -X PUT $APP/json""",
    f"-s -d 'a=1&b=two' --data-urlencode 'q=a b+~c' -d 'token={LITERAL}' $APP/form",
    f'-s "$APP/query?secret={LITERAL}&n=1"',
    '-s -G --data-urlencode "q=a b&c" -H "X-Plain: yes" $APP/search',
    f"-s $APP/hooks/{RANDOM}",
]


def shape(call: Call) -> tuple[object, ...]:
    """What an endpoint goes by; the query in any order, as a secret in it moves to its end."""
    path, _, query = call.path.partition("?")
    headers = {name: value for name, value in call.headers.items() if not OURS.match(name)}
    return call.method, path, sorted(query.split("&")), headers, call.body


@pytest.mark.skipif(not shutil.which("curl"), reason="compares with curl")
def test_an_imported_crontab_calls_as_curl_did(tmp_path: Path, endpoint: Endpoint) -> None:
    lines = [f"{RARELY} curl {command} >/dev/null" for command in COMMANDS]
    settings = [f"CRON_SECRET={SECRET}", f"APP={endpoint.url}"]
    found = crontab.read("\n".join([*settings, *lines]), "crontab")
    file = tmp_path / "tocsin.toml"
    file.write_text(toml.job_file([found], with_target=False))

    basic = base64.b64encode(f"me:{LITERAL}".encode()).decode()
    values = {"BASIC": f"Basic {basic}", "SECRET": LITERAL, "PATH": RANDOM}
    asked = [note.text.partition(":")[0] for note in found.notes if note.kind == "set"]
    variables = {name: values[name.rpartition("_")[2]] for name in asked} | {"CRON_SECRET": SECRET}
    jobs = config.load(file, variables).jobs.values()
    assert len(jobs) == len(COMMANDS)

    for command in COMMANDS:
        sh = command.replace(r"\%", "%")  # as cron hands it on
        environment = {**os.environ, "APP": endpoint.url, "CRON_SECRET": SECRET}
        subprocess.run(f"curl {sh} >/dev/null", shell=True, env=environment, check=True, timeout=20)
    curled = [shape(call) for call in endpoint.calls]
    endpoint.calls.clear()
    for job in jobs:
        run_id = scheduled_run_id(job.name, 0)
        assert Caller(job).attempt(Ask(job.name, 0, run_id), 0, Progress()).verdict.outcome == "success"
    assert [shape(call) for call in endpoint.calls] == curled


def test_a_vercel_json_is_read_live_and_called_as_vercel_does(daemon: Daemon, endpoint: Endpoint) -> None:
    file = daemon.folder / "vercel.json"
    sync = {"path": "/api/cron/sync?source=a", "schedule": RARELY}
    file.write_text(json.dumps({"crons": [sync]}))
    daemon.write('[jobs.own]\nschedule = "0 0 29 2 *"\npath = "/own"\n', daemon='jobs_from = ["vercel.json"]')
    daemon.start()
    own = daemon.child("job own")
    assert daemon.run("fire", "sync").returncode == 0
    (call,) = endpoint.calls
    assert (call.method, call.path, call.body) == ("GET", "/api/cron/sync?source=a", b"")
    sent = {name: call.headers[name] for name in ("authorization", "user-agent", "x-vercel-cron-schedule")}
    assert sent == {
        "authorization": f"Bearer {SECRET}",
        "user-agent": "vercel-cron/1.0",
        "x-vercel-cron-schedule": RARELY,
    }

    file.write_text(json.dumps({"crons": [{**sync, "schedule": "61 * * * *"}]}))
    refused = daemon.run("reload")
    assert refused.returncode == 2
    assert "vercel.json crons[0]: schedule" in refused.stderr
    assert daemon.child("job sync")

    file.write_text(json.dumps({"crons": [sync, {"path": "/api/cron/second", "schedule": RARELY}]}))
    assert daemon.run("reload").returncode == 0
    assert daemon.run("fire", "second").returncode == 0
    assert endpoint.calls[-1].path == "/api/cron/second"
    assert daemon.child("job own") == own, "an unchanged job keeps its process"

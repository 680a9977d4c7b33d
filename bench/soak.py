"""Jobs that fire every second while something is killed every second; then the books are compared.

    python bench/soak.py [seconds] [jobs] [seed]        (600 s, 200 jobs and seed 1 unless said)

Every second one process is killed with SIGKILL: mostly a job's, now and then the ledger's, the exporter's, or the
parent (which is then started again, as supervisord would). Or, instead, ten jobs are changed and the file is reloaded,
or the lock of the state folder is deleted. At the end the ledger is compared with what the
endpoint itself wrote down. It prints the totals and exits 1 when a slot was called twice, has no row or two rows,
or when a call has no row that accounts for it.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from aiohttp import web

from tocsin.ledger import stores

TOCSIN = Path(sys.executable).parent / "tocsin"
VICTIMS = ["job"] * 30 + ["ledger"] * 2 + ["exporter"] * 2 + ["parent"] + ["reload"] * 4 + ["lock"]
CHANGED = 10  # jobs that a reload changes
SINK, PAGE = 9942, "127.0.0.1:9941"
ALL = 100_000_000  # rows: no limit


def children(parent: int) -> dict[int, str]:
    """pid -> title of the daemon's processes."""
    found = {}
    with contextlib.suppress(OSError):
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
                found[int(pid)] = title.removeprefix("tocsin: ")
    return found


async def soak(seconds: float, jobs: int, seed: int, folder: Path) -> tuple[list[tuple[str, str]], Counter[str]]:
    """The calls as the endpoint saw them (job, scheduled at), and who was killed how often."""
    calls: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append((request.headers["X-Tocsin-Job"], request.headers["X-Tocsin-Scheduled-At"]))
        return web.json_response({"success": True})

    app = web.Application()
    app.router.add_post("/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SINK, backlog=4096).start()

    versions = dict.fromkeys(range(jobs), 0)

    def write() -> None:
        tables = "".join(f'[jobs.j{n}]\nevery = "1s"\npath = "/{n}?version={v}"\n' for n, v in versions.items())
        (folder / "tocsin.toml").write_text(f'[target]\nbase_url = "http://127.0.0.1:{SINK}"\n{tables}')

    write()
    environment = os.environ | {
        "TOCSIN_CONFIG": str(folder / "tocsin.toml"),
        "TOCSIN_LISTEN": PAGE,
        "CRON_SECRET": "a-secret-for-the-soak",
    }
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    with (folder / "log").open("wb") as log:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([TOCSIN, "run"], env=environment, stdout=log, stderr=log)

        daemon = start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(1)
            if daemon.poll() is not None:
                daemon = start()
            kind = chance.choice(VICTIMS)
            if kind == "reload":
                for changed in chance.sample(range(jobs), min(jobs, CHANGED)):
                    versions[changed] += 1
                write()
                daemon.send_signal(signal.SIGHUP)
            elif kind == "lock":
                (folder / "var" / "tocsin.lock").unlink(missing_ok=True)
            if kind in ("reload", "lock"):
                killed[kind] += 1
                continue
            family = sorted((title, pid) for pid, title in children(daemon.pid).items() if title.startswith(kind))
            target = daemon.pid if kind == "parent" else chance.choice(family)[1] if family else None
            if target is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(target, signal.SIGKILL)
                    killed[kind] += 1
            if kind == "parent":
                daemon.wait()
        daemon = start() if daemon.poll() is not None else daemon
        await asyncio.sleep(15)  # quiet at last: whoever waits for the lock or a backoff comes back
        daemon.terminate()
        while daemon.poll() is None:
            await asyncio.sleep(0.1)
        killed["exit code of the last daemon"] = daemon.returncode
    await runner.cleanup()
    return calls, killed


def reconcile(calls: list[tuple[str, str]], folder: Path) -> bool:
    rows = stores.reader("sqlite", folder / "var").history(limit=ALL)
    called = Counter(calls)
    twice = [call for call, times in called.items() if times > 1]
    fates = Counter(row["outcome"] or row["reason"] or row["state"] for row in rows for _ in range(row["count"]))
    spans: dict[str, list[tuple[int, int, int]]] = {}
    accounted = set()
    for row in rows:
        spans.setdefault(row["job"], []).append((int(row["due"]), int(row["last"]), row["count"]))
        if row["outcome"]:
            accounted.add((row["job"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["due"]))))
    gaps = overlaps = 0
    for runs in spans.values():
        for (_, last, _), (first, _, _) in zip(sorted(runs), sorted(runs)[1:], strict=False):
            gaps += max(0, first - last - 1)
            overlaps += max(0, last + 1 - first)
        gaps += sum(last - first + 1 - count for first, last, count in runs)
    unaccounted = [call for call in called if call not in accounted]
    print(f"slots in the ledger      {sum(fates.values())}")
    for fate, times in sorted(fates.items()):
        print(f"  {fate:22} {times}")
    print(f"calls at the endpoint    {len(calls)}")
    print(f"called twice             {len(twice)}")
    print(f"slots without a row      {gaps}")
    print(f"slots with two rows      {overlaps}")
    print(f"calls without a row      {len(unaccounted)}")
    return not (twice or gaps or overlaps or unaccounted or fates["started"])


def main() -> None:
    seconds, jobs, seed = (int(word) for word in (*sys.argv[1:], *("600", "200", "1")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        calls, killed = asyncio.run(soak(seconds, jobs, seed, Path(name)))
        print(f"{jobs} jobs, {seconds} s, seed {seed}; killed: {dict(killed)}")
        if not reconcile(calls, Path(name)):
            sys.exit(1)


if __name__ == "__main__":
    main()

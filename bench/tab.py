"""What a tab that is left open costs the exporter in an hour: bytes and processor time, with 1 job and with 1,000.

    python bench/tab.py [--jobs 1 1000] [--path /]

A real exporter hears one run of each job in each minute, evenly spread, as from the parent. The tab asks every five
seconds, as page.js does: what changed since its last answer. An hour is told in as many turns as an hour has questions,
without the waiting; each hour is also told without a tab, and with a tab that loads the whole page each time. The
difference in the processor time of the exporter's process is the tab's.
"""

import argparse
import http.client
import os
import sys
import tempfile
import time
from pathlib import Path

for folder in ("daemon", "tests"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))  # from a checkout, installed or not

from exporter_rig import Exporter, exporter, job, run, world  # noqa: E402
from tocsin.ipc.exporter import Heartbeat  # noqa: E402
from tocsin.ipc.job import Sleeping  # noqa: E402

EVERY = 5  # seconds between questions, as in page.js
TURNS = 3600 // EVERY
MINUTE = 60 // EVERY  # turns


class Tab:
    """Asks as page.js does: `news` only for what changed, else for the whole page each time."""

    def __init__(self, one: Exporter, path: str, *, news: bool) -> None:
        self._one, self._path, self._news = one, path, news
        self._tag = ""
        self.received = 0  # bytes, with heads
        self.whole = self.unchanged = 0  # answers

    def turn(self) -> None:
        headers = {"Accept": "text/html"}
        if self._news and self._tag:
            headers |= {"If-None-Match": self._tag, "Tocsin-Parts": "1"}
        connection = http.client.HTTPConnection("127.0.0.1", self._one.port, timeout=20)
        connection.request("GET", self._path, headers=headers)
        reply = connection.getresponse()
        body = reply.read()
        head = sum(len(name) + len(value) + 4 for name, value in reply.getheaders()) + 19
        connection.close()
        assert reply.status in (200, 304), reply.status
        self.received += len(body) + head
        self.whole += reply.status == 200
        self.unchanged += reply.status == 304
        self._tag = reply.headers.get("ETag", "")


def hour(one: Exporter, names: list[str], tab: Tab | None) -> float:
    """Seconds of processor time that the exporter took for an hour."""
    before = cpu(one)
    began = time.time()
    for turn in range(TURNS):
        due = began + turn * EVERY
        one.send(Heartbeat(due))
        for name in names[turn % MINUTE :: MINUTE]:
            one.send(run(name, due=due), Sleeping(name, began + 2 * 3600))
        if tab:
            tab.turn()
    one.ask("/healthz")  # what was sent before is heard by now, or in a moment
    time.sleep(0.5)
    return cpu(one) - before


def cpu(one: Exporter) -> float:
    fields = Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--path", default="/")
    options = parser.parse_args()
    print("| jobs | tab | MB in an hour | processor time in an hour | answers with news |")
    print("| --- | --- | --- | --- | --- |")
    for count in options.jobs:
        jobs = [job(f"job-{number}") for number in range(count)]
        names = [one.name for one in jobs]
        with tempfile.TemporaryDirectory() as folder, exporter(Path(folder) / "log", *world(*jobs)) as one:
            hour(one, names, None)  # the strips are full from here on
            alone = hour(one, names, None)
            print(f"| {count:,} | none | 0 | {alone:.1f} s in all | |", flush=True)
            for words, news in (("asks for what is new", True), ("loads the whole page", False)):
                tab = Tab(one, options.path, news=news)
                took = hour(one, names, tab) - alone
                print(
                    f"| {count:,} | {words} | {tab.received / 1e6:.1f} | {took:.1f} s more | {tab.whole} of {TURNS} |"
                )


if __name__ == "__main__":
    main()

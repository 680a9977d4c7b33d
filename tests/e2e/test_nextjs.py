"""examples/nextjs-ticketing on a real PostgreSQL, called by a real Tocsin: ledger and database tell the same story.

pytest -s tests/e2e/test_nextjs.py prints the figures that stand in the example's README.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nextjs_rig as rig
from browser import browser
from harness import SECRET, Daemon, until

PATH = "/api/cron/sla-check"
LATE = 40  # requests that a phase finds past their SLA
HISTORY = "LOCK TABLE request_history IN ACCESS EXCLUSIVE MODE"  # what the SLA check writes to last
DUE_PAST = "status = 'assigned' AND sla_deadline <= now()"


@dataclass
class Ticketing:
    app: rig.App
    database: rig.Database

    def late(self, count: int = LATE) -> None:
        """Requests whose fifteen minutes are over."""
        self.database.do(
            "INSERT INTO requests (subject, status, assignee, sla_deadline)"
            f" SELECT 'Request ' || n, 'assigned', 'Ada', now() - interval '1 s' FROM generate_series(1, {count}) n"
        )

    def waiting(self) -> int:
        return self.database.number(f"SELECT count(*) FROM requests WHERE {DUE_PAST}")

    def blocked(self) -> int:
        """Calls that are in the app's hands and wait for a lock."""
        return self.database.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def unassigned(self) -> int:
        return self.database.number("SELECT count(*) FROM requests WHERE status = 'unassigned'")

    def history(self) -> tuple[int, int]:
        """How many requests have run into their SLA, and how often together."""
        (row,) = self.database.rows(
            "SELECT count(DISTINCT request_id) AS requests, count(*) AS times"
            " FROM request_history WHERE action = 'sla_timeout'"
        )
        return row["requests"], row["times"]

    def untouched(self) -> bool:
        return self.waiting() == LATE and self.unassigned() == 0 and self.history() == (0, 0)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ticketing]:
    if lacking := rig.missing():
        say = f"the Next.js example needs: apt-get install {' '.join(lacking)}"
        if os.environ.get("CI"):
            pytest.fail(say)
        pytest.skip(say)
    built, database = rig.build(), rig.Database()
    app = rig.App(built, database, tmp_path_factory.mktemp("nextjs") / "app.log")
    try:
        database.start()
        app.start()
        yield Ticketing(app, database)
    finally:
        app.stop()
        database.stop()


@pytest.fixture
def ticketing(started: Ticketing) -> Ticketing:
    started.database.do("TRUNCATE requests, request_history, cron_runs RESTART IDENTITY")
    return started


@pytest.fixture
def restarted(ticketing: Ticketing) -> Iterator[Callable[..., None]]:
    """Starts the app anew with another environment, and as it was when the test is over."""

    def restart(**environment: str) -> None:
        ticketing.app.stop()
        ticketing.app.start(**environment)

    yield restart
    restart()


@pytest.fixture
def tocsin(tmp_path: Path, ticketing: Ticketing) -> Iterator[Daemon]:
    one = Daemon(tmp_path)
    one.environment["API_BASE_URL"] = ticketing.app.url
    yield one
    one.cleanup()


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory, started: Ticketing) -> Iterator[Daemon]:
    """A Tocsin whose jobs are fired by hand."""
    one = Daemon(tmp_path_factory.mktemp("tocsin"))
    one.environment["API_BASE_URL"] = started.app.url
    one.write(
        job("sla-check", "@yearly")
        + job("slash", "@yearly", path=f"{PATH}/")
        + job("prerendered", "@yearly", path=rig.PRERENDERED)
        + 'method = "GET"\n'
    )
    one.start()
    until(lambda: len(one.json("jobs")) == 3, "the daemon")
    yield one
    one.cleanup()


def job(name: str, schedule: str, path: str = PATH, timeout: str = "50s") -> str:
    """The job of the example's tocsin.toml, at other times."""
    when = "schedule" if schedule.startswith("@") else "every"
    return (
        f'[jobs.{name}]\n{when} = "{schedule}"\npath = "{path}"\ntimeout = "{timeout}"\n'
        'expect.json = { success = true }\ntotals = { unassigned = "unassignedCount" }\n'
    )


def ran(tocsin: Daemon, outcome: str) -> list[dict[str, Any]]:
    """The runs that ended so, oldest first."""
    return [row for row in tocsin.history() if row["outcome"] == outcome]


def fired(tocsin: Daemon, name: str = "sla-check") -> dict[str, Any]:
    """What the ledger has of a run that is made now."""
    known = {row["run_id"] for row in tocsin.history()}
    done = tocsin.run("fire", name)
    new = until(
        lambda: [row for row in tocsin.history() if row["run_id"] not in known and row["outcome"]],
        f"the run in the ledger: {done.stdout}",
    )
    assert [row["job"] for row in new] == [name]
    assert (done.returncode == 0) == (new[0]["outcome"] == "success"), done.stdout
    return new[0]


def test_nothing_is_lost_and_nothing_done_twice(ticketing: Ticketing, tocsin: Daemon) -> None:
    figures: dict[str, object] = {}

    # The app is being restarted when the slot is due: refused, refused, there again.
    ticketing.late()
    ticketing.app.stop()
    tocsin.write(job("sla-check", "8s"))
    tocsin.start()
    until(lambda: tocsin.log().count("refuses connections") >= 2, "two refusals")
    ticketing.app.start()
    (ridden,) = until(lambda: ran(tocsin, "success"), "the retry that finds the app there again")
    assert ridden["reported"] == {"unassigned": LATE}
    assert ticketing.history() == (LATE, LATE)
    assert ticketing.unassigned() == LATE
    figures["App restarted: seconds from the due instant to the call that got through"] = round(ridden["lateness"], 1)
    figures["App restarted: calls refused before"] = tocsin.log().count("refuses connections")

    # Somebody holds a table: the reply takes longer than the slot, and the next ones are due meanwhile.
    tocsin.write(job("sla-check", "1s"))
    assert tocsin.run("reload").returncode == 0
    with ticketing.database.holding(HISTORY):
        ticketing.late()
        until(lambda: ticketing.blocked() == 1, "a run that waits for the table")
        enough = time.monotonic() + 2.5
        until(lambda: time.monotonic() > enough, "the instants of the next slots")
        assert ticketing.blocked() == 1
        assert ticketing.waiting() == LATE
    (skipped, *_) = until(lambda: overlaps(tocsin), "the slots that the slow run overlapped")
    until(lambda: ticketing.waiting() == 0, "the slow run's work")
    assert ticketing.history() == (2 * LATE, 2 * LATE)
    figures["App slowed: due slots skipped meanwhile as overlap"] = skipped["count"]

    # Slower than the timeout: Tocsin gives up, the app keeps working, and the next run comes to the same rows.
    tocsin.write(job("sla-check", "2s", timeout="1s"))
    assert tocsin.run("reload").returncode == 0
    with ticketing.database.holding(HISTORY):
        ticketing.late()
        until(lambda: ticketing.blocked() == 2, "a run beside one that was given up")
    until(lambda: ticketing.waiting() == 0, "what the app had begun")
    before = len(ran(tocsin, "success"))
    until(lambda: len(ran(tocsin, "success")) > before, "a run after it")
    given_up = ran(tocsin, "timeout")
    assert given_up
    figures["App slower than the timeout: runs given up while it still worked"] = len(given_up)

    assert tocsin.stop() == 0
    told = sum(row["reported"].get("unassigned", 0) for row in tocsin.history())
    requests, times = ticketing.history()
    assert told in {2 * LATE, 3 * LATE}, "the replies tell of what they did; those of the given up do not arrive"
    assert requests == ticketing.unassigned() == 3 * LATE
    figures["Requests past their SLA that were unassigned"] = f"{requests} of {3 * LATE}"
    figures["Requests processed twice"] = times - requests
    assert times == requests
    print("\n" + "\n".join(f"| {name} | {value} |" for name, value in figures.items()))


def overlaps(tocsin: Daemon) -> list[dict[str, Any]]:
    return [row for row in tocsin.history() if (row["state"], row["reason"]) == ("skipped", "overlap")]


def test_a_wrong_secret(ticketing: Ticketing, at_rest: Daemon, restarted: Callable[..., None]) -> None:
    ticketing.late()
    restarted(CRON_SECRET="rotated-here-and-not-there")
    row = fired(at_rest)
    assert (row["outcome"], row["status"]) == ("unauthorized", 401)
    assert "the secret differs" in row["detail"]
    assert ticketing.untouched()


def test_an_error_in_the_middle_changes_nothing(ticketing: Ticketing, at_rest: Daemon) -> None:
    ticketing.late()
    ticketing.database.do("ALTER TABLE request_history RENAME TO elsewhere")
    try:
        row = fired(at_rest)
    finally:
        ticketing.database.do("ALTER TABLE elsewhere RENAME TO request_history")
    assert (row["outcome"], row["status"]) == ("http_error", 500)
    assert "the SLA check failed; nothing was changed" in row["detail"]
    assert ticketing.untouched()
    assert fired(at_rest)["reported"] == {"unassigned": LATE}
    assert ticketing.history() == (LATE, LATE)


def test_a_slash_too_many(ticketing: Ticketing, at_rest: Daemon) -> None:
    ticketing.late()
    row = fired(at_rest, "slash")
    assert (row["outcome"], row["status"]) == ("http_error", 308)
    assert row["detail"] == "308: the server wants the path without a trailing slash"
    assert ticketing.untouched()


def test_a_login_page_in_the_way(ticketing: Ticketing, at_rest: Daemon, restarted: Callable[..., None]) -> None:
    ticketing.late()
    restarted(LOGIN_GUARDS_CRON="1")
    row = fired(at_rest)
    assert (row["outcome"], row["status"]) == ("http_error", 307)
    login = f"http://localhost:{ticketing.app.port}/login"  # Next writes 127.0.0.1 so
    assert row["detail"].startswith(f"307: redirects to {login}, which Tocsin does not follow")
    assert ticketing.untouched()


def test_a_handler_that_next_rendered_once(ticketing: Ticketing, at_rest: Daemon) -> None:
    """It answers {"success": true} for ever and does nothing."""
    assert '"success":true' in ticketing.app.ask(rig.PRERENDERED, method="GET")[1]
    row = fired(at_rest, "prerendered")
    assert (row["outcome"], row["status"]) == ("invalid_response", 200)
    assert row["detail"].startswith("the reply came from a cache (x-nextjs-cache: HIT), so the handler did not run")
    assert 'export const dynamic = "force-dynamic"' in row["detail"]


def test_the_door_is_shut_without_a_secret(ticketing: Ticketing, restarted: Callable[..., None]) -> None:
    ticketing.late()
    refused = 401, '{"success":false,"error":"Unauthorized"}'
    assert ticketing.app.ask() == refused
    assert ticketing.app.ask(x_cron_secret=SECRET + "x") == refused
    assert ticketing.app.ask(method="GET", authorization=f"Bearer {SECRET}x") == refused
    for unset in ("", " "):
        restarted(CRON_SECRET=unset)
        for shown in ("", " ", "undefined", SECRET):
            assert ticketing.app.ask(x_cron_secret=shown) == refused
    assert "CRON_SECRET is not set" in ticketing.app.log.read_text()
    assert ticketing.untouched()
    elsewhere = {"host": "tickets.example.com", "x_forwarded_proto": "https"}  # as a proxy in front says it
    assert ticketing.app.ask("/", method="GET", **elsewhere) == (307, "https://tickets.example.com/login")


def test_one_run_is_processed_once_however_often_it_is_asked(ticketing: Ticketing) -> None:
    ticketing.late()

    def ask(key: str) -> dict[str, Any]:
        status, text = ticketing.app.ask(x_cron_secret=SECRET, idempotency_key=key)
        assert status == 200, text
        reply: dict[str, Any] = json.loads(text)
        return reply

    with ThreadPoolExecutor(8) as pool:  # at the same time
        replies = list(pool.map(ask, ["run-1"] * 8))
    assert replies == [replies[0]] * 8
    assert set(replies[0]) == {"success", "unassignedCount", "timestamp", "durationMs"}
    assert (replies[0]["success"], replies[0]["unassignedCount"]) == (True, LATE)
    ticketing.late(1)
    assert ask("run-1") == replies[0]
    assert ticketing.waiting() == 1
    with ThreadPoolExecutor(8) as pool:
        counts = [reply["unassignedCount"] for reply in pool.map(ask, [f"run-{n}" for n in range(2, 10)])]
    assert sorted(counts) == [0] * 7 + [1]
    assert ticketing.history() == (LATE + 1, LATE + 1)
    assert ticketing.app.ask(x_cron_secret=SECRET, idempotency_key="x" * 201)[0] == 400


def test_vercels_way_of_calling(ticketing: Ticketing) -> None:
    ticketing.late()
    status, text = ticketing.app.ask(method="GET", authorization=f"Bearer {SECRET}")
    assert (status, json.loads(text)["unassignedCount"]) == (200, LATE)


def test_people_sign_in_create_and_assign(ticketing: Ticketing, tmp_path: Path) -> None:
    asyncio.run(_people(ticketing, tmp_path))


async def _people(ticketing: Ticketing, folder: Path) -> None:
    async with browser(folder / "profile") as page:
        await page.open(f"{ticketing.app.url}/")
        assert await page.value("location.pathname") == "/login"
        await page.choose("#password", "guessed")
        await page.click("button")
        await page.until("document.body.innerText", lambda text: "not the password" in text)
        await page.choose("#password", rig.PASSWORD)
        await page.click("button")
        await page.until("location.pathname", "/".__eq__)
        await page.until("document.body.innerText", lambda text: "No requests yet" in text)
        await page.choose("[name=subject]", "Printer <b>on fire</b>")
        await page.click(".create button")
        await page.until("document.querySelector('tbody')?.innerText", lambda text: "<b>on fire" in (text or ""))
        await page.choose("[name=assignee]", "Grace")
        await page.click(".unassigned button")
        await page.until("document.querySelector('tbody').innerText", lambda text: "15 min left" in text)
        ticketing.database.do("UPDATE requests SET sla_deadline = now() - interval '1 s'")
        ticketing.app.ask(x_cron_secret=SECRET)
        await page.until("document.querySelector('tbody').innerText", lambda text: "timed out 1×" in text)
        assert [one for one in page.complaints if '"level": "verbose"' not in one] == []  # hints about forms
    actions = ticketing.database.rows("SELECT action, assignee FROM request_history ORDER BY id")
    assert [tuple(row.values()) for row in actions] == [
        ("created", None),
        ("assigned", "Grace"),
        ("sla_timeout", "Grace"),
    ]

"""The bundled ticketing app. Tocsin was made for apps like it. It is small enough to read and real enough to fail.

Requests arrive and are assigned to an agent, who has time until the SLA's deadline. Two of three are resolved in time.
The others stay assigned until somebody calls `POST /api/cron/sla-check`, which unassigns them and returns how many. The
app computes from the clock what has happened since the last request.
"""

import asyncio
import hmac
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

from aiohttp import web

from tocsin import linux, log
from tocsin.config.secrets import SecretError, check
from tocsin.timestamps import rfc3339

DEFAULT_LISTEN = ("127.0.0.1", 9912)
DEFAULT_DATABASE = Path("var/demo.sqlite")
DEFAULT_SLA = 15.0  # seconds: fifteen minutes at a second a minute
DEFAULT_EVERY = 1.0  # seconds between two new requests; one in three expires, so one every three seconds
SECRET_VARIABLE = "CRON_SECRET"

KEPT = 1000  # requests: the file stays small even if the demo keeps running
SHOWN = 60  # requests on the page and in the JSON
RESOLVED_AFTER = 0.6  # of the SLA: when an agent resolves a request
IGNORED = 3  # the agent forgets every third request
STOP = 5.0  # seconds that replies may still take when it stops

_AGENTS = ("Ada", "Grace", "Edsger", "Barbara", "Ken")
_SUBJECTS = ("Cannot sign in", "Invoice is wrong", "Export is empty", "Page is slow", "Mail does not arrive")
_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
  id INTEGER PRIMARY KEY,
  subject TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('assigned', 'resolved', 'unassigned')),
  assigned_to TEXT,
  created_at REAL NOT NULL,
  sla_deadline REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS requests_by_deadline ON requests (status, sla_deadline);
CREATE TABLE IF NOT EXISTS request_history (
  id INTEGER PRIMARY KEY,
  request_id INTEGER NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
  at REAL NOT NULL,
  action TEXT NOT NULL,
  agent TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS history_by_request ON request_history (request_id);
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<meta name="viewport" content="width=device-width"><title>Requests</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884 }}
.unassigned {{ color: #c33; font-weight: 600 }} .overdue {{ color: #b60 }} .resolved {{ opacity: .6 }}
</style></head><body>
<h1>Requests</h1>
<p>{summary}</p>
<table><thead><tr><th>Request<th>Subject<th>Agent<th>State<th>SLA deadline</tr></thead>
<tbody>{rows}</tbody></table>
</body></html>
"""


class Tickets:
    """The requests, in an SQLite file. Instants are Unix seconds. `sla` and `every` are seconds."""

    def __init__(self, database: Path, sla: float, every: float) -> None:
        self._sla, self._every = sla, every
        database.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(database, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def unassign_expired(self, now: float) -> int:
        """Unassign every request that is past its deadline. Returns how many."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._advance(now)
            expired = self._connection.execute(
                "SELECT id, assigned_to FROM requests WHERE status = 'assigned' AND sla_deadline <= ?", (now,)
            ).fetchall()
            for request in expired:
                self._connection.execute(
                    "UPDATE requests SET status = 'unassigned', assigned_to = NULL WHERE id = ?",
                    (request["id"],),
                )
                self._note(request["id"], now, "sla_timeout", request["assigned_to"])
        return len(expired)

    def latest(self, now: float) -> list[dict[str, object]]:
        """Return the newest requests, newest first."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._advance(now)
            rows = self._connection.execute("SELECT * FROM requests ORDER BY id DESC LIMIT ?", (SHOWN,)).fetchall()
        return [dict(row) for row in rows]

    def timeouts(self) -> int:
        """Count the requests that missed their SLA, of those that are kept."""
        row = self._connection.execute("SELECT count(*) FROM request_history WHERE action = 'sla_timeout'").fetchone()
        return int(row[0])

    def _advance(self, now: float) -> None:
        """Add what has happened up to `now`: new requests, and answers to old ones."""
        self._connection.execute("DELETE FROM requests WHERE created_at > ?", (now,))  # the clock was set back
        last = self._connection.execute("SELECT id, created_at FROM requests ORDER BY id DESC LIMIT 1").fetchone()
        number, created = (last["id"], last["created_at"]) if last else (0, now - self._sla)
        created = max(created, now - KEPT * self._every)  # after a long stop, do not add a week of requests
        while created + self._every <= now:
            number, created = number + 1, created + self._every
            self._create(number, created)
        answered = self._connection.execute(
            "SELECT id, created_at, assigned_to FROM requests"
            " WHERE status = 'assigned' AND id % ? != 0 AND created_at <= ?",
            (IGNORED, now - self._sla * RESOLVED_AFTER),
        ).fetchall()
        for request in answered:
            self._connection.execute("UPDATE requests SET status = 'resolved' WHERE id = ?", (request["id"],))
            at = request["created_at"] + self._sla * RESOLVED_AFTER
            self._note(request["id"], at, "resolved", request["assigned_to"])
        self._connection.execute("DELETE FROM requests WHERE id <= ?", (number - KEPT,))

    def _create(self, number: int, at: float) -> None:
        agent = _AGENTS[number % len(_AGENTS)]
        self._connection.execute(
            "INSERT INTO requests VALUES (?, ?, 'assigned', ?, ?, ?)",
            (number, _SUBJECTS[number // 2 % len(_SUBJECTS)], agent, at, at + self._sla),
        )
        self._note(number, at, "assigned", agent)

    def _note(self, request: int, at: float, action: str, agent: str | None) -> None:
        self._connection.execute(
            "INSERT INTO request_history (request_id, at, action, agent) VALUES (?, ?, ?, ?)",
            (request, at, action, agent),
        )


def application(tickets: Tickets, secret: str, clock: Callable[[], float] = time.time) -> web.Application:
    """The app's routes. `clock` returns Unix seconds."""

    async def sla_check(request: web.Request) -> web.Response:
        began, now = time.monotonic(), clock()
        shown = request.headers.get("x-cron-secret", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, secret.encode()):
            log.warning("refused: the x-cron-secret header differs from CRON_SECRET", path=request.path)
            return web.json_response({"success": False, "error": "Unauthorized"}, status=401)
        count = tickets.unassign_expired(now)
        taken = round((time.monotonic() - began) * 1000)
        log.info("unassigned requests past their SLA", count=count, ms=taken)
        reply = {
            "success": True,
            "unassignedCount": count,
            "timestamp": rfc3339(now, milliseconds=True),
            "durationMs": taken,
        }
        return web.json_response(reply)

    async def requests(_: web.Request) -> web.Response:
        return web.json_response({"requests": [_public(row) for row in tickets.latest(clock())]})

    async def page(_: web.Request) -> web.Response:
        now = clock()
        html = _page(tickets.latest(now), tickets.timeouts(), now)
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy})

    app = web.Application()
    app.router.add_post("/api/cron/sla-check", sla_check)
    app.router.add_get("/api/requests", requests)
    app.router.add_get("/", page)
    return app


def _public(row: dict[str, object]) -> dict[str, object]:
    return {key: rfc3339(value, milliseconds=True) if isinstance(value, float) else value for key, value in row.items()}


def _page(rows: list[dict[str, object]], timeouts: int, now: float) -> str:
    cells = []
    for row in rows:
        deadline = float(str(row["sla_deadline"]))
        state = "overdue" if row["status"] == "assigned" and deadline <= now else str(row["status"])
        texts = (
            f"#{row['id']}",
            row["subject"],
            row["assigned_to"] or "nobody",
            state,
            rfc3339(deadline, milliseconds=True),
        )
        cells.append(f'<tr class="{state}">' + "".join(f"<td>{escape(str(text))}" for text in texts) + "</tr>")
    return _PAGE.format(summary=f"{timeouts} taken from their agents after the SLA.", rows="\n".join(cells))


def run(
    listen: tuple[str, int] = DEFAULT_LISTEN,
    database: Path = DEFAULT_DATABASE,
    secret: str = "",
    sla: float = DEFAULT_SLA,
    every: float = DEFAULT_EVERY,
) -> None:
    """Serve until SIGTERM or SIGINT.

    `sla` and `every` are seconds: the time that an agent has, and the pause between two new requests. Exits with 1 if
    the address or the file cannot be used, and with 2 if the secret cannot.
    """
    if "SUPERVISOR_ENABLED" in os.environ:  # after a restart by supervisord the port must be free
        linux.die_with_parent(os.getppid())
    try:
        check(secret)
    except SecretError as error:
        log.error(f"cannot start the demo: the secret in {SECRET_VARIABLE} {error}")
        sys.exit(2)
    try:
        tickets = Tickets(database, sla, every)
    except (sqlite3.Error, OSError) as error:
        log.error(f"cannot open the database {database}: {error}")
        sys.exit(1)
    try:
        asyncio.run(_serve(application(tickets, secret), listen))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        log.error(f"cannot listen on {_address(listen)}: {reason}; stop what uses it, or choose another port")
        sys.exit(1)
    finally:
        tickets.close()


async def _serve(app: web.Application, listen: tuple[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP)
    await runner.setup()
    try:
        await web.TCPSite(runner, *listen).start()
        log.info("the demo app serves", url=f"http://{_address(listen)}/")
        await stop.wait()
    finally:
        await runner.cleanup()
    log.info("the demo app has stopped")


def _address(listen: tuple[str, int]) -> str:
    host, port = listen
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""Reads from PostgreSQL what entries touch, and writes what `books.py` makes of them."""

from collections.abc import Callable, Iterable
from typing import Any

from psycopg import Connection

from tocsin.ipc.actions import Acted
from tocsin.ipc.cluster import Leave, Roster
from tocsin.ipc.job import Ask, Finished, Release, Skipped
from tocsin.ipc.ledger import Body, Enroll, Enrolled
from tocsin.ledger.books import Books
from tocsin.ledger.pg_columns import job_row, taken
from tocsin.ledger.rows import Key, SlotRow, lost
from tocsin.ledger.session import Session

DIED = "the daemon died while it ran; whether the app did the work is unknown"


def read(session: Session, db: Connection[Any], entries: Iterable[Body]) -> Books:
    """Read all rows that the entries touch, in one round trip to the server, and write what they say about the node."""
    sql, bodies = session.sql, list(entries)
    for body in bodies:
        if isinstance(body, Roster):
            sql.write_roster(db, body)
        if isinstance(body, Leave) or (isinstance(body, Roster) and body.last):  # before any job is forgotten
            says = {"state": None, "roster": body.hash} if isinstance(body, Roster) else {"state": "leaving"}
            db.execute(sql.say, {"roster": None, **session.here, **says})
        if isinstance(body, Roster) and body.last:
            db.execute(sql.rest, (session.owner,))
    others = [body for body in bodies if not isinstance(body, Enrolled | Roster | Leave | Acted)]
    names = {body.job for body in others}
    keys: set[Key] = {
        (body.job, body.due, body.attempt) for body in others if isinstance(body, Ask | Finished | Release)
    }
    keys |= {(body.job, body.first, 0) for body in bodies if isinstance(body, Skipped)}
    looked_up = {body.job for body in bodies if isinstance(body, Skipped | Enroll)}
    unnamed: list[str] = []
    if any(isinstance(body, Enrolled) for body in bodies):
        unnamed = [name for (name,) in db.execute(sql.unnamed, (session.owner,)).fetchall()]
    rows = sql.jobs(db, names.union(unnamed))
    known = sql.taken(db, keys) if keys else None
    newest = sql.newest(db, looked_up) if looked_up else None
    jobs = dict(map(job_row, rows.fetchall()))
    made = {body.job for body in others if isinstance(body, Ask | Enroll)} - jobs.keys()
    if made:
        new = sql.make_jobs(db, made)  # another node may have made the others a moment ago: they are not ours to delete
        jobs |= dict(map(job_row, sql.jobs(db, made).fetchall()))
        made = new
    books = Books(
        session.owner,
        jobs,
        taken(known.fetchall()) if known else {},
        {one[0]: SlotRow(*one) for one in newest.fetchall()} if newest else {},
        [name for name in unnamed if name in jobs],
    )
    books.made(made)
    return books


def write(session: Session, db: Connection[Any], books: Books) -> None:
    sql, node = session.sql, session.me.node
    sql.write_slots(db, node, books.slots.new.values(), books.slots.replaced.values(), books.slots.continued.values())
    sql.write_jobs(db, books.changed)
    sql.write_actions(db, node, books.acted)


def settle(
    session: Session, db: Connection[Any], why: str, now: float, free: Callable[[Ask], bool] = lambda _: False
) -> list[Finished]:
    """Clean up after sessions that have ended: their runs are lost, or `free`, and their jobs have no owner. Returns
    the lost runs."""
    rows = session.sql.orphans(db).fetchall()
    found = [(*job_row(tuple(columns)), owner_is_over, run_is_over) for *columns, owner_is_over, run_is_over in rows]
    books = Books(session.owner, {name: job for name, job, _, _ in found}, {}, {})
    gone = []
    for name, job, owner_is_over, run_is_over in found:
        if (run := job.open) and run_is_over:
            if free(run):
                books.release(Release(run.job, run.due, run.attempt, run.owner))
            else:
                gone.append(lost(run, DIED, now))
                books.finish(gone[-1])
        if owner_is_over:
            books.disown(name, why)
    write(session, db, books)
    return gone

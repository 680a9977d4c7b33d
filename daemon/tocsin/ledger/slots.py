"""The table `slots`: a row for each slot, or for a series of slots that did not run for the same reason."""

import sqlite3

from msgspec.json import encode
from msgspec.structs import asdict

from tocsin.ipc.job import Ask, Finished, Release, Skipped
from tocsin.ledger.times import columns


def take(db: sqlite3.Connection, ask: Ask) -> bool:
    """Insert the slot as started by the asker. Returns False if it has a row already."""
    return (
        db.execute(
            "INSERT INTO slots (job, due, attempt, last, state, trigger, run_id, owner)"
            " VALUES (:job, :due, :attempt, :due, 'started', :trigger, :run_id, :owner) ON CONFLICT DO NOTHING",
            asdict(ask),
        ).rowcount
        > 0
    )


def why_not(db: sqlite3.Connection, ask: Ask) -> str | None:
    """Return why the asker does not have this slot, or None if it has."""
    row = db.execute(
        "SELECT state, owner FROM slots WHERE job = ? AND due = ? AND attempt = ?", (ask.job, ask.due, ask.attempt)
    ).fetchone()
    state, owner = row or ("released", None)
    return None if (state, owner) == ("started", ask.owner) else f"the slot is already {state}"


def release(db: sqlite3.Connection, body: Release) -> bool:
    """Free the slot. Returns False if the owner did not have it."""
    return (
        db.execute(
            "DELETE FROM slots WHERE job = ? AND due = ? AND attempt = ? AND owner = ? AND state = 'started'",
            (body.job, body.due, body.attempt, body.owner),
        ).rowcount
        > 0
    )


def finish(db: sqlite3.Connection, run: Finished) -> None:
    values = {**asdict(run), "reported": encode(run.reported).decode() if run.reported else None, **columns(run)}
    db.execute(
        "INSERT INTO slots (job, due, attempt, last, state, trigger, run_id,"
        " started, finished, lateness, duration, outcome, status, detail, reported,"
        " lookup_us, connect_us, tls_us, first_byte_us, armed, tries)"
        " VALUES (:job, :due, :attempt, :due, 'finished', :trigger, :run_id,"
        " :started, :finished, :lateness, :duration, :outcome, :status, :detail, :reported,"
        " :lookup_us, :connect_us, :tls_us, :first_byte_us, :armed, :tries)"
        " ON CONFLICT DO UPDATE SET state = 'finished', started = :started, finished = :finished,"
        " lateness = :lateness, duration = :duration, outcome = :outcome, status = :status,"
        " detail = :detail, reported = :reported, lookup_us = :lookup_us, connect_us = :connect_us, tls_us = :tls_us,"
        " first_byte_us = :first_byte_us, armed = :armed, tries = :tries WHERE state = 'started'",
        values,
    )


def keep_reply(db: sqlite3.Connection, run: Finished) -> None:
    db.execute(
        "INSERT INTO replies (job, due, attempt, finished, reply, attempts)"
        " VALUES (:job, :due, :attempt, :finished, :reply, :attempts) ON CONFLICT DO NOTHING",
        asdict(run) | {"attempts": encode(run.attempts).decode()},
    )


def skip(db: sqlite3.Connection, body: Skipped) -> None:
    values = {**asdict(body), "state": "missed" if body.reason == "missed" else "skipped"}
    withdrawn = db.execute(  # the job asked for this slot, but did not call
        "UPDATE slots SET state = :state, reason = :reason, detail = :detail, owner = NULL"
        " WHERE job = :job AND due = :first AND state = 'started'",
        values,
    ).rowcount
    if withdrawn:
        return
    continued = db.execute(  # the row before has the same reason
        "UPDATE slots SET last = :last, count = count + :count WHERE job = :job"
        " AND due = (SELECT max(due) FROM slots WHERE job = :job)"
        " AND last < :first AND state = :state AND reason = :reason AND detail = :detail",
        values,
    ).rowcount
    if not continued:
        db.execute(
            "INSERT INTO slots (job, due, last, count, state, reason, detail)"
            " VALUES (:job, :first, :last, :count, :state, :reason, :detail) ON CONFLICT DO NOTHING",
            values,
        )

"""The table `replies` on PostgreSQL: requests and replies, which are kept for a shorter time than the slots."""

from collections.abc import Sequence
from typing import Any

from msgspec.json import encode
from psycopg import Connection

from tocsin.ipc.job import Finished
from tocsin.ledger.rows import storable


class Replies:
    def __init__(self, schema: str) -> None:
        table = f'"{schema}".replies'
        self._keep = (
            f"INSERT INTO {table} (job, due, attempt, finished, reply, attempts)"
            " SELECT * FROM unnest(%s::text[], %s::float8[], %s::int4[], %s::float8[], %s::text[], %s::text[])"
            " ON CONFLICT DO NOTHING"
        )
        self._prune = (
            f"WITH gone AS (DELETE FROM {table} WHERE (job, due, attempt) IN"
            f" (SELECT job, due, attempt FROM {table} WHERE finished < %s LIMIT %s) RETURNING 1)"
            " SELECT count(*) FROM gone"
        )

    def keep(self, db: Connection[Any], runs: Sequence[Finished]) -> None:
        """Write the requests and replies of these runs, if they have any."""
        rows = [
            (
                run.job,
                float(run.due),
                run.attempt,
                float(run.finished),
                storable(run.reply),
                encode(run.attempts).decode(),
            )
            for run in runs
            if run.reply or run.attempts
        ]
        if rows:
            db.execute(self._keep, list(map(list, zip(*rows, strict=True))))

    def prune(self, db: Connection[Any], before: float, most: int) -> int:
        """Delete at most `most` rows of runs that ended before the Unix time `before`. Returns how many."""
        (gone,) = db.execute(self._prune, (before, most)).fetchone() or (0,)
        return int(gone)

"""Reading the ledger beside the process that writes it (what `tocsin history` shows)."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from tocsin.ledger.sqlite import BUSY_TIMEOUT, FILE


def history(
    folder: Path, *, job: str | None = None, since: float | None = None, failed: bool = False, limit: int = 50
) -> list[dict[str, Any]]:
    """The latest rows, oldest first, as dicts with the columns of `slots`; reads while the daemon writes.

    Raises FileNotFoundError when there is no ledger, sqlite3.Error when it cannot be read.
    """
    file = folder / FILE
    if not file.exists():
        raise FileNotFoundError(file)
    db = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    try:
        db.row_factory = sqlite3.Row
        wanted = ["1"]
        if job is not None:
            wanted.append("job = :job")
        if since is not None:
            wanted.append("last >= :since")
        if failed:
            wanted.append("(outcome != 'success' OR state = 'missed')")
        rows = db.execute(
            f"SELECT * FROM slots WHERE {' AND '.join(wanted)} ORDER BY due DESC, attempt DESC LIMIT :limit",
            {"job": job, "since": since, "limit": limit},
        ).fetchall()
    finally:
        db.close()
    found = [dict(row) for row in reversed(rows)]
    for row in found:
        row["reported"] = json.loads(row["reported"]) if row["reported"] else {}
    return found

"""How long a page of the history takes in a ledger of years, how large its file is, and what its indexes cost a commit.

    python bench/history.py [--rows 10000000] [--jobs 200]

Builds the rows with SQL in a temporary folder (0.3 GB for each million), asks what the pages ask, and prints the
slowest of several times. Bounded: it ends by itself.
"""

import argparse
import itertools
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tocsin.ipc.history import PATIENCE, OneRun, Place, Question, Slots
from tocsin.ipc.job import Ask, Finished
from tocsin.ipc.ledger import Entry
from tocsin.ledger.answers import fitting
from tocsin.ledger.sqlite import FILE, SqliteLedger
from tocsin.ledger.sqlite_reader import SqliteReader

START = 1_700_000_000  # Unix seconds
TIMES = 7  # of each question
COMMITS = 40  # of 200 runs each
INDEXES = ("slots_run", "slots_trouble", "slots_trouble_of")

# A run each minute of every job; one of 1,000 fails, one of 10,000 is manual. Run ids look like Tocsin's.
ROWS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)
INSERT INTO slots (job, due, last, state, trigger, run_id, owner, started, finished, lateness, duration, outcome,
    status, detail, reported, connect_us, first_byte_us, armed, tries)
SELECT printf('job-%04d', i % :jobs), :start + 60.0 * (i / :jobs), :start + 60.0 * (i / :jobs), 'finished',
    CASE WHEN i % 10000 = 77 THEN 'manual' ELSE 'schedule' END,
    lower(printf('%s-%s-5%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)), 2),
        substr(hex(randomblob(2)), 2), hex(randomblob(6)))),
    '0123456789abcdef0123456789abcdef/12', :start + 60.0 * (i / :jobs) + 0.0002, :start + 60.0 * (i / :jobs) + 0.13,
    0.0002, 0.1298, CASE WHEN i % 1000 = 7 THEN 'http_error' ELSE 'success' END,
    CASE WHEN i % 1000 = 7 THEN 500 ELSE 200 END, CASE WHEN i % 1000 = 7 THEN '500: out of order' ELSE '' END,
    '{"unassigned":3.0}', 300 + i % 200, 8000 + i % 1000, 1, 1
FROM n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-history-") as folder:
        build(Path(folder), options.rows, options.jobs)
        ask(Path(folder), options.rows, options.jobs)
        commits(Path(folder))


def build(folder: Path, rows: int, jobs: int) -> None:
    SqliteLedger(folder, "s1", 1e12).close()
    began = time.monotonic()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        written = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE 'slots\\__%' ESCAPE '\\'"))
        for name in written:
            db.execute(f"DROP INDEX {name}")
        db.execute(ROWS, {"rows": rows, "jobs": jobs, "start": START})
        size = (folder / FILE).stat().st_size
        made = time.monotonic()
        for sql in written.values():
            db.execute(sql)
    whole = (folder / FILE).stat().st_size
    print(
        f"{rows:,} rows of {jobs} jobs, built in {made - began:.0f} s; the indexes in {time.monotonic() - made:.0f} s"
    )
    million = rows / 1e6
    print(f"{whole / million / 1e6:.0f} MB for each million rows, {(whole - size) / million / 1e6:.0f} of them indexes")


def ask(folder: Path, rows: int, jobs: int) -> None:
    reader = SqliteReader(folder, "here")
    last = START + 60.0 * (rows // jobs)
    middle = Place(START + 60.0 * (rows // jobs // 2), "job-0100", 0)
    some = reader.find(Slots(job="job-0100", before=middle, limit=1)).rows[0]
    questions: dict[str, Question] = {
        "/runs": Slots(),
        "/runs, from the middle": Slots(before=middle),
        "/runs?outcome=failed": Slots(outcome="failed"),
        "/runs?outcome=timeout, of which there is none": Slots(outcome="timeout"),
        "/runs?trigger=manual": Slots(trigger="manual"),
        "/runs?trigger=catch-up, of which there is none": Slots(trigger="catch-up"),
        "/jobs/NAME/runs": Slots("job-0100"),
        "/jobs/NAME/runs, from the middle": Slots("job-0100", before=middle),
        "/jobs/NAME/runs?outcome=failed": Slots("job-0007", "failed"),
        "/jobs/NAME/runs?trigger=catch-up, of which there is none": Slots("job-0100", trigger="catch-up"),
        "/runs?since=, the last hour": Slots(since=last - 3600),
        "/runs/RUN_ID": OneRun(some.run_id or ""),
        "the strip of a job, at a start": Slots("job-0100", limit=60),
    }
    print(f"{'slowest':>8} {'median':>8}  rows  question ({TIMES} times each; an asker waits {PATIENCE:g} s)")
    for words, question in questions.items():
        took = []
        for _ in range(TIMES):
            began = time.perf_counter()
            found = fitting(1, reader.find(question))
            took.append(1000 * (time.perf_counter() - began))
        print(f"{max(took):5.1f} ms {statistics.median(took):5.1f} ms {len(found.rows):5}  {words}", flush=True)


def commits(folder: Path) -> None:
    """Two hundred runs in a commit, started and finished, with the indexes and without, in turn."""
    names = itertools.cycle((True, False))
    took: dict[bool, list[float]] = {True: [], False: []}
    due = 1_900_000_000.0
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as db:
        written = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"))
    for session, with_indexes in enumerate(itertools.islice(names, 4), 1):
        with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as db:
            for name in INDEXES:
                db.execute(
                    written[name].replace("INDEX", "INDEX IF NOT EXISTS")
                    if with_indexes
                    else f"DROP INDEX IF EXISTS {name}"
                )
        ledger = SqliteLedger(folder, f"bench-{session}", 1e12)
        seq = itertools.count(1)
        for _ in range(COMMITS):
            due += 60
            runs = [(f"job-{one:04}", f"run-{one}-{due}") for one in range(200)]
            entries = [Entry(next(seq), Ask(job, due, run, "schedule", 0, f"bench-{session}/1")) for job, run in runs]
            entries += [Entry(next(seq), Finished(job, due, run, "schedule", 0, "success")) for job, run in runs]
            began = time.perf_counter()
            ledger.commit(entries)
            took[with_indexes].append(1e6 * (time.perf_counter() - began) / len(runs))
        ledger.close()
    for with_indexes, words in ((True, "with"), (False, "without")):
        print(f"{statistics.median(took[with_indexes]):.0f} us a run to commit {words} {', '.join(INDEXES)}")


if __name__ == "__main__":
    main()

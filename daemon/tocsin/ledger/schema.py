"""The tables of the ledger in SQLite. Each change is a new version, with a migration from the version before."""

VERSION = 7  # kept in user_version

SCHEMA = """
CREATE TABLE slots (
    job TEXT NOT NULL,
    due REAL NOT NULL,                    -- Unix time; of a series of slots, the first
    attempt INTEGER NOT NULL DEFAULT 0,   -- delivery: more than 0 only with at-least-once
    last REAL NOT NULL,                   -- of a series of slots, the last; else = due
    count INTEGER NOT NULL DEFAULT 1,     -- slots in this row
    state TEXT NOT NULL CHECK (state IN ('started', 'finished', 'skipped', 'missed')),
    reason TEXT,                          -- if skipped or missed: overlap, paused, missed
    trigger TEXT,
    run_id TEXT,
    owner TEXT,                           -- session/child that was granted the slot
    started REAL, finished REAL, lateness REAL, duration REAL,
    outcome TEXT, status INTEGER, detail TEXT NOT NULL DEFAULT '', reported TEXT,
    lookup_us INTEGER, connect_us INTEGER, tls_us INTEGER, first_byte_us INTEGER, -- of the last attempt
    armed INTEGER, tries INTEGER,         -- the first three were over before it was due; attempts
    PRIMARY KEY (job, due, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_due ON slots (due);
CREATE INDEX slots_run ON slots (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX slots_trouble ON slots (due) WHERE state != 'started' AND outcome IS NOT 'success';
CREATE INDEX slots_trouble_of ON slots (job, due) WHERE state != 'started' AND outcome IS NOT 'success';
CREATE INDEX slots_open ON slots (owner) WHERE state = 'started';
CREATE TABLE replies (                    -- kept for a shorter time than the slots
    job TEXT NOT NULL, due REAL NOT NULL, attempt INTEGER NOT NULL,
    finished REAL NOT NULL, reply TEXT NOT NULL,
    attempts TEXT NOT NULL DEFAULT '',    -- what was sent and what came back, as JSON (tocsin.ipc.tried)
    PRIMARY KEY (job, due, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_finished ON replies (finished);
CREATE TABLE jobs (
    job TEXT PRIMARY KEY,
    schedule TEXT NOT NULL,
    roster INTEGER NOT NULL,              -- the last generation (load of the job file) that named it
    last_due REAL NOT NULL,               -- slots up to here are accounted for
    paused INTEGER NOT NULL DEFAULT 0,
    last_outcome TEXT, last_detail TEXT NOT NULL DEFAULT '', last_run REAL, last_success REAL,
    consecutive_failures INTEGER NOT NULL DEFAULT 0,
    since REAL NOT NULL DEFAULT 0,        -- since when a success is expected: first seen, changed or resumed
    unreachable INTEGER NOT NULL DEFAULT 0,  -- whether the last run got no answer from the app
    paused_since REAL, paused_until REAL,    -- of its pause, or of the last one
    paused_why TEXT NOT NULL DEFAULT '', paused_by TEXT NOT NULL DEFAULT '',
    missed_at REAL,                       -- when slots were last found to be missed without a catch-up
    counts TEXT NOT NULL DEFAULT '{}',    -- runs and slots by outcome, as JSON; deleted rows stay counted
    totals TEXT NOT NULL DEFAULT '{}'     -- sums of the values in replies, as JSON; likewise
) STRICT, WITHOUT ROWID;
CREATE TABLE actions (                    -- what people did: fire, pause, resume, reload
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL, what TEXT NOT NULL,
    job TEXT NOT NULL,                    -- '' for a reload
    actor TEXT NOT NULL,                  -- a user, or where a token comes from
    way TEXT NOT NULL, address TEXT NOT NULL, why TEXT NOT NULL,
    until REAL,                           -- the end of a pause
    run_id TEXT                           -- of a fire
) STRICT;
CREATE INDEX actions_at ON actions (at);
CREATE INDEX actions_of ON actions (job, at);
CREATE TABLE progress (                   -- entries of this session up to seq are applied
    one INTEGER PRIMARY KEY CHECK (one = 1), session TEXT NOT NULL, seq INTEGER NOT NULL,
    stopped REAL,                         -- when this session ended cleanly; NULL while it lasts or if it died
    began REAL                            -- boot time of the machine, by its clock; NULL if the clock was set while
                                          -- a run was unfinished
) STRICT;
INSERT INTO progress VALUES (1, '', 0, NULL, NULL);
"""

MIGRATIONS = {  # by the version that each starts from
    1: """
ALTER TABLE jobs ADD COLUMN since REAL NOT NULL DEFAULT 0;
UPDATE jobs SET since = strftime('%s', 'now');
ALTER TABLE progress ADD COLUMN began REAL;
""",
    2: """
CREATE INDEX slots_run ON slots (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX slots_trouble ON slots (due) WHERE state != 'started' AND outcome IS NOT 'success';
CREATE INDEX slots_trouble_of ON slots (job, due) WHERE state != 'started' AND outcome IS NOT 'success';
""",
    3: """
ALTER TABLE jobs ADD COLUMN unreachable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN paused_since REAL;
UPDATE jobs SET paused_since = strftime('%s', 'now') WHERE paused;
ALTER TABLE jobs ADD COLUMN missed_at REAL;
ALTER TABLE jobs ADD COLUMN counts TEXT NOT NULL DEFAULT '{}';
UPDATE jobs SET counts = coalesce((SELECT json_group_object(fate, number) FROM (
    SELECT coalesce(outcome, reason) AS fate, sum(count) AS number FROM slots
    WHERE slots.job = jobs.job AND state != 'started' GROUP BY fate)), '{}');
""",
    4: """
ALTER TABLE jobs ADD COLUMN totals TEXT NOT NULL DEFAULT '{}';
UPDATE jobs SET totals = coalesce((SELECT json_group_object(key, total) FROM (
    SELECT key, sum(value) AS total FROM slots, json_each(reported)
    WHERE slots.job = jobs.job AND reported IS NOT NULL GROUP BY key)), '{}');
""",
    5: """
CREATE TABLE replies (
    job TEXT NOT NULL, due REAL NOT NULL, attempt INTEGER NOT NULL,
    finished REAL NOT NULL, reply TEXT NOT NULL,
    PRIMARY KEY (job, due, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_finished ON replies (finished);
""",
    6: """
ALTER TABLE slots ADD COLUMN lookup_us INTEGER;
ALTER TABLE slots ADD COLUMN connect_us INTEGER;
ALTER TABLE slots ADD COLUMN tls_us INTEGER;
ALTER TABLE slots ADD COLUMN first_byte_us INTEGER;
ALTER TABLE slots ADD COLUMN armed INTEGER;
ALTER TABLE slots ADD COLUMN tries INTEGER;
ALTER TABLE replies ADD COLUMN attempts TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN paused_until REAL;
ALTER TABLE jobs ADD COLUMN paused_why TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN paused_by TEXT NOT NULL DEFAULT '';
CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL, what TEXT NOT NULL,
    job TEXT NOT NULL,
    actor TEXT NOT NULL,
    way TEXT NOT NULL, address TEXT NOT NULL, why TEXT NOT NULL,
    until REAL,
    run_id TEXT
) STRICT;
CREATE INDEX actions_at ON actions (at);
CREATE INDEX actions_of ON actions (job, at);
""",
}

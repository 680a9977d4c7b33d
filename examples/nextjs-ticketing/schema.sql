-- The tables of the ticketing app. To be run as often as you like: psql "$DATABASE_URL" -f schema.sql

CREATE TABLE IF NOT EXISTS requests (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
  status text NOT NULL DEFAULT 'unassigned' CHECK (status IN ('unassigned', 'assigned', 'resolved')),
  assignee text CHECK (length(assignee) BETWEEN 1 AND 80),
  sla_deadline timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (status <> 'assigned' OR (assignee IS NOT NULL AND sla_deadline IS NOT NULL)),
  CHECK (status <> 'unassigned' OR (assignee IS NULL AND sla_deadline IS NULL))
);

-- What the SLA check looks for; it stays small however many requests are resolved.
CREATE INDEX IF NOT EXISTS requests_by_deadline ON requests (sla_deadline) WHERE status = 'assigned';

CREATE TABLE IF NOT EXISTS request_history (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  request_id bigint NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
  at timestamptz NOT NULL DEFAULT now(),
  action text NOT NULL CHECK (action IN ('created', 'assigned', 'resolved', 'sla_timeout')),
  assignee text,
  run_id text -- the Idempotency-Key of the run that did it
);

CREATE INDEX IF NOT EXISTS history_by_request ON request_history (request_id);

-- The runs that have been answered: the same Idempotency-Key gets the same reply, and no work is done again.
CREATE TABLE IF NOT EXISTS cron_runs (
  key text PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  reply jsonb -- written in the transaction that does the work
);

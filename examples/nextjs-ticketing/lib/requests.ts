import { pool, transaction } from "./db";
import { SLA_MINUTES } from "./sla";

export interface TicketRequest {
  id: string; // a bigint
  subject: string;
  status: "unassigned" | "assigned" | "resolved";
  assignee: string | null;
  sla_deadline: Date | null;
  created_at: Date;
  timeouts: number;
}

export interface Counts {
  unassigned: number;
  assigned: number;
  late: number;
  timeouts: number;
}

const SHOWN = 50;

/** The newest requests; those that wait for somebody first. */
export async function latest(): Promise<TicketRequest[]> {
  const { rows } = await pool().query<TicketRequest>(
    `SELECT r.*, (SELECT count(*)::int FROM request_history h
                  WHERE h.request_id = r.id AND h.action = 'sla_timeout') AS timeouts
     FROM requests r
     ORDER BY array_position(ARRAY['unassigned', 'assigned', 'resolved'], status), sla_deadline, id DESC LIMIT $1`,
    [SHOWN],
  );
  return rows;
}

export async function counts(): Promise<Counts> {
  const { rows } = await pool().query<Counts>(
    `SELECT count(*) FILTER (WHERE status = 'unassigned')::int AS unassigned,
            count(*) FILTER (WHERE status = 'assigned')::int AS assigned,
            count(*) FILTER (WHERE status = 'assigned' AND sla_deadline <= now())::int AS late,
            (SELECT count(*)::int FROM request_history WHERE action = 'sla_timeout') AS timeouts
     FROM requests`,
  );
  return rows[0]!;
}

export async function create(subject: string): Promise<void> {
  await pool().query(
    `WITH made AS (INSERT INTO requests (subject) VALUES ($1) RETURNING id)
     INSERT INTO request_history (request_id, action) SELECT id, 'created' FROM made`,
    [subject],
  );
}

/** Gives a request that nobody has to somebody, whose SLA begins now. Nothing happens if another was faster. */
export async function assign(id: string, assignee: string): Promise<void> {
  await change(
    id,
    "assigned",
    `UPDATE requests SET status = 'assigned', assignee = $2, sla_deadline = now() + make_interval(mins => $3)
     WHERE id = $1 AND status = 'unassigned' RETURNING assignee`,
    [assignee, SLA_MINUTES],
  );
}

export async function resolve(id: string): Promise<void> {
  await change(
    id,
    "resolved",
    "UPDATE requests SET status = 'resolved', sla_deadline = NULL WHERE id = $1 AND status = 'assigned' RETURNING assignee",
    [],
  );
}

async function change(id: string, action: string, update: string, values: unknown[]): Promise<void> {
  await transaction(async (client) => {
    const { rows } = await client.query<{ assignee: string }>(update, [id, ...values]);
    if (rows[0]) {
      const note = "INSERT INTO request_history (request_id, action, assignee) VALUES ($1, $2, $3)";
      await client.query(note, [id, action, rows[0].assignee]);
    }
  });
}

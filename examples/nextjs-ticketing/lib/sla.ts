import { transaction } from "./db";

export const SLA_MINUTES = 15;

export interface Reply {
  success: true;
  unassignedCount: number;
  timestamp: string;
  durationMs: number;
}

// One statement. A row that somebody else holds is waited for, and looked at again before it is taken.
const UNASSIGN = `
  WITH late AS (
    SELECT id, assignee FROM requests
    WHERE status = 'assigned' AND sla_deadline <= now()
    ORDER BY id FOR UPDATE
  ), taken AS (
    UPDATE requests SET status = 'unassigned', assignee = NULL, sla_deadline = NULL
    FROM late WHERE requests.id = late.id
  )
  INSERT INTO request_history (request_id, action, assignee, run_id)
  SELECT id, 'sla_timeout', assignee, $1 FROM late`;

/**
 * Takes every request past its deadline from its assignee, and writes that into its history.
 *
 * `key` names the run. Its record, the work and the reply are committed together; whoever asks again with the same
 * key (a retry after a lost reply, say) gets that reply. If the first is still at work, the second waits for it.
 */
export async function slaCheck(key: string | null): Promise<Reply> {
  const began = performance.now();
  return transaction(async (client) => {
    if (key) {
      const claimed = await client.query("INSERT INTO cron_runs (key) VALUES ($1) ON CONFLICT DO NOTHING", [key]);
      if (claimed.rowCount === 0) {
        const known = await client.query<{ reply: Reply }>("SELECT reply FROM cron_runs WHERE key = $1", [key]);
        return known.rows[0]!.reply;
      }
    }
    const { rowCount } = await client.query(UNASSIGN, [key]);
    const reply: Reply = {
      success: true,
      unassignedCount: rowCount ?? 0,
      timestamp: new Date().toISOString(),
      durationMs: Math.round(performance.now() - began),
    };
    if (key) {
      await client.query("UPDATE cron_runs SET reply = $2 WHERE key = $1", [key, reply]);
      await client.query("DELETE FROM cron_runs WHERE at < now() - interval '7 days'");
    }
    return reply;
  });
}

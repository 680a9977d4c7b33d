import { Pool, type PoolClient } from "pg";

const CONNECTING = 5_000; // ms: a database that is away is an error soon, and a reason for the next run to try
const STATEMENT = 60_000; // ms: nothing here takes long; a lock that is held for longer is a fault to hear of

const kept = globalThis as { pool?: Pool }; // `next dev` loads this module anew after every change

export function pool(): Pool {
  if (!kept.pool) {
    const connectionString = process.env.DATABASE_URL;
    if (!connectionString) throw new Error("DATABASE_URL is not set");
    kept.pool = new Pool({ connectionString, connectionTimeoutMillis: CONNECTING, statement_timeout: STATEMENT });
    kept.pool.on("error", (error) => console.error("an idle connection broke:", error.message));
  }
  return kept.pool;
}

/** Runs `work` in one transaction: all of it, or nothing. */
export async function transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool().connect();
  let broken: Error | undefined;
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch((cannot: Error) => (broken = cannot));
    throw error;
  } finally {
    client.release(broken);
  }
}

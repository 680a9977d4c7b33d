import { same } from "@/lib/secret";
import { slaCheck } from "@/lib/sla";

const LONGEST_KEY = 200; // characters: a run id has 36

/** POST with `x-cron-secret` is how Tocsin calls by tocsin.toml. */
export async function POST(request: Request): Promise<Response> {
  return answer(request, request.headers.get("x-cron-secret"));
}

/** GET with `Authorization: Bearer` is how Vercel Cron calls by vercel.json. */
export async function GET(request: Request): Promise<Response> {
  return answer(request, request.headers.get("authorization")?.replace(/^Bearer /i, ""));
}

async function answer(request: Request, shown: string | null | undefined): Promise<Response> {
  if (!same(shown, process.env.CRON_SECRET)) {
    if (!process.env.CRON_SECRET?.trim()) console.error("CRON_SECRET is not set: every call is refused");
    return fail(401, "Unauthorized");
  }
  const key = request.headers.get("idempotency-key");
  if (key && key.length > LONGEST_KEY) return fail(400, `the Idempotency-Key is longer than ${LONGEST_KEY} characters`);
  try {
    return Response.json(await slaCheck(key));
  } catch (error) {
    console.error("the SLA check failed:", error);
    return fail(500, "the SLA check failed; nothing was changed");
  }
}

function fail(status: number, error: string): Response {
  return Response.json({ success: false, error }, { status });
}

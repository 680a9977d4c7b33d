import { type NextRequest, NextResponse } from "next/server";
import { COOKIE, valid } from "@/lib/session";

export const config = {
  runtime: "nodejs",
  matcher: "/((?!_next/|icon.svg).*)",
};

/**
 * Sends whoever has not signed in to /login. Not /api/cron: whoever calls there has no cookie but a secret, which
 * the route checks. Forgetting that is the classic trap: the scheduler is redirected to the login page, and one
 * that follows redirects takes the page's 200 for success. LOGIN_GUARDS_CRON=1 makes the mistake on purpose.
 */
export function middleware(request: NextRequest): NextResponse {
  const path = request.nextUrl.pathname;
  const cron = path.startsWith("/api/cron/") && process.env.LOGIN_GUARDS_CRON !== "1";
  if (cron || path === "/login" || valid(request.cookies.get(COOKIE)?.value)) return NextResponse.next();
  // Not request.url: its host is the one that the server listens on, which behind a proxy is localhost.
  const origin = `${request.headers.get("x-forwarded-proto")}://${request.headers.get("x-forwarded-host")}`;
  return NextResponse.redirect(new URL("/login", origin), 307);
}

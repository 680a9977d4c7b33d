import { createHmac } from "node:crypto";
import { same } from "./secret";

export const COOKIE = "session";
export const LIFETIME = 12 * 60 * 60; // seconds: a working day

/** The value of the cookie: when it ends, and a signature. Without SESSION_SECRET nobody gets one. */
export function issue(now = Date.now()): string {
  const ends = String(Math.floor(now / 1000) + LIFETIME);
  const signed = signature(ends);
  if (!signed) throw new Error("SESSION_SECRET is not set");
  return `${ends}.${signed}`;
}

export function valid(cookie: string | undefined, now = Date.now()): boolean {
  const [ends = "", signed = ""] = (cookie ?? "").split(".");
  return same(signed, signature(ends)) && Number(ends) * 1000 > now;
}

function signature(ends: string): string | undefined {
  const key = process.env.SESSION_SECRET?.trim();
  return key && createHmac("sha256", key).update(ends).digest("base64url");
}

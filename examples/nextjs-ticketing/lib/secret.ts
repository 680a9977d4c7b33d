import { createHash, timingSafeEqual } from "node:crypto";

/** Whether both are the same, in a time that says nothing about either. What is not set equals nothing. */
export function same(shown: string | null | undefined, wanted: string | undefined): boolean {
  if (!shown || !wanted?.trim()) return false;
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(shown), digest(wanted));
}

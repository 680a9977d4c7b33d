"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";

const EVERY = 3_000; // ms: the SLA check works behind the page's back

/** Fetches the page's contents anew now and then; what is being typed stays. */
export function Refresh() {
  const router = useRouter();
  useEffect(() => {
    const timer = setInterval(() => document.hidden || router.refresh(), EVERY);
    return () => clearInterval(timer);
  }, [router]);
  return null;
}

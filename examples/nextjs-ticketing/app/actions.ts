"use server";

import { revalidatePath } from "next/cache";
import { cookies, headers } from "next/headers";
import { redirect } from "next/navigation";
import { signedIn } from "@/lib/guard";
import * as requests from "@/lib/requests";
import { same } from "@/lib/secret";
import { COOKIE, issue, LIFETIME } from "@/lib/session";

function text(form: FormData, name: string, longest: number): string {
  const value = form.get(name);
  return typeof value === "string" ? value.trim().slice(0, longest) : "";
}

function number(form: FormData): string {
  const id = text(form, "id", 18);
  if (!/^\d+$/.test(id)) throw new Error("no such request");
  return id;
}

export async function signIn(form: FormData): Promise<void> {
  if (!same(text(form, "password", 200), process.env.APP_PASSWORD)) redirect("/login?wrong");
  const secure = (await headers()).get("x-forwarded-proto") === "https";
  (await cookies()).set(COOKIE, issue(), { httpOnly: true, sameSite: "lax", secure, maxAge: LIFETIME });
  redirect("/");
}

export async function signOut(): Promise<void> {
  (await cookies()).delete(COOKIE);
  redirect("/login");
}

export async function create(form: FormData): Promise<void> {
  await signedIn();
  const subject = text(form, "subject", 200);
  if (subject) await requests.create(subject);
  revalidatePath("/");
}

export async function assign(form: FormData): Promise<void> {
  await signedIn();
  const assignee = text(form, "assignee", 80);
  if (assignee) await requests.assign(number(form), assignee);
  revalidatePath("/");
}

export async function resolve(form: FormData): Promise<void> {
  await signedIn();
  await requests.resolve(number(form));
  revalidatePath("/");
}

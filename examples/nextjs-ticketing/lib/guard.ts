import { cookies } from "next/headers";
import { redirect } from "next/navigation";
import { COOKIE, valid } from "./session";

/** Pages and actions ask for themselves: middleware alone is one layer, and has been got round before. */
export async function signedIn(): Promise<void> {
  if (!valid((await cookies()).get(COOKIE)?.value)) redirect("/login");
}

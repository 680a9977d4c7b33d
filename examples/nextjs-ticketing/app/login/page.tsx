import { signIn } from "../actions";

export const metadata = { title: "Sign in · Ticketing" };

export default async function Login({ searchParams }: { searchParams: Promise<{ wrong?: string }> }) {
  const { wrong } = await searchParams;
  return (
    <main className="login">
      <h1>Sign in</h1>
      <form action={signIn}>
        <label htmlFor="password">Password</label>
        <input id="password" name="password" type="password" autoComplete="current-password" required autoFocus />
        {wrong !== undefined && <p role="alert">That is not the password.</p>}
        <button>Sign in</button>
      </form>
    </main>
  );
}

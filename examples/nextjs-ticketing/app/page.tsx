import { signedIn } from "@/lib/guard";
import { counts, latest, type TicketRequest } from "@/lib/requests";
import { SLA_MINUTES } from "@/lib/sla";
import { assign, create, resolve, signOut } from "./actions";
import { Refresh } from "./refresh";

export const dynamic = "force-dynamic";

export default async function Requests() {
  await signedIn();
  const [sums, rows] = await Promise.all([counts(), latest()]);
  const now = Date.now();
  return (
    <main>
      <Refresh />
      <header>
        <h1>Requests</h1>
        <form action={signOut}>
          <button className="quiet">Sign out</button>
        </form>
      </header>
      <dl>
        <Sum name="Unassigned" value={sums.unassigned} />
        <Sum name="Assigned" value={sums.assigned} />
        <Sum name={`Past their ${SLA_MINUTES} minutes`} value={sums.late} bad={sums.late > 0} />
        <Sum name="Taken back so far" value={sums.timeouts} />
      </dl>
      <form action={create} className="create">
        <input name="subject" placeholder="What is it about?" aria-label="Subject" maxLength={200} required />
        <button>New request</button>
      </form>
      {rows.length === 0 ? (
        <p className="nothing">No requests yet.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th>#</th>
              <th>Subject</th>
              <th>State</th>
              <th>SLA</th>
              <th />
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row key={row.id} row={row} now={now} />
            ))}
          </tbody>
        </table>
      )}
    </main>
  );
}

function Sum({ name, value, bad = false }: { name: string; value: number; bad?: boolean }) {
  return (
    <div className={bad ? "bad" : undefined}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Row({ row, now }: { row: TicketRequest; now: number }) {
  const left = row.sla_deadline ? row.sla_deadline.getTime() - now : null;
  return (
    <tr className={row.status}>
      <td className="id">{row.id}</td>
      <td>
        {row.subject}
        {row.timeouts > 0 && (
          <span className="note" title="How often its SLA has passed">
            timed out {row.timeouts}×
          </span>
        )}
      </td>
      <td>
        <span className="state">{row.status}</span> {row.assignee}
      </td>
      <td className={left !== null && left <= 0 ? "late" : undefined}>{left === null ? "–" : remaining(left)}</td>
      <td className="act">
        {row.status === "unassigned" && (
          <form action={assign}>
            <input type="hidden" name="id" value={row.id} />
            <input name="assignee" placeholder="Name" aria-label={`Who takes request ${row.id}`} maxLength={80} required />
            <button>Assign</button>
          </form>
        )}
        {row.status === "assigned" && (
          <form action={resolve}>
            <input type="hidden" name="id" value={row.id} />
            <button className="quiet">Resolve</button>
          </form>
        )}
      </td>
    </tr>
  );
}

function remaining(ms: number): string {
  const minutes = Math.floor(Math.abs(ms) / 60_000);
  return ms > 0 ? `${minutes + 1} min left` : minutes ? `${minutes} min late` : "just passed";
}

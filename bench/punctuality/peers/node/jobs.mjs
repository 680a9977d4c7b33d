// node jobs.mjs node-cron|croner JOBS EXPRESSION URL: one process, every job a schedule that fetches.
const [library, jobs, expression, url] = process.argv.slice(2)

async function call(job) {
  const response = await fetch(`${url}/job/${job}`, {
    method: 'POST',
    headers: { 'x-cron-secret': process.env.CRON_SECRET },
  })
  const reply = await response.json()
  if (!response.ok || !reply.success) console.error(`job ${job}: ${response.status} ${JSON.stringify(reply)}`)
}

const schedule =
  library === 'croner'
    ? await import('croner').then(({ Cron }) => (job) => new Cron(expression, () => call(job)))
    : await import('node-cron').then(({ default: cron }) => (job) => cron.schedule(expression, () => call(job)))

for (let job = 0; job < Number(jobs); job++) schedule(job)
console.log('ready')

// Railway: .railway/railway.ts. `railway config plan` shows what it would do, `railway config apply` does it.
import { defineRailway, github, preserve, project, service, volume } from "railway/iac";

export default defineRailway(() => {
  const state = volume("tocsin-state", { region: "europe-west4-drams3a", sizeMB: 512 });

  const tocsin = service("tocsin", {
    source: github("you/tocsin", { branch: "main" }), // built with its Dockerfile
    // Railway mounts volumes as root's and starts this as root (RAILWAY_RUN_UID), to hand the volume to the image's
    // user and become it.
    start:
      "/bin/sh -c 'chown -R 10001:10001 var && chown 10001 /dev/stdout && exec setpriv --reuid=10001 --regid=10001 --clear-groups tini -- supervisord -c foreground.conf'",
    healthcheck: "/healthz", // asked on PORT
    replicas: { "europe-west4-drams3a": 1 }, // the region of the volume; never two
    deploy: {
      restartPolicyType: "ALWAYS",
      overlapSeconds: 0, // two at once would call twice
      drainingSeconds: 60, // longer than stopwaitsecs (45 s), which is longer than drain (30 s); Railway's default is 0
    },
    volumeMounts: { "/srv/tocsin/var": state },
    env: {
      PORT: "9911", // where the image listens
      RAILWAY_RUN_UID: "0",
      API_BASE_URL: "https://app.example.com",
      CRON_SECRET: preserve(), // set in the dashboard
      TOCSIN_PASSWORD: preserve(),
    },
  });

  return project("tocsin", { resources: [tocsin, state] });
});

import type { NextConfig } from "next";

const headers = [
  { key: "X-Frame-Options", value: "DENY" },
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "Referrer-Policy", value: "same-origin" },
];

const config: NextConfig = {
  output: "standalone",
  outputFileTracingRoot: __dirname, // server.js lies at the top of .next/standalone, whatever surrounds this folder
  outputFileTracingExcludes: { "*": ["./node_modules/@img/**", "./node_modules/sharp/**", "./node_modules/typescript/**"] },
  poweredByHeader: false,
  headers: async () => [{ source: "/:path*", headers }],
};

export default config;

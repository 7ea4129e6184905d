import { defineConfig } from "vitest/config";

/** Unit tests read the packages' sources, so they need no build. */
const source = {
  resolve: { conditions: ["@rk/source"] },
  ssr: { resolve: { conditions: ["@rk/source", "node", "import", "module", "default"] } },
};

/** End to end over the built packages, one suite at a time: they measure out time and fill the machine. */
const endToEnd = { testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false };

/** Only on demand: `npm run test:nightly`. */
const nightly = {
  test: { ...endToEnd, name: "nightly", include: ["test-e2e/nightly/**/*.test.ts"], testTimeout: 600_000 },
};

export default defineConfig({
  test: {
    projects: [
      { ...source, test: { name: "unit", include: ["packages/*/src/**/*.test.ts"] } },
      { test: { ...endToEnd, name: "e2e", include: ["test-e2e/src/**/*.test.ts"] } },
      ...(process.env["RK8S_NIGHTLY"] === "1" ? [nightly] : []),
    ],
  },
});

import { defineConfig } from "vitest/config";

/** Unit tests read the packages' sources, so they need no build. */
const source = {
  resolve: { conditions: ["@rk/source"] },
  ssr: { resolve: { conditions: ["@rk/source", "node"] } },
};

/** End to end over the built packages, after the unit tests; two suites at a time, because each mostly waits for its processes. */
const endToEnd = { testTimeout: 120_000, hookTimeout: 120_000, maxWorkers: 2, sequence: { groupOrder: 1 } };

/** Only on demand: `npm run test:nightly`. */
const nightly = {
  test: { ...endToEnd, name: "nightly", include: ["test-e2e/nightly/**/*.test.ts"], testTimeout: 600_000 },
};

/** Only with a folder of test data: `npm run test:vectors -- FOLDER`. */
const VECTORS = "packages/control-plane/src/**/*vectors.test.ts";
const vectors = [
  { ...source, test: { name: "vectors", include: [VECTORS], testTimeout: 300_000 } },
  {
    test: {
      ...endToEnd,
      name: "vectors-e2e",
      include: ["test-e2e/vectors/**/*.test.ts"],
      testTimeout: 300_000,
    },
  },
];

/** Only where further clients of the vault are at hand: `npm run test:more-clients`. */
const moreClients = {
  test: { ...endToEnd, name: "more-clients", include: ["test-e2e/more-clients/**/*.test.ts"] },
};

export default defineConfig({
  test: {
    projects: [
      {
        ...source,
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts"],
          exclude: [VECTORS],
          // By itself it would leave a core to the editor. Files share the cores then, so a test may be slow.
          maxWorkers: 2,
          testTimeout: 20_000,
        },
      },
      { test: { ...endToEnd, name: "e2e", include: ["test-e2e/src/**/*.test.ts"] } },
      ...(process.env["RK8S_NIGHTLY"] === "1" ? [nightly] : []),
      ...(process.env["RK8S_VECTORS"] === undefined ? [] : vectors),
      ...(process.env["RK8S_MORE_CLIENTS"] === undefined ? [] : [moreClients]),
    ],
  },
});

import { defineConfig } from "vitest/config";

/** Unit tests read the packages' sources, so they need no build. */
const source = {
  resolve: { conditions: ["@rk/source"] },
  ssr: { resolve: { conditions: ["@rk/source", "node", "import", "module", "default"] } },
};

export default defineConfig({
  test: {
    projects: [
      { ...source, test: { name: "unit", include: ["packages/*/src/**/*.test.ts"] } },
      {
        test: {
          name: "e2e",
          include: ["test-e2e/src/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});

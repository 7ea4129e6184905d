import { CONNECTION_CASES } from "./contract-connections.js";
import { CREDENTIAL_CASES } from "./contract-credentials.js";
import type { TransportHarness } from "./contract-server.js";
import { STREAM_CASES } from "./contract-streams.js";

/** What the contract needs of a test runner; vitest's own functions fit. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  test(name: string, body: () => Promise<void>): unknown;
}

/**
 * Register the tests that every adapter of the `Transport` port must pass:
 * `transportContract("memory transport", harness, { describe, test })`.
 */
export function transportContract(name: string, harness: TransportHarness, runner: TestRunner): void {
  runner.describe(`${name} keeps the transport contract`, () => {
    for (const contractCase of [...CONNECTION_CASES, ...STREAM_CASES, ...CREDENTIAL_CASES]) {
      runner.test(contractCase.name, async () => {
        const transport = await harness.createTransport();
        try {
          await contractCase.run(transport, harness);
        } finally {
          await harness.destroyTransport?.(transport);
        }
      });
    }
  });
}

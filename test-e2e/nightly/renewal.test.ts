import { expect, test } from "vitest";
import { renewUnderFire } from "../src/harness/renewal-story.js";

test("a log stream and ten requests a second stay open through ten minutes of certificates of ten seconds and roots of a minute", async () => {
  const certificates = { node_ttl: "10s", server_ttl: "10s", root_ttl: "60s", root_rotation: "auto" };
  const outcome = await renewUnderFire({ certificates, seconds: 600 });
  process.stdout.write(`${JSON.stringify({ ...outcome, missedLines: outcome.missedLines.length })}\n`);

  expect(outcome).toMatchObject({ failures: [], missedLines: [], agentEvents: [], followerLived: true });
  expect(outcome.roots).toBeGreaterThanOrEqual(17);
  expect(outcome.generations).toBeGreaterThanOrEqual(55);
  expect(outcome.serverCertificates).toBeGreaterThanOrEqual(55);
  expect(outcome.lines).toBeGreaterThan(5000);
}, 800_000);

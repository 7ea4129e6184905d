import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isRevoked, parseCrl } from "@rk8s/x509";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";

/** Answers after which the process is killed; the requests behind them are on their way. */
const ANSWERS_BEFORE_KILL = [40, 250, 333, 377];
const WORKERS = 16;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** What clients were told. */
interface Told {
  readonly issued: string[];
  readonly revoked: string[];
}

/** Issue and revoke from many clients; kill the process with SIGKILL in the middle of it. */
async function workUntilKilled(api: VaultApi, told: Told, answersBeforeKill: number): Promise<void> {
  const rks = cluster.controlPlane;
  const target = told.issued.length + told.revoked.length + answersBeforeKill;
  const killWhenDue = (): void => {
    if (told.issued.length + told.revoked.length >= target) rks.kill("SIGKILL");
  };
  const worker = async (number: number): Promise<void> => {
    for (let round = 0; ; round++) {
      try {
        const { serial_number } = await api.write("pki/issue/web", {
          common_name: `w${number}-${round}.example.com`,
        });
        told.issued.push(String(serial_number));
        killWhenDue();
        if (round % 2 === 1) continue;
        await api.write("pki/revoke", { serial_number });
        told.revoked.push(String(serial_number));
        killWhenDue();
      } catch {
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, (_, number) => worker(number)));
  expect(await rks.exited).toBeNull();
}

test("killed during 1,000 issues and revocations, it loses nothing that it answered", async () => {
  const audit = join(cluster.folder, "vault-audit.log");
  const first = await vaultApi(cluster);
  await first.write("sys/audit/file", { type: "file", options: { file_path: audit } });
  await first.write("sys/mounts/pki", { type: "pki" });
  await first.write("pki/root/generate/internal", { common_name: "kill root", key_type: "ec" });
  await first.write("pki/roles/web", { allow_any_name: true, key_type: "ec", ttl: "1h" });

  const told: Told = { issued: [], revoked: [] };
  for (const answers of ANSWERS_BEFORE_KILL) {
    await workUntilKilled(await vaultApi(cluster), told, answers);
    await cluster.startControlPlane();
  }
  expect(told.issued.length + told.revoked.length).toBeGreaterThanOrEqual(1000);

  const api = await vaultApi(cluster);
  const crl = parseCrl(await api.bytes("pki/crl"));
  const lines = (await readFile(audit, "utf8")).trimEnd().split("\n");
  const responses = lines
    .map((line) => JSON.parse(line) as AuditLine)
    .filter(({ type }) => type === "response");
  const inAudit = (path: string): Set<unknown> =>
    new Set(
      responses
        .filter(({ request }) => request.path === path)
        .map(({ request, response }) => response?.data?.["serial_number"] ?? request.data?.["serial_number"]),
    );
  const [issuedLines, revokedLines] = [inAudit("pki/issue/web"), inAudit("pki/revoke")];
  for (const serial of told.issued) {
    expect(issuedLines.has(serial)).toBe(true);
    expect(await api.read(`pki/cert/${serial}`)).toMatchObject({
      certificate: expect.stringMatching(/^-----BEGIN/),
    });
  }
  for (const serial of told.revoked) {
    expect(revokedLines.has(serial)).toBe(true);
    expect(isRevoked(crl, serial.replaceAll(":", ""))).toBe(true);
  }
});

interface AuditLine {
  readonly type: string;
  readonly request: { readonly path: string; readonly data?: Readonly<Record<string, unknown>> };
  readonly response?: { readonly data?: Readonly<Record<string, unknown>> };
}

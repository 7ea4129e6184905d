import { type Figure, median } from "./report.js";
import { aCsr } from "./vault.js";
import { spread } from "./vault-load.js";
import { ownServer, type VaultConnection, type VaultServer } from "./vault-server.js";

const MOUNT = "bench-many";
/** How many are revoked when a revocation is timed. */
const REVOKED = [1_000, 20_000, 100_000];
const TIMED_REVOCATIONS = 15;
/** How many are stored when the start is timed. */
const STORED = 250_000;
/** So many before memory is looked at: code is compiled and buffers have grown by then, whatever comes later. */
const WARM_UP = 5_000;
const CLIENTS = 16;
const ROLE = { allow_any_name: true, key_type: "ec", ttl: "8760h" };

/**
 * What many certificates cost: a revocation and the fresh list with many revoked already, memory for each that is
 * stored, and the start over all of them. Takes about ten minutes.
 */
export async function manyCertificates(): Promise<Figure[]> {
  await using server = await ownServer();
  const figures: Figure[] = [];
  const body = { csr: aCsr("many.example.com"), common_name: "many.example.com" };
  const connections = Array.from({ length: CLIENTS }, () => server.connect());
  const admin = connections[0]!;
  await admin.ask("POST", `sys/mounts/${MOUNT}`, { type: "pki", config: { max_lease_ttl: "87600h" } });
  await admin.ask("POST", `${MOUNT}/root/generate/internal`, {
    common_name: "many",
    key_type: "ec",
    ttl: "80000h",
  });
  await admin.ask("POST", `${MOUNT}/roles/many`, ROLE);

  const serials: string[] = [];
  const issue = async (on: VaultConnection): Promise<void> => {
    serials.push(String((await on.ask("POST", `${MOUNT}/sign/many`, body))["serial_number"]));
  };
  await spread(connections, WARM_UP, issue);
  const before = { resident: server.residentMib, private: server.privateMib };
  await spread(connections, STORED - WARM_UP, issue);
  const each = (grownMib: number): number => (grownMib * 1024 * 1024) / (STORED - WARM_UP);
  const growth = `RSS growth per stored certificate, ${STORED} of them`;
  figures.push(
    figure(server, growth, each(server.residentMib - before.resident), "B"),
    figure(server, `${growth}: private part`, each(server.privateMib - before.private), "B"),
  );

  let revoked = 0;
  const revokeTo = async (count: number): Promise<void> => {
    const start = revoked;
    await spread(connections, count - start, async (on, index) => {
      await on.ask("POST", `${MOUNT}/revoke`, { serial_number: serials[start + index]! });
    });
    revoked = count;
  };
  for (const count of REVOKED) {
    await revokeTo(count - TIMED_REVOCATIONS);
    figures.push(...(await timeRevocations(server, admin, serials.slice(revoked, count), count)));
    revoked = count;
  }
  for (const connection of connections) await connection[Symbol.asyncDispose]();
  figures.push(
    figure(server, `start with ${STORED} stored and ${revoked} revoked`, await server.restart(), "ms"),
  );
  return figures;
}

async function timeRevocations(
  server: VaultServer,
  on: VaultConnection,
  serials: readonly string[],
  count: number,
): Promise<Figure[]> {
  const revocations: number[] = [];
  const fresh: number[] = [];
  for (const serial of serials) {
    const begun = performance.now();
    await on.ask("POST", `${MOUNT}/revoke`, { serial_number: serial });
    const revokedAt = performance.now();
    revocations.push(revokedAt - begun);
    const wanted = Buffer.from(serial.replaceAll(":", ""), "hex");
    while (!Buffer.from(await on.exchange(`${MOUNT}/crl`)).includes(wanted));
    fresh.push(performance.now() - revokedAt);
  }
  return [
    figure(server, `revocation with ${count} revoked`, median(revocations), "ms"),
    figure(server, `until the fresh list with ${count} revoked is here`, median(fresh), "ms"),
  ];
}

function figure(server: VaultServer, measure: string, value: number, unit: string): Figure {
  return { benchmark: "vault-certificates", subject: server.name, measure, value, unit };
}

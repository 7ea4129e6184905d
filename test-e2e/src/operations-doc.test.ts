import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { docBlocks, eachPlace } from "./harness/doc-blocks.js";
import { eventually } from "./harness/eventually.js";
import { Lab } from "./harness/lab.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { Reader, type Terminal } from "./harness/reader.js";

const READY = "ready: QUIC on";

suiteThatNeeds(["etcd", "linux", "root", "network namespaces"], "the commands of the pages, pasted", () => {
  test("README and docs/operations.md lead from one machine to three control planes on three members of a store", async () => {
    const [init, worker] = (await docBlocks("README.md", "By hand, in three terminals")).map(installed);
    const walk = await docBlocks("docs/operations.md", "From one machine to three");
    expect(walk).toHaveLength(9);
    const [members, certificates, member, health, start, look, another, agent, lookAround] = walk as Nine;

    // In a network namespace of their own the pages' ports are free.
    await using lab = await Lab.create(["machine"]);
    await using reader = await Reader.create(lab.host("machine").prefix);
    const before = await reader.open(init!, READY);
    const first = await reader.open(worker!, "registered as worker-1");

    await edit(join(reader.folder, "config.yaml"), members);
    await reader.run(certificates);
    const stores = await Promise.all(
      eachPlace(member).map(async (place) => reader.open(place, "ready to serve client requests")),
    );
    expect(stores).toHaveLength(3);
    expect((await reader.run(health)).match(/is healthy/g)).toHaveLength(3);
    await before.interrupt();
    const heard = first.said.length;
    const planes = [await reader.open(start, READY)];
    await eventually(
      async () => reader.run(look),
      (said) => /^storage +https:\/\/localhost:2379/m.test(said),
    );
    await first.saying("registered as worker-1", heard);
    for (const place of eachPlace(another)) planes.push(await reader.open(place, READY));
    expect(planes).toHaveLength(3);
    const last = await reader.open(agent, "registered as worker-9");
    const said = await reader.run(lookAround);
    expect(said).toMatch(/^worker-9 +Ready/m);
    expect(said).toMatch(/^storage +https:\/\/localhost:2379/m);

    // "any one of the three rks, and any one member of the store, may end"
    await stores[2]!.interrupt("SIGKILL");
    const until = last.said.length;
    await planes[placeOf(last)]!.interrupt();
    await last.saying("registered as worker-9", until);

    // "Stop whatever still runs": then the vault comes back through one member whose certificates count for nothing.
    await Promise.all(planes.map(async (plane) => plane.interrupt()));
    await Promise.all(stores.map(async (store) => store.interrupt()));
    const rescue = await docBlocks("docs/operations.md", "When everything has expired");
    expect(rescue).toHaveLength(4);
    const [newest, alone, restart, bringBack] = rescue as [string, string, string, string];
    expect(await reader.run(newest)).toContain("REVISION");
    await reader.open(alone, "ready to serve client requests");
    await reader.open(restart, READY);
    expect(await reader.run(bringBack)).toMatch(/^storage +the vault folder/m);
    expect(await reader.run(look)).toMatch(/^damaged +0/m);
  });
});

type Nine = [string, string, string, string, string, string, string, string, string];

/** README's commands, where `rks` and `rkl` are on the path. */
function installed(block: string): string {
  return block.replaceAll("npx ", "");
}

/** Put this section into a config file in place of the one of its name. */
async function edit(file: string, section: string): Promise<void> {
  const [name = ""] = section.split("\n");
  const config = await readFile(file, "utf8");
  const old = new RegExp(`^${name}\n(?: .*\n)+`, "m");
  expect(config).toMatch(old);
  await writeFile(file, config.replace(old, section));
}

/** Which of the three control planes the agent is connected to. */
function placeOf({ said }: Terminal): number {
  const ports = [...said.matchAll(/connected to 127\.0\.0\.1:(\d+)/g)].map(([, port]) => port);
  return ["50051", "50052", "50053"].indexOf(ports.at(-1)!);
}

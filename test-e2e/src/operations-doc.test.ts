import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
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
    await stores[0]!.interrupt("SIGKILL");
    const until = last.said.length;
    await planes[placeOf(last)]!.interrupt("SIGKILL");
    await last.saying("registered as worker-9", until);
  });
});

type Nine = [string, string, string, string, string, string, string, string, string];

/** README's commands, where `rks` and `rkl` are on the path. */
function installed(block: string): string {
  return block.replaceAll("npx ", "");
}

/** Put these keys into a config file in place of those that it has. */
async function edit(file: string, keys: string): Promise<void> {
  const config = parse(await readFile(file, "utf8")) as object;
  await writeFile(file, stringify({ ...config, ...(parse(keys) as object) }));
}

/** Which of the three control planes the agent is connected to. */
function placeOf({ said }: Terminal): number {
  const ports = [...said.matchAll(/connected to 127\.0\.0\.1:(\d+)/g)].map(([, port]) => port);
  return ["50051", "50052", "50053"].indexOf(ports.at(-1)!);
}

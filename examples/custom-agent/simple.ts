/** A node that is not rkl: it joins, prints what happens, and answers pods in its own way. */
import { readFile } from "node:fs/promises";
import { createAgent } from "@rk8s/agent";

const [rksAddress = "127.0.0.1:50051", tokenFile = "join.token", nodeName] = process.argv.slice(2);
await using agent = await createAgent({
  rksAddress,
  joinToken: await readFile(tokenFile, "utf8"),
  nodeName,
  handlers: { CreatePod: ({ pod }) => console.error(`asked to run ${pod.metadata.name}`) },
});
process.once("SIGTERM", () => void agent.stop()).once("SIGINT", () => void agent.stop());
for await (const event of agent.events()) console.log(JSON.stringify(event));
await agent.finished;

/**
 * A control plane that takes only the nodes on a list, besides everything that rks itself asks of them: a `JoinCheck`
 * of one's own. The list is read anew for each join, one name a line.
 *
 *     rks config init config.yaml && rks gen certs --config config.yaml
 *     node allowed-hosts.ts config.yaml allowed-hosts.txt
 */
import { readFile } from "node:fs/promises";
import { createControlPlane, type JoinCheck, readConfig, RksError } from "@rk8s/control-plane";

const [configFile = "config.yaml", listFile = "allowed-hosts.txt"] = process.argv.slice(2);

const allowedHosts: JoinCheck = {
  name: "allowed hosts",
  // An error that is no RksError, a file that cannot be read for example, refuses the join for now.
  async check({ role, nodeName }, { signal }) {
    if (role === "operator") return;
    const allowed = (await readFile(listFile, { encoding: "utf8", signal })).split(/\r?\n/);
    if (allowed.includes(nodeName)) return;
    throw new RksError("PERMISSION_DENIED", `node "${nodeName}" is not on the list`, {
      suggestion: "Ask the operator to put the name on the list of allowed hosts.",
    });
  },
};

const stop = new AbortController();
process.once("SIGTERM", () => stop.abort()).once("SIGINT", () => stop.abort());
const { config } = await readConfig(configFile);
await using controlPlane = await createControlPlane(config, { joinChecks: [allowedHosts] });
console.log(JSON.stringify({ ready: !controlPlane.sealed, ...controlPlane.endpoints }));
await controlPlane.run(stop.signal);

import { readFileSync } from "node:fs";

/** Version of this package, as `rkl --version` prints it and a node reports it. */
export const AGENT_VERSION: string = readVersion();

function readVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

import { writeFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import type { CommandResult } from "./harness/process.js";
import { RKL, runCommand } from "./harness/process.js";
import { UdpRelay } from "./harness/udp-relay.js";

/** `{"join token": "fail JOIN_TOKEN_USED"}` of the one document that a doctor prints. */
function findings({ stdout }: CommandResult): Record<string, string> {
  const document = JSON.parse(stdout) as {
    readonly findings: readonly { readonly check: string; readonly status: string; readonly code?: string }[];
  };
  return Object.fromEntries(
    document.findings.map(({ check, status, code }) => [
      check,
      code === undefined ? status : `${status} ${code}`,
    ]),
  );
}

describe("rkl doctor", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const doctor = (args: readonly string[], token?: string): Promise<CommandResult> =>
    runCommand(
      RKL,
      [
        ...["doctor", "--json", "--data-dir", join(cluster.folder, "doctor-data")],
        ...(token === undefined ? [] : ["--join-token-file", "-"]),
        ...args,
      ],
      token === undefined ? {} : { stdin: `${token}\n` },
    );

  test("walks a join that would work, and the token is as good as before", async () => {
    const { token, id } = await cluster.mintToken();
    const result = await doctor(["--rks-address", cluster.address], token);
    expect(result.status).toBe(0);
    expect(findings(result)).toEqual({
      address: "ok",
      resolve: "ok",
      "udp path": "ok",
      clock: "ok",
      name: "ok",
      root: "ok",
      greeting: "ok",
      "clock skew": "ok",
      mtu: "ok",
      "join token": "ok",
      "data folder": "ok",
      runtime: "ok",
      agent: "skip",
      "mutual tls": "skip",
      register: "skip",
    });
    const listed = await cluster.rks(["join-token", "list", "--config", cluster.configFile, "--json"]);
    const tokens = JSON.parse(listed.stdout) as { id: string; status: string }[];
    expect(tokens.find((one) => one.id === id)?.status).toBe("usable");
    expect(result.stdout + result.stderr).not.toContain(token);
  });

  test("says of a used token when and by which node, with the control plane's remedy and exit code", async () => {
    const { token } = await cluster.mintToken();
    const agent = cluster.startAgent("worker-1", token);
    await agent.event("registered");
    const result = await doctor(["--rks-address", cluster.address], token);
    expect(result.status).toBe(77);
    expect(findings(result)["join token"]).toBe("fail JOIN_TOKEN_USED");
    expect(result.stdout).toContain("worker-1");

    const own = await runCommand(RKL, ["doctor", "--json", "--data-dir", join(cluster.folder, "worker-1")]);
    expect(findings(own)).toMatchObject({ agent: "ok", "mutual tls": "ok", register: "ok" });
    expect(own.status).toBe(0);
  });

  test("tells a firewall that swallows UDP from a token that is wrong", async () => {
    const { token } = await cluster.mintToken();
    await using silent = await UdpRelay.open(cluster.address);
    silent.swallowsAnswers = true;
    const result = await doctor(["--rks-address", silent.address], token);
    expect(result.status).toBe(69);
    expect(findings(result)["udp path"]).toMatch(/^fail TIMED_OUT$/);
    expect(findings(result)["join token"]).toBe("skip");
  });
});

describe("rks doctor", () => {
  test("names what is missing at each stage, from an empty folder to a cluster that serves", async () => {
    await using cluster = await Cluster.create();
    const doctor = (): Promise<CommandResult> =>
      cluster.rks(["doctor", "--config", cluster.configFile, "--json"]);

    const stopped = await doctor();
    expect(stopped.status).toBe(69);
    expect(findings(stopped)).toMatchObject({ config: "ok", root: "ok", process: "fail UNREACHABLE" });

    await cluster.startControlPlane();
    await cluster.joinNode("worker-1");
    const serving = await doctor();
    expect(serving.status).toBe(0);
    expect(findings(serving)).toMatchObject({
      process: "ok",
      seal: "ok",
      quic: "ok",
      https: "ok",
      authority: "ok",
      nodes: "ok",
      secrets: "warn",
    });

    await cluster.rks(["seal", "--config", cluster.configFile]);
    const sealed = await doctor();
    expect(sealed.status).toBe(75);
    expect(findings(sealed)).toMatchObject({ seal: "fail VAULT_SEALED", quic: "skip" });
  });

  test("finds a config that cannot be read, and a clock that was put back", async () => {
    await using cluster = await Cluster.start();
    const future = new Date(Date.now() + 3_600_000);
    await utimes(join(cluster.vaultFolder, "audit.log"), future, future);
    const late = await cluster.rks(["doctor", "--config", cluster.configFile, "--json"]);
    expect(findings(late)["clock"]).toBe("fail CLOCK_SKEW");

    const broken = join(cluster.folder, "broken.yaml");
    await writeFile(broken, "addr: [\n");
    const result = await cluster.rks(["doctor", "--config", broken, "--json"]);
    expect(result.status).toBe(78);
    expect(findings(result)).toEqual({ config: "fail CONFIG_INVALID" });
  });
});

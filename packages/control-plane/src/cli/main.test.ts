import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "@rk8s/protocol";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { clusterRoutes } from "../http/cluster-routes.js";
import type { OperatorCluster } from "../http/operator-api.js";
import { serveSocket } from "../http/socket-server.js";
import { anApi, listenerPorts, UNSEALED } from "../http/testing/an-api.js";
import { sealAnswers } from "../http/testing/seal-answers.js";
import type { VaultStatus } from "../vault/vault.js";
import { VERSION } from "../version.js";
import { type RunInput, runRks, type Transcript } from "./testing/run-rks.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-cli-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** Ends the command that runs, as SIGTERM does. */
let terminate: () => void;

/** Run a command in the test's folder. */
async function rks(argv: readonly string[], input: RunInput = {}): Promise<Transcript> {
  return runRks(folder, argv, { ...input, onTerminable: (end) => (terminate = end) });
}

describe("without a control plane", () => {
  test("help names every command on stdout", async () => {
    const { exit, stdout, stderr } = await rks(["--help"]);
    expect([exit, stderr]).toEqual([0, ""]);
    for (const command of ["config", "gen", "start", "join-token", "node", "status", "unseal", "seal"]) {
      expect(stdout).toContain(`rks ${command}`);
    }
  });

  test("the version is the package's", async () => {
    expect(await rks(["--version"])).toEqual({ exit: 0, stdout: `${VERSION}\n`, stderr: "" });
  });

  test.each([
    { argv: [], group: "rks <command>" },
    { argv: ["gen"], group: "rks gen certs" },
    { argv: ["node"], group: "rks node list" },
    { argv: ["token"], group: "rks token create" },
    { argv: ["kv", "metadata"], group: "rks kv metadata get" },
  ])("$argv without a command is help on stderr and 64", async ({ argv, group }) => {
    const { exit, stdout, stderr } = await rks(argv);
    expect([exit, stdout]).toEqual([64, ""]);
    expect(stderr).toContain(group);
  });

  test.each([
    { argv: ["strat"], message: "did you mean start?" },
    { argv: ["gen", "sertificates"], message: "unknown" },
    { argv: ["start", "--confg", "x"], message: "unknown argument: confg" },
    { argv: ["start", "extra"], message: "unknown argument: extra" },
    { argv: ["start", "--config"], message: "not enough arguments following: config" },
    { argv: ["start", "--log-level", "loud"], message: "invalid values" },
    { argv: ["node", "show"], message: "not enough non-option arguments" },
    { argv: ["gen", "join-token", "--role", "king"], message: "invalid values" },
    { argv: ["status", "--config", "a", "--socket", "b"], message: "mutually exclusive" },
    { argv: ["gen", "join-token", "--ttl", "25h"], message: '--ttl: "25h" is not between 1s and 24h' },
    { argv: ["gen", "join-token", "--ttl", "0s"], message: '--ttl: "0s" is not between' },
    { argv: ["gen", "join-token", "--ttl", "soon"], message: '--ttl: duration "soon"' },
    { argv: ["gen", "join-token", "--uses", "-1"], message: "--uses" },
    { argv: ["gen", "certs", "a.yaml", "--config", "b.yaml"], message: "given twice" },
  ])("$argv is wrong usage", async ({ argv, message }) => {
    const { exit, stdout, stderr } = await rks(argv);
    expect([exit, stdout]).toEqual([64, ""]);
    expect(stderr.toLowerCase()).toContain(message.toLowerCase());
    expect(stderr).toMatch(/^rks: .+\nhint: .+\n$/s);
  });

  test("config init writes a config, says what is next, and never overwrites", async () => {
    const first = await rks(["config", "init", "c.yaml"]);
    expect(first.exit).toBe(0);
    expect(first.stdout).toBe(`${join(folder, "c.yaml")}\n`);
    expect(first.stderr).toContain("hint: next: rks gen certs --config c.yaml");
    const second = await rks(["config", "init", "c.yaml"]);
    expect(second.exit).toBe(65);
    expect(second.stderr).toContain("exists already");
  });

  test("with --json an error is one document on stdout as well", async () => {
    const { exit, stdout, stderr } = await rks(["node", "list", "--json", "--socket", "none.sock"]);
    expect(exit).toBe(69);
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: "UNREACHABLE",
        message: `no rks answers at "${join(folder, "none.sock")}"`,
        suggestion: expect.stringContaining("rks start"),
        retryable: true,
      },
    });
    expect(stderr).toMatch(/^rks: no rks answers.+\nhint: .+\n$/s);
  });

  test.each([
    { to: "postgres://rks:hunter2@db/rks", hint: "other users can see command lines: better a config file" },
    { to: "MariaDB://rks:hunter2@db/rks", hint: "other users can see command lines: better a config file" },
    { to: "postgres://rks@db/rks", hint: "Start it with" },
    { to: "https://root:hunter2@store-1:2379", hint: "Start it with" },
    { to: "oracle://rks:hunter2@db/rks", hint: "Say `--to local`, a config file" },
  ])("storage migrate --to $to is answered by a hint, and never repeated", async ({ to, hint }) => {
    const { exit, stderr } = await rks(["storage", "migrate", "--to", to, "--socket", "none.sock"]);
    expect(exit).not.toBe(0);
    expect(stderr.match(/hint: .*/)?.[0]).toContain(hint);
    expect(stderr).not.toContain("hunter2");
  });

  test("without --config and --socket ./config.yaml is asked for, and stderr says so", async () => {
    const { exit, stderr } = await rks(["status"]);
    expect(exit).toBe(78);
    expect(stderr).toContain("using ./config.yaml");
    expect(stderr).toContain("rks config init");
  });

  test("a config that cannot be used is 78 for every command that reads it", async () => {
    await writeFile(join(folder, "config.yaml"), "adr: x\n");
    for (const argv of [["start"], ["gen", "certs"], ["status"], ["node", "list"]]) {
      const { exit, stderr } = await rks(argv);
      expect(exit).toBe(78);
      expect(stderr).toContain('did you mean "addr"?');
    }
  });
});

describe("from nothing to a control plane", () => {
  beforeEach(async () => {
    await writeFile(join(folder, "config.yaml"), 'addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\n');
  });

  test("start before gen certs is 78 with the command to run", async () => {
    const { exit, stdout, stderr } = await rks(["start", "--config", "config.yaml", "--json"]);
    expect(exit).toBe(78);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "VAULT_NOT_INITIALIZED", retryable: false } });
    expect(stderr).toContain("rks gen certs --config config.yaml");
  });

  test("gen certs says what it wrote and what is next, and a second time that nothing is to be done", async () => {
    const first = await rks(["gen", "certs", "--config", "config.yaml"]);
    expect(first.exit).toBe(0);
    expect(first.stdout).toBe(
      ["root.pem", "keys.json"].map((name) => `${join(folder, "rks-data", name)}\n`).join(""),
    );
    expect(first.stderr).toContain("hint: next: rks start --config config.yaml");
    const second = await rks(["gen", "pems", "config.yaml", "--json"]);
    expect(second.exit).toBe(0);
    expect(JSON.parse(second.stdout)).toMatchObject({ initialized: false, files: [] });
    expect(second.stderr).toContain("already initialised");
  });

  test("start prints one document when it is ready, and ends with 0 when it is told to", async () => {
    await rks(["gen", "certs"]);
    const { exit, stdout, stderr } = await rks(["start", "--json"], { onStdout: () => terminate() });
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      ready: true,
      quic: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      http: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      socket: join(folder, "rks-data", "rks.sock"),
      pid: process.pid,
    });
    expect(stderr).toContain("ready: QUIC on 127.0.0.1:");
  });
});

describe("with a control plane", () => {
  const SEALED: VaultStatus = { ...UNSEALED, sealed: true, threshold: 2, shares: 3 };
  const TOKEN = {
    token: new Secret("rkj1.abc"),
    id: "0123456789abcdef",
    expiresAt: "2026-11-21T00:10:00.000Z",
    uses: 1,
    node: null as string | null,
    cidr: null,
    role: "node" as "node" | "operator",
    policies: [],
  };
  const NODE = {
    name: "worker-1",
    status: "Ready",
    address: "10.0.0.1",
    certificateSerial: "0a1b",
    certificateNotAfter: "2026-11-21T01:00:00.000Z",
    lastHeartbeat: null,
    joinedAt: "2026-11-21T00:00:00.000Z",
    version: "0.1.0",
  };

  const CA_STATUS = {
    phase: "steady",
    generation: 0,
    since: "2026-11-21T00:00:00.000Z",
    roots: [
      {
        number: 1,
        standing: "active",
        subject: "CN=rk8s cluster root",
        spkiSha256: "ab".repeat(32),
        notBefore: "2026-11-21T00:00:00.000Z",
        notAfter: "2027-11-21T00:00:00.000Z",
        crossNotAfter: null,
        intermediates: [
          {
            standing: "former",
            subject: "CN=rk8s cluster intermediate 12",
            serialNumber: "12",
            spkiSha256: "cd".repeat(32),
            notBefore: "2026-11-21T00:00:00.000Z",
            notAfter: "2027-11-21T00:00:00.000Z",
          },
        ],
      },
    ],
    warnings: ["near its end"],
    nodes: 2,
    notAcknowledgedCount: 1,
    notAcknowledged: ["worker-1"],
    withOldCertificateCount: 0,
    withOldCertificate: [],
    storeMembers: 3,
    storeMembersBehind: [{ endpoint: "https://store-1:2379", code: "SERVER_UNTRUSTED" }],
    tokensWithOtherPin: 0,
    next: "Begin with `rks ca prepare`.",
  };

  let state: VaultStatus;
  let asked: unknown[];
  let server: AsyncDisposable;
  let socket: string;

  beforeEach(async () => {
    state = { ...SEALED };
    asked = [];
    socket = join(folder, "rks.sock");
    await writeFile(join(folder, "root.pem"), "-----BEGIN CERTIFICATE-----\n");
    const unsupported = (): Promise<never> => Promise.reject(new Error("not asked for here"));
    const cluster: OperatorCluster = {
      joinTokens: {
        create: (request) => {
          asked.push(request);
          return Promise.resolve({ ...TOKEN, role: request.role ?? "node", node: request.node ?? null });
        },
        list: () => Promise.resolve([]),
        revoke: unsupported,
      },
      nodes: {
        list: () => Promise.resolve([NODE]),
        show: () => Promise.resolve({ ...NODE, version: "\u001b[2J" }),
        rejoin: (node) => Promise.resolve({ ...TOKEN, node }),
        evict: (name) => {
          asked.push(`evict ${name}`);
          return Promise.resolve();
        },
        ban: (name, { reason = "no reason" }) => {
          asked.push(`ban ${name}: ${reason}`);
          return Promise.resolve();
        },
        unban: (name) => {
          asked.push(`unban ${name}`);
          return Promise.resolve();
        },
        requireRenewal: (name, { reason }) => {
          asked.push(`renew ${name}: ${reason}`);
          return Promise.resolve();
        },
      },
      ca: {
        status: () => Promise.resolve(CA_STATUS),
        step: (step, options) => {
          asked.push([step, options]);
          return Promise.resolve({ ...CA_STATUS, phase: "prepared", tokensRevoked: 0 });
        },
        request: ({ fresh }) => Promise.resolve({ csr: `request, fresh: ${fresh ?? false}\n` }),
      },
      serveStream: unsupported,
      asOperator: (_authority, _question, work) => work(),
    };
    const api = anApi({
      endpoints: { quic: "127.0.0.1:5", http: null, socket },
      rootCertificateFile: join(folder, "root.pem"),
      sealStatus: () => state,
      unattendedStart: () => Promise.resolve("unusable"),
      isServing: false,
      answer: sealAnswers({
        status: () => state,
        unseal: (share) => {
          asked.push(share);
          state = { ...state, progress: state.progress + 1 };
          if (state.progress === state.threshold) state = { ...state, sealed: false, progress: 0 };
        },
        seal: () => (state = SEALED),
      }),
      cluster: () => cluster,
    });
    const routes = clusterRoutes(api);
    server = await serveSocket({ path: socket, routes, api, drainMs: 100 }, listenerPorts());
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  const onSocket = (...argv: string[]): string[] => [...argv, "--socket", "rks.sock"];

  test("gen join-token prints the token alone, and the command that uses it without it", async () => {
    const { exit, stdout, stderr } = await rks(
      onSocket("gen", "join-token", "--node", "worker-1", "--ttl", "1m"),
    );
    expect([exit, stdout]).toEqual([0, "rkj1.abc\n"]);
    expect(stderr).toContain("rkl pod daemon --node-name worker-1 --rks-address 127.0.0.1:5");
    expect(stderr).toContain("--join-token-file join.token");
    expect(stderr).not.toContain("rkj1");
    expect(asked).toEqual([{ role: "node", node: "worker-1", ttlSeconds: 60 }]);
  });

  test("gen join-token --json prints surface.md's document", async () => {
    const { stdout } = await rks(onSocket("gen", "join-token", "--json"));
    expect(JSON.parse(stdout)).toEqual({
      token: "rkj1.abc",
      id: "0123456789abcdef",
      expiresAt: "2026-11-21T00:10:00.000Z",
      uses: 1,
      node: null,
      cidr: null,
      role: "node",
      rootCertPath: join(folder, "root.pem"),
    });
  });

  test("gen join-token --out writes the token for its owner only and the root beside it", async () => {
    const { exit, stdout } = await rks(onSocket("gen", "join-token", "--out", "to/worker"));
    const token = join(folder, "to/worker/join.token");
    expect([exit, stdout]).toEqual([0, `${token}\n`]);
    expect(await readFile(token, "utf8")).toBe("rkj1.abc\n");
    expect((await stat(token)).mode & 0o777).toBe(0o600);
    expect(await readFile(join(folder, "to/worker/root.pem"), "utf8")).toBe("-----BEGIN CERTIFICATE-----\n");
  });

  test("an operator's token comes with an operator's command", async () => {
    const { stderr } = await rks(onSocket("gen", "join-token", "--role", "operator"));
    expect(stderr).toContain("rkl get nodes --rks-address 127.0.0.1:5");
  });

  test("node list is a table for people and an array for programs", async () => {
    expect((await rks(onSocket("node", "list"))).stdout).toMatch(
      /^NAME +STATUS +ADDRESS.*\nworker-1 +Ready +10\.0\.0\.1.*never/,
    );
    expect(JSON.parse((await rks(onSocket("node", "list", "--json"))).stdout)).toEqual([NODE]);
  });

  test("what a node says of itself cannot drive the terminal", async () => {
    const { stdout } = await rks(onSocket("node", "show", "worker-1"));
    expect(stdout).toContain("worker-1");
    expect(stdout).not.toContain("\u001b");
  });

  test("node rejoin prints like gen join-token, bound to the node", async () => {
    const { stdout } = await rks(onSocket("node", "rejoin", "worker-1", "--json"));
    expect(JSON.parse(stdout)).toMatchObject({ token: "rkj1.abc", node: "worker-1" });
  });

  test.each([
    { words: ["ban", "worker-1"], stdout: "banned worker-1\n", passed: "ban worker-1: no reason" },
    {
      words: ["ban", "worker-1", "--reason", "stolen"],
      stdout: "banned worker-1\n",
      passed: "ban worker-1: stolen",
    },
    { words: ["unban", "worker-1"], stdout: "unbanned worker-1\n", passed: "unban worker-1" },
    {
      words: ["renew", "worker-1"],
      stdout: "worker-1 renews its certificate\n",
      passed: "renew worker-1: an operator asks for it",
    },
  ])("node $words passes on what it is asked", async ({ words, stdout, passed }) => {
    expect((await rks(onSocket("node", ...words))).stdout).toBe(stdout);
    expect(asked).toEqual([passed]);
  });

  test("node evict passes the name on", async () => {
    expect((await rks(onSocket("node", "evict", "worker-1"))).stdout).toBe("evicted worker-1\n");
    expect(asked).toEqual(["evict worker-1"]);
  });

  test("ca csr prints the request alone, and says what to do with it", async () => {
    const { stdout, stderr } = await rks(onSocket("ca", "csr", "--fresh"));
    expect(stdout).toBe("request, fresh: true\n");
    expect(stderr).toContain("rks ca renew --certificates FILE");
  });

  test("ca renew and ca prepare pass on what the file holds", async () => {
    await writeFile(join(folder, "signed.pem"), "signed");
    for (const step of ["renew", "prepare"]) {
      const { exit } = await rks(onSocket("ca", step, "--certificates", "signed.pem"));
      expect(exit).toBe(0);
      expect(asked.pop()).toEqual([step, expect.objectContaining({ certificates: "signed" })]);
      expect((await rks(onSocket("ca", step, "--certificates", "none"))).exit).toBe(65);
    }
    expect((await rks(onSocket("ca", "renew"))).exit).toBe(64);
    expect(asked).toEqual([]);
  });

  test("ca retire gives up everybody who is named, behind one --force or several", async () => {
    const member = "https://store-1:2379";
    for (const force of [
      ["--force", "a", member],
      ["--force", "a", "--json", "--force", member],
      ["--force=a", `--force=${member}`],
    ]) {
      expect((await rks(onSocket("ca", "retire", ...force))).exit).toBe(0);
      expect(asked.pop()).toEqual(["retire", expect.objectContaining({ force: ["a", member] })]);
    }
  });

  test("ca status names members of the store that are behind, and why", async () => {
    const { stdout } = await rks(onSocket("ca", "status"));
    expect(stdout).toMatch(/^store members behind +1: https:\/\/store-1:2379 \(SERVER_UNTRUSTED\)$/m);
  });

  test("ca status shows intermediates below their root, and warns", async () => {
    const { stdout, stderr } = await rks(onSocket("ca", "status"));
    expect(stdout).toMatch(
      /\n1 +active +CN=rk8s cluster root .*\n1\* +former +CN=rk8s cluster intermediate 12 /,
    );
    expect(stderr).toContain("warning: near its end\n");
  });

  test("status tells people and programs the same", async () => {
    const json = JSON.parse((await rks(onSocket("status", "--json"))).stdout) as object;
    expect(json).toMatchObject({ initialized: true, sealed: true, quic: "127.0.0.1:5", http: null, socket });
    expect((await rks(onSocket("status"))).stdout).toMatch(/sealed +true\n/);
  });

  test.each([
    { name: "stdin", argv: ["-"], input: { stdin: "one\ntwo\nthree\n" } },
    {
      name: "keys.json on stdin",
      argv: ["-"],
      input: { stdin: '{"keys":["one","two","three"],"threshold":2}' },
    },
    { name: "the environment", argv: [], input: { env: { RKS_UNSEAL_KEY: "one two" } } },
    { name: "a file", argv: ["--key-file", "shares"], input: {} },
  ])("unseal takes as many shares as it needs from $name", async ({ argv, input }) => {
    await writeFile(join(folder, "shares"), "one\ntwo\n");
    const { exit, stdout, stderr } = await rks(onSocket("unseal", ...argv), input);
    expect([exit, stdout, stderr]).toEqual([0, "unsealed\n", ""]);
    expect(asked).toEqual(["one", "two"]);
  });

  test("unseal with one share of two says how many are missing, and that argv is seen by others", async () => {
    const { exit, stdout, stderr } = await rks(onSocket("unseal", "one"));
    expect([exit, stdout]).toEqual([0, "sealed: 1 of 2 shares given\n"]);
    expect(stderr).toContain("--key-file FILE");
  });

  test("unseal without a share anywhere is wrong usage", async () => {
    expect((await rks(onSocket("unseal"))).exit).toBe(64);
    expect((await rks(onSocket("unseal", "-"), { stdin: "  " })).exit).toBe(65);
    expect((await rks(onSocket("unseal", "--key-file", "none"))).exit).toBe(65);
  });

  test("unseal reads what gen certs left beside the vault of --config", async () => {
    await writeFile(join(folder, "c.yaml"), "tls_config: { vault_folder: . }\n");
    await writeFile(join(folder, "keys.json"), '{"keys":["one","two","three"],"threshold":2}', {
      mode: 0o600,
    });
    expect((await rks(["unseal", "--config", "c.yaml", "--json"])).stdout).toBe(
      '{"sealed":false,"progress":0,"threshold":2,"shares":3}\n',
    );
  });

  test("seal says what it means", async () => {
    const { exit, stdout, stderr } = await rks(onSocket("seal"));
    expect([exit, stdout]).toEqual([0, "sealed\n"]);
    expect(stderr).toContain("rks unseal");
  });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { pod as podSchema, RksError, silentLogger, type Node, type Pod } from "@rk8s/protocol";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { AgentStatus } from "../daemon/agent-status.js";
import { serveLocally } from "../daemon/local-server.js";
import type { Handlers } from "../session/handlers.js";
import { AGENT_VERSION } from "../version.js";
import { FLAGS } from "./flags.js";
import { main } from "./main.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl-cli-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Transcript {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Input {
  readonly stdin?: string;
  readonly env?: Record<string, string | undefined>;
  /** Called with what was printed so far and a way to press Ctrl-C. */
  readonly onStdout?: (stdout: string, interrupt: () => void) => void;
}

/** Run a command in the test's folder. */
async function rkl(argv: readonly string[], input: Input = {}): Promise<Transcript> {
  let stdout = "";
  let stderr = "";
  const listeners = new Set<(signal: string) => void>();
  const interrupt = (): void => listeners.forEach((listener) => listener("SIGINT"));
  const io: CliIo = {
    cwd: folder,
    env: { HOME: folder, XDG_STATE_HOME: folder, ...input.env },
    stdin: (async function* () {
      await Promise.resolve();
      yield Buffer.from(input.stdin ?? "");
    })(),
    stdout: (text) => {
      stdout += text;
      input.onStdout?.(stdout, interrupt);
    },
    stderr: (text) => void (stderr += text),
    onTerminate: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    writeStdout: (text) => {
      io.stdout(text);
      return Promise.resolve();
    },
    onCrash: () => ({ [Symbol.dispose]: () => undefined }),
    onStdoutClosed: () => ({ [Symbol.dispose]: () => undefined }),
    exit: () => undefined,
  };
  const exit = await main(argv, io);
  return { exit, stdout, stderr };
}

describe("without anybody to ask", () => {
  test("help names every command on stdout", async () => {
    const { exit, stdout, stderr } = await rkl(["--help"]);
    expect([exit, stderr]).toEqual([0, ""]);
    for (const command of ["pod", "apply", "get", "delete", "logs", "status"])
      expect(stdout).toContain(`rkl ${command}`);
  });

  test("the version is the package's", async () => {
    expect(await rkl(["--version"])).toEqual({ exit: 0, stdout: `${AGENT_VERSION}\n`, stderr: "" });
  });

  test.each([
    { argv: [], group: "rkl <command>" },
    { argv: ["pod"], group: "rkl pod daemon" },
    { argv: ["--json"], group: "rkl <command>" },
  ])("$argv without a command is help on stderr and 64", async ({ argv, group }) => {
    const { exit, stdout, stderr } = await rkl(argv);
    expect([exit, stdout]).toEqual([64, ""]);
    expect(stderr).toContain(group);
  });

  test("every flag in the help is one that mistyped flags are compared with", async () => {
    const commands = [
      ["apply"],
      ["get"],
      ["delete"],
      ["logs"],
      ["status"],
      ["pod", "daemon"],
      ["pod", "create"],
      ["pod", "delete"],
      ["pod", "state"],
      ["pod", "list"],
    ];
    for (const command of commands) {
      const { stdout } = await rkl([...command, "--help"]);
      const flags = [...stdout.matchAll(/^ +(?:-\w, )?--([a-z-]+)/gm)].map(([, flag]) => flag!);
      expect(flags.length).toBeGreaterThan(2);
      for (const flag of flags) expect(FLAGS).toContain(flag);
    }
  });

  test.each([
    { argv: ["aply"], stderr: "rkl: unknown command; did you mean apply?" },
    { argv: ["status", "--jsn"], stderr: "rkl: unknown argument: jsn\nhint: Did you mean --json?" },
    { argv: ["get", "pods", "--rks-adress", "x"], stderr: "hint: Did you mean --rks-address?" },
    { argv: ["get", "services"], stderr: 'kind "services": expected one of' },
    { argv: ["get"], stderr: "not enough non-option arguments" },
    { argv: ["delete", "node", "n"], stderr: 'kind "node": expected one of' },
    { argv: ["apply"], stderr: "missing required argument: filename" },
    { argv: ["apply", "-f"], stderr: "not enough arguments following: f" },
    { argv: ["get", "pods", "-o", "xml"], stderr: 'output "xml": expected one of' },
    { argv: ["get", "pods"], stderr: "rkl: no control plane is named\nhint: Give --rks-address" },
    { argv: ["get", "pods", "--socket", "s", "--rks-address", "a:1"], stderr: "mutually exclusive" },
    {
      argv: ["get", "pods", "--rks-address", "127.0.0.1:1"],
      stderr: "rkl: there is no join token\nhint: Make one",
    },
    { argv: ["get", "pods", "--join-token", "a", "--join-token-file", "b"], stderr: "mutually exclusive" },
    { argv: ["get", "pods", "--socket", "s", "--enable-tls=false"], stderr: "rkl: TLS cannot be turned off" },
    { argv: ["pod", "daemon"], stderr: "rkl: no control plane is named" },
    { argv: ["pod", "daemon", "--runtime", "cri"], stderr: 'runtime "cri": expected one of' },
    { argv: ["pod", "daemon", "--socket", "s"], stderr: "unknown argument: socket" },
    { argv: ["logs", "web", "--socket", "s", "--tail", "many"], stderr: "--tail takes a number of lines" },
    {
      argv: ["delete", "pod", "web", "--socket", "s", "--grace-period", "1.5"],
      stderr: "--grace-period takes whole seconds",
    },
  ])("$argv is wrong usage", async ({ argv, stderr }) => {
    const transcript = await rkl(argv);
    expect([transcript.exit, transcript.stdout]).toEqual([64, ""]);
    expect(transcript.stderr).toContain(stderr);
    expect(transcript.stderr).toMatch(/\nhint: .*\n$/);
  });

  test("ENABLE_TLS=false is refused like the flag, ENABLE_TLS=true is redundant", async () => {
    const argv = ["get", "pods", "--socket", "s"];
    expect((await rkl(argv, { env: { ENABLE_TLS: "false" } })).exit).toBe(64);
    expect((await rkl([...argv, "--enable-tls"], { env: { ENABLE_TLS: "false" } })).exit).toBe(69);
    expect((await rkl(argv, { env: { ENABLE_TLS: "true" } })).exit).toBe(69);
  });

  test("with --json an error is a document on stdout besides the text on stderr", async () => {
    const { exit, stdout, stderr } = await rkl(["get", "pods", "--json"]);
    expect(exit).toBe(64);
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: "USAGE_INVALID",
        message: "no control plane is named",
        suggestion: "Give --rks-address and --join-token-file, or --socket on the host of rks.",
        retryable: false,
      },
    });
    expect(stderr).toContain("rkl: no control plane is named\n");
  });

  test("with --json the daemon's last line is an error event", async () => {
    const { exit, stdout } = await rkl(["pod", "daemon", "--rks-address", "127.0.0.1:1", "--json"]);
    expect(exit).toBe(64);
    expect(JSON.parse(stdout)).toMatchObject({
      event: "error",
      code: "USAGE_INVALID",
      message: "there is no join token",
    });
  });

  test("a token in argv works, with a hint and without being repeated", async () => {
    const { exit, stdout, stderr } = await rkl([
      "get",
      "pods",
      "--rks-address",
      "127.0.0.1:1",
      "--join-token",
      "rkj1.c2VjcmV0",
    ]);
    expect([exit, stdout]).toEqual([65, ""]);
    expect(stderr).toContain("hint: other users of this host can see a token in argv");
    expect(stderr).toContain("rkl: the join token has 13 characters instead of 107");
    expect(stderr).not.toContain("c2VjcmV0");
  });

  test.each([
    { name: "a file", argv: ["--join-token-file", "t"], env: {}, stdin: "" },
    { name: "stdin", argv: ["--join-token-file", "-"], env: {}, stdin: "rkj1.!" },
    { name: "JOIN_TOKEN", argv: [], env: { JOIN_TOKEN: "rkj1.!" }, stdin: "" },
    { name: "JOIN_TOKEN_FILE", argv: [], env: { JOIN_TOKEN_FILE: "t" }, stdin: "" },
  ])("the token may come from $name", async ({ argv, env, stdin }) => {
    await writeFile(join(folder, "t"), "rkj1.!\n");
    const transcript = await rkl(["get", "pods", "--rks-address", "127.0.0.1:1", ...argv], { env, stdin });
    expect(transcript.exit).toBe(65);
    expect(transcript.stderr).toContain("rkl: the join token has 6 characters instead of 107");
  });

  test("JOIN_TOKEN is taken out of the environment", async () => {
    const env = { JOIN_TOKEN: "rkj1.!", RKS_ADDRESS: "127.0.0.1:1" };
    let seen: Record<string, string | undefined> = {};
    const io: CliIo = {
      cwd: folder,
      env,
      stdin: (async function* () {})(),
      stdout: () => undefined,
      stderr: () => (seen = { ...env }),
      onTerminate: () => ({ [Symbol.dispose]: () => undefined }),
      writeStdout: () => Promise.resolve(),
      onCrash: () => ({ [Symbol.dispose]: () => undefined }),
      onStdoutClosed: () => ({ [Symbol.dispose]: () => undefined }),
      exit: () => undefined,
    };
    expect(await main(["pod", "daemon"], io)).toBe(65);
    expect(seen).toEqual({ RKS_ADDRESS: "127.0.0.1:1" });
  });

  test("a missing token file and a huge one are refused", async () => {
    const argv = ["get", "pods", "--rks-address", "127.0.0.1:1", "--join-token-file"];
    expect(await rkl([...argv, "none"])).toMatchObject({ exit: 65 });
    await writeFile(join(folder, "huge"), "x".repeat(5000));
    expect((await rkl([...argv, "huge"])).stderr).toContain('"huge" holds more than a join token can');
  });

  test("a socket where nothing listens is 69", async () => {
    const { exit, stdout, stderr } = await rkl(["get", "pods", "--socket", "none.sock"]);
    expect([exit, stdout]).toEqual([69, ""]);
    expect(stderr).toContain("asking rks by none.sock\n");
    expect(stderr).toContain(`rkl: no rks answers at "${folder}/none.sock"\nhint: Start it with \`rks start`);
  });

  test.each([["status"], ["pod", "list"], ["pod", "state", "web"]])(
    "%s %s %s asks this host's agent, which is not there",
    async (...argv) => {
      const { exit, stderr } = await rkl([...argv.filter((word) => word !== undefined), "--data-dir", "."]);
      expect(exit).toBe(69);
      expect(stderr).toContain(
        `rkl: no rkl answers at "${folder}/rkl.sock"\nhint: Start it with \`rkl pod daemon\``,
      );
    },
  );

  test("a socket path that no system allows is a bad configuration", async () => {
    expect((await rkl(["get", "pods", "--socket", "x".repeat(200)])).exit).toBe(78);
  });

  test("a manifest that is no pod is 65 before anybody is asked", async () => {
    const { exit, stderr } = await rkl(["apply", "-f", "-", "--socket", "none.sock"], {
      stdin: "kind: Service",
    });
    expect(exit).toBe(65);
    expect(stderr).toBe(
      'rkl: stdin: kind "Service" is not supported; only Pod is\nhint: Correct the manifest.\n',
    );
  });
});

describe("with somebody to ask", () => {
  test("apply creates what the manifest says and prints it", async () => {
    const seen: string[] = [];
    await using _ = await serve({
      ApplyPod({ manifest }) {
        seen.push(manifest.metadata.name);
        return { type: "Pod", pod: aPod({ name: manifest.metadata.name }) };
      },
    });
    const one =
      "{apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: [{name: m, command: [a], tty: true}]}}";
    await writeFile(join(folder, "p.yaml"), `${one}\n---\n${one.replace("one", "two")}`);
    expect(await rkl(["apply", "-f", "p.yaml", "--socket", "rkl.sock"])).toEqual({
      exit: 0,
      stdout: "pod/one applied\npod/two applied\n",
      stderr:
        "warning: document 1: spec.containers[0].tty has no effect yet\n" +
        "warning: document 2: spec.containers[0].tty has no effect yet\n" +
        "asking rks by rkl.sock\n",
    });
    const { stdout } = await rkl(["apply", "-f", "-", "--socket", "rkl.sock", "--json"], { stdin: one });
    expect(JSON.parse(stdout)).toMatchObject({ kind: "Pod", metadata: { name: "one" } });
    expect(seen).toEqual(["one", "two", "one"]);
  });

  test("the peer's error is the command's", async () => {
    await using _ = await serve({
      ApplyPod() {
        throw new RksError("ALREADY_EXISTS", 'another pod "one" exists', { suggestion: "Delete it first." });
      },
    });
    const stdin = "{apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: [{name: m}]}}";
    const transcript = await rkl(["apply", "-f", "-", "--socket", "rkl.sock", "--json"], { stdin });
    expect(transcript.exit).toBe(65);
    expect(JSON.parse(transcript.stdout)).toMatchObject({
      error: { code: "ALREADY_EXISTS", retryable: false },
    });
    expect(transcript.stderr).toContain('rkl: another pod "one" exists\nhint: Delete it first.\n');
  });

  test("get pods prints a table", async () => {
    await using _ = await serve({
      ListPods: () => ({ type: "PodList", pods: [aPod({ name: "web" }), aPod({ name: "database" })] }),
    });
    const { exit, stdout } = await rkl(["get", "pods", "--socket", "rkl.sock"]);
    expect(exit).toBe(0);
    expect(stdout).toBe(
      "NAME       READY   STATUS    NODE       RESTARTS   AGE\n" +
        "web        1/1     Running   worker-1   2          3h\n" +
        "database   1/1     Running   worker-1   2          3h\n",
    );
    const wide = await rkl(["get", "po", "-o", "wide", "--socket", "rkl.sock"]);
    expect(wide.stdout).toMatch(/AGE   NAMESPACE   IP   UID\n/);
  });

  test("get -o json is an array of Kubernetes-shaped objects, one object when named", async () => {
    await using _ = await serve({
      ListPods: () => ({ type: "PodList", pods: [aPod({ name: "web" })] }),
      GetPod: ({ name }) => ({ type: "Pod", pod: aPod({ name }) }),
      ListNodes: () => ({ type: "NodeList", nodes: [] }),
    });
    const argv = ["--socket", "rkl.sock", "-o", "json"];
    const pods = JSON.parse((await rkl(["get", "pods", ...argv])).stdout) as unknown;
    expect(pods).toMatchObject([
      { apiVersion: "v1", kind: "Pod", metadata: { name: "web" }, status: { phase: "Running" } },
    ]);
    expect(JSON.parse((await rkl(["get", "pod", "db", ...argv])).stdout)).toMatchObject({
      kind: "Pod",
      metadata: { name: "db" },
    });
    expect(JSON.parse((await rkl(["get", "nodes", ...argv])).stdout)).toEqual([]);
    const json = await rkl(["get", "nodes", "--socket", "rkl.sock", "--json"]);
    expect(json.stdout).toBe("[]\n");
  });

  test("get -o yaml prints what apply reads", async () => {
    await using _ = await serve({
      GetPod: ({ name }) => ({ type: "Pod", pod: aPod({ name }) }),
      ApplyPod: () => ({ type: "Pod", pod: aPod({ name: "web" }) }),
    });
    const { stdout } = await rkl(["get", "pod", "web", "-o", "yaml", "--socket", "rkl.sock"]);
    expect(stdout).toContain("kind: Pod\n");
    expect((await rkl(["apply", "-f", "-", "--socket", "rkl.sock"], { stdin: stdout })).exit).toBe(0);
  });

  test("get nodes prints a table, and what a name may hide cannot drive the terminal", async () => {
    await using _ = await serve({
      ListNodes: () => ({ type: "NodeList", nodes: [aNode("True"), aNode("False"), aNode("Unknown")] }),
    });
    const { stdout } = await rkl(["get", "nodes", "--socket", "rkl.sock"]);
    expect(stdout).toBe(
      "NAME       STATUS     ADDRESS    AGE   VERSION\n" +
        "worker-1   Ready      10.0.0.1   3h    0.1.0\uFFFD[2J\n" +
        "worker-1   NotReady   10.0.0.1   3h    0.1.0\uFFFD[2J\n" +
        "worker-1   Unknown    10.0.0.1   3h    0.1.0\uFFFD[2J\n",
    );
  });

  test("get prints a list to its end, however many messages that takes", async () => {
    const asked: unknown[] = [];
    await using _ = await serve({
      ListPods({ namespace, after }) {
        asked.push([namespace, after]);
        if (after === undefined) return { type: "PodList", pods: [aPod({ name: "a" })], next: "default/a" };
        return { type: "PodList", pods: [aPod({ name: "b" })] };
      },
      ListNodes: ({ after }) =>
        after === undefined
          ? { type: "NodeList", nodes: [aNode("True")], next: "worker-1" }
          : { type: "NodeList", nodes: [aNode("False")] },
    });
    const pods = await rkl(["get", "pods", "-n", "default", "--socket", "rkl.sock", "--json"]);
    expect(JSON.parse(pods.stdout)).toMatchObject([{ metadata: { name: "a" } }, { metadata: { name: "b" } }]);
    expect(asked).toEqual([
      ["default", undefined],
      ["default", "default/a"],
    ]);
    const nodes = await rkl(["get", "nodes", "--socket", "rkl.sock"]);
    expect(nodes.stdout).toMatch(/ Ready .*\n.* NotReady /);
  });

  test("a list without an end is refused instead of cut off", async () => {
    await using _ = await serve({
      ListNodes: () => ({ type: "NodeList", nodes: [aNode("True")], next: "worker-1" }),
    });
    const { exit, stdout, stderr } = await rkl(["get", "nodes", "--socket", "rkl.sock"]);
    expect([exit, stdout]).toEqual([65, ""]);
    expect(stderr).toContain("rkl: a list goes on and on after 2 objects\n");
  });

  test("no pods are no error", async () => {
    await using _ = await serve({ ListPods: () => ({ type: "PodList", pods: [] }) });
    expect(await rkl(["get", "pods", "--socket", "rkl.sock"])).toMatchObject({ exit: 0, stdout: "" });
  });

  test("delete asks whether the pod is there, deletes it and waits when told to", async () => {
    const calls: string[] = [];
    await using _ = await serve({
      GetPod({ name }) {
        calls.push("GetPod");
        if (calls.length > 3) throw new RksError("NOT_FOUND", "gone");
        return { type: "Pod", pod: aPod({ name }) };
      },
      DeletePod({ gracePeriodSeconds }) {
        calls.push(`DeletePod ${gracePeriodSeconds}`);
        return undefined;
      },
    });
    const transcript = await rkl([
      "delete",
      "pod",
      "web",
      "--wait",
      "--grace-period",
      "3",
      "--socket",
      "rkl.sock",
    ]);
    expect(transcript).toMatchObject({ exit: 0, stdout: "pod/web deleted\n" });
    expect(calls).toEqual(["GetPod", "DeletePod 3", "GetPod", "GetPod"]);
    expect((await rkl(["pod", "delete", "web", "--socket", "rkl.sock"])).exit).toBe(65);
  });

  test("logs prints the bytes as they are, or lines as JSON", async () => {
    await using _ = await serve({
      GetPodLogs: ({ tailLines }) => ({
        message: { type: "PodLogs", container: "main" },
        bytes: chunks(["one\nt", "wo\n", `tail ${tailLines}`]),
      }),
    });
    expect(await rkl(["logs", "web", "--socket", "rkl.sock", "--tail", "3"])).toMatchObject({
      exit: 0,
      stdout: "one\ntwo\ntail 3",
    });
    const { stdout } = await rkl(["logs", "web", "--json", "--socket", "rkl.sock"]);
    expect(JSON.parse(stdout)).toEqual({
      namespace: "default",
      pod: "web",
      container: "main",
      lines: ["one", "two", "tail undefined"],
    });
    const followed = await rkl(["logs", "web", "-f", "--json", "--socket", "rkl.sock"]);
    expect(followed.stdout.split("\n").slice(0, 2)).toEqual([
      '{"container":"main","line":"one"}',
      '{"container":"main","line":"two"}',
    ]);
  });

  test("an error in the middle of logs is the command's", async () => {
    await using _ = await serve({
      GetPodLogs: () => {
        throw new RksError("NOT_FOUND", 'there is no pod "web"');
      },
    });
    expect((await rkl(["logs", "web", "--socket", "rkl.sock"])).exit).toBe(65);
  });

  test("Ctrl-C ends logs -f cleanly", async () => {
    await using _ = await serve({
      GetPodLogs: (_message, { signal }) => ({
        message: { type: "PodLogs", container: "main" },
        bytes: endless("line\n", signal),
      }),
    });
    const transcript = await rkl(["logs", "web", "-f", "--socket", "rkl.sock"], {
      onStdout: (_stdout, interrupt) => interrupt(),
    });
    expect(transcript).toEqual({ exit: 0, stdout: "line\n", stderr: "asking rks by rkl.sock\n" });
  });

  test("status prints what the agent says of itself", async () => {
    await using _ = await serve({});
    const text = await rkl(["status", "--data-dir", "."]);
    expect(text.exit).toBe(0);
    expect(text.stdout).toContain("node            worker-1\nstate           ready\n");
    const json = await rkl(["status", "--data-dir", ".", "--json"]);
    expect(JSON.parse(json.stdout)).toEqual(STATUS);
  });

  test("pod list asks this host's agent unless a control plane is named", async () => {
    await using _ = await serve({ ListPods: () => ({ type: "PodList", pods: [aPod({ name: "here" })] }) });
    const { stdout, stderr } = await rkl(["pod", "list", "--data-dir", "."]);
    expect(stdout).toContain("here ");
    expect(stderr).toBe(`asking this host's agent by ${folder}/rkl.sock\n`);
    expect((await rkl(["pod", "list"], { env: { RKS_ADDRESS: "127.0.0.1:1" } })).stderr).toContain(
      "there is no join token",
    );
  });
});

describe("with something strange to ask", () => {
  test.each([
    {
      name: "an error of ours",
      answer: respond(403, '{"error":{"code":"PERMISSION_DENIED","message":"no","retryable":false}}'),
      exit: 77,
    },
    {
      name: "a code of a newer version",
      answer: respond(400, '{"error":{"code":"NEW","message":"no","retryable":false}}'),
      exit: 70,
    },
    { name: "no JSON", answer: respond(500, "<html>"), exit: 70 },
    { name: "an empty answer", answer: respond(200, ""), exit: 65 },
    { name: "no frames", answer: respond(200, "HTTP/1.1 200 OK"), exit: 65 },
    { name: "half a frame", answer: respond(200, "\0\0\0\x40\x01{"), exit: 65 },
    { name: "another message", answer: respond(200, '\0\0\0\x06\x01"Ack"'), exit: 65 },
    {
      name: "an end without an answer",
      answer: ((_, response) => response.destroy()) satisfies RequestListener,
      exit: 69,
    },
  ])("$name ends the command with $exit", async ({ answer, exit }) => {
    await using _ = await listen(createServer(answer));
    const transcript = await rkl(["get", "pods", "--socket", "rkl.sock", "--json"]);
    expect(transcript.exit).toBe(exit);
    expect(JSON.parse(transcript.stdout)).toHaveProperty("error.code");
  });

  test("a status of another shape is named as that", async () => {
    await using _ = await listen(createServer(respond(200, "{}")));
    expect((await rkl(["status", "--data-dir", "."])).stderr).toContain(
      "shape that this version does not know",
    );
  });
});

const STATUS: AgentStatus = {
  node: "worker-1",
  state: "ready",
  rksAddress: "127.0.0.1:50051",
  serial: "01",
  notAfter: "2026-01-01T00:00:00Z",
  generation: 3,
  renewAt: null,
  clockSkewSeconds: -1.5,
  lastError: null,
  runtime: "process://0.1.0",
  pods: 1,
  pid: 42,
  version: "0.1.0",
  startedAt: "2026-01-01T00:00:00Z",
  dataFolder: "/var/lib/rkl",
};

async function serve(handlers: Handlers): Promise<AsyncDisposable> {
  const init = { path: join(folder, "rkl.sock"), handlers, status: () => Promise.resolve(STATUS) };
  return serveLocally(init, { clock: systemClock, logger: silentLogger });
}

function respond(status: number, body: string): RequestListener {
  return (request, response) => {
    request.resume();
    response.writeHead(status).end(Buffer.from(body, "latin1"));
  };
}

async function listen(server: Server): Promise<AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(join(folder, "rkl.sock"), resolve));
  return {
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const THREE_HOURS_AGO = new Date(Date.now() - 3.5 * 3_600_000).toISOString();

function aPod({ name }: { readonly name: string }): Pod {
  return podSchema.parse({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, uid: "u-1", creationTimestamp: THREE_HOURS_AGO },
    spec: { nodeName: "worker-1", containers: [{ name: "main", command: ["sleep"] }] },
    status: {
      phase: "Running",
      containerStatuses: [
        { name: "main", ready: true, restartCount: 2, state: { running: { startedAt: THREE_HOURS_AGO } } },
      ],
    },
  });
}

function aNode(ready: "True" | "False" | "Unknown"): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "worker-1", uid: "n-1", creationTimestamp: THREE_HOURS_AGO },
    spec: {},
    status: {
      capacity: { cpu: "2" },
      allocatable: {},
      addresses: [{ type: "InternalIP", address: "10.0.0.1" }],
      conditions: [{ type: "Ready", status: ready }],
      nodeInfo: {
        operatingSystem: "linux",
        architecture: "amd64",
        kernelVersion: "6",
        osImage: "Debian",
        machineID: "",
        bootID: "",
        kubeletVersion: "0.1.0\u001b[2J",
        containerRuntimeVersion: "process://0.1.0",
      },
    },
  };
}

async function* chunks(texts: readonly string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

async function* endless(text: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from(text);
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

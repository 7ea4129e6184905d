import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

import { standStill } from "./stand-still.js";

/** Of its log that is kept for when something fails. */
const MAX_LOG = 20_000;
const POLL_MS = 25;
const REQUEST_MS = 2000;

export interface EtcdMemberInit {
  readonly name: string;
  readonly clientUrl: string;
  readonly flags: readonly string[];
  /** Words before the command, as of `nsenter`. */
  readonly prefix?: readonly string[] | undefined;
  /** For asking about its health over TLS. */
  readonly tls?: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer } | undefined;
}

/** One real etcd process. */
export class EtcdMember {
  readonly name: string;
  readonly clientUrl: string;
  readonly #init: EtcdMemberInit;
  /** A test that ends in an unforeseen way leaves no servers behind. */
  readonly #killAtExit = (): void => {
    this.#process?.kill("SIGKILL");
  };
  #process: ChildProcess | undefined;
  #log = "";

  constructor(init: EtcdMemberInit) {
    this.#init = init;
    this.name = init.name;
    this.clientUrl = init.clientUrl;
  }

  get isRunning(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(): void {
    if (this.isRunning) throw new TypeError(`${this.name} runs already`);
    const { prefix = [], flags } = this.#init;
    const [command = "etcd", ...args] = [...prefix, "etcd", ...flags];
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "" },
    });
    const keep = (text: Buffer): void => {
      this.#log = (this.#log + text.toString()).slice(-MAX_LOG);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => keep(Buffer.from(String(error))));
    this.#process = child;
    process.once("exit", this.#killAtExit);
    child.once("exit", () => process.off("exit", this.#killAtExit));
  }

  /** End it as a power cut would: it gets no chance to say goodbye. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    this.resume();
    await this.#end("SIGTERM");
  }

  /** Let it do nothing, with its connections open, from the moment that this resolves. */
  async pause(): Promise<void> {
    if (this.pid !== undefined) await standStill(this.pid);
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Resolves when it serves and knows a leader. */
  async healthy(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      if (!this.isRunning) throw new Error(`etcd ${this.name} has ended:\n${this.#log}`);
      const health = await this.#request("/health").catch(() => "");
      if (health.includes('"true"')) return;
      if (performance.now() > end) throw new Error(`etcd ${this.name} is not healthy:\n${this.#log}`);
      await sleep(POLL_MS);
    }
  }

  async isLeader(): Promise<boolean> {
    if (!this.isRunning) return false;
    return /^etcd_server_is_leader 1$/m.test(await this.#request("/metrics").catch(() => ""));
  }

  async #request(path: string): Promise<string> {
    const { tls, clientUrl } = this.#init;
    const options = { ...tls, agent: false, timeout: REQUEST_MS } as const;
    const request =
      tls === undefined ? getPlain(clientUrl + path, options) : getSecure(clientUrl + path, options);
    request.on("timeout", () => request.destroy(new Error("timed out")));
    const [response] = (await once(request, "response")) as [AsyncIterable<Buffer>];
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part);
    return Buffer.concat(parts).toString();
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#process;
    if (child === undefined || !this.isRunning) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}

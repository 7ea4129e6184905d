import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { BenchmarkPki } from "./certificates.js";
import type { ServerAnswer, ServerRequest, ServerUsage } from "./server-process.js";

/** A subject's server in a process of its own. */
export class Server implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(subject: string, pki: BenchmarkPki): Promise<Server> {
    const script = fileURLToPath(new URL("./server-process.js", import.meta.url));
    const child = fork(script, [subject], { execArgv: ["--expose-gc"], serialization: "advanced" });
    const { port } = (await ask(child, { serve: pki })) as { port: number };
    return new Server(child, port);
  }

  /** CPU time since its start, and resident memory now, after a garbage collection. */
  async usage(): Promise<ServerUsage> {
    return (await ask(this.#child, "usage")) as ServerUsage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
  }
}

async function ask(child: ChildProcess, request: ServerRequest): Promise<ServerAnswer> {
  const answered = once(child, "message");
  child.send(request);
  const [answer] = (await answered) as [ServerAnswer];
  return answer;
}

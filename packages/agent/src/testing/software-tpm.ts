import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";

/** A TPM 2.0 in software, with a state that survives it. */
export class SoftwareTpm implements AsyncDisposable {
  readonly tcti: string;
  readonly #process: ChildProcess;

  private constructor(port: number, process: ChildProcess) {
    this.tcti = `swtpm:host=127.0.0.1,port=${port}`;
    this.#process = process;
  }

  static async start(state: string): Promise<SoftwareTpm> {
    const port = await freePorts();
    const child = spawn("swtpm", [
      ...["socket", "--tpm2", "--tpmstate", `dir=${state}`, "--flags", "not-need-init,startup-clear"],
      ...["--server", `type=tcp,port=${port},bindaddr=127.0.0.1`],
      ...["--ctrl", `type=tcp,port=${port + 1},bindaddr=127.0.0.1`],
    ]);
    await once(child, "spawn");
    await answers(port + 1);
    return new SoftwareTpm(port, child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await once(this.#process, "close");
  }
}

/** The first of two free ports in a row: tpm2-tools expect the control port behind the other. */
async function freePorts(): Promise<number> {
  for (;;) {
    const [first, second] = [createServer(), createServer()];
    try {
      first.listen(0, "127.0.0.1");
      await once(first, "listening");
      const { port } = first.address() as AddressInfo;
      second.listen(port + 1, "127.0.0.1");
      await once(second, "listening");
      return port;
    } catch {
      // The next port is somebody's: another pair.
    } finally {
      first.close();
      second.close();
    }
  }
}

async function answers(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return;
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      socket.destroy();
    }
  }
}

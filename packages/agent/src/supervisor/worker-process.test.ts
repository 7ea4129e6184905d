import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { KeptInput } from "./kept-input.js";
import { openPipes } from "./open-pipes.js";
import type { PipeDescriptors } from "./pipe-pair.js";
import { READY, startWorker } from "./worker-process.js";

/** Puts what it reads from stdin into the file of its second word, says that it is in service when told so, and waits. */
const PROGRAM = `
import { readFileSync, renameSync, writeFileSync } from "node:fs";
const [, , , file, isReady] = process.argv;
writeFileSync(file + ".new", readFileSync(0));
renameSync(file + ".new", file);
if (isReady === "yes") process.send(${JSON.stringify(READY)});
setInterval(() => undefined, 1000);
`;

let folder: string;
let pipes: PipeDescriptors;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl-worker-"));
  pipes = openPipes([folder]);
});
afterEach(async () => {
  for (const descriptor of pipes) closeSync(descriptor);
  await rm(folder, { recursive: true, force: true });
});

test.runIf(process.platform === "linux")(
  "a worker that was killed when it had read stdin leaves it to the next one; one in service leaves it to nobody",
  async () => {
    const program = join(folder, "program.mjs");
    writeFileSync(program, PROGRAM);
    const token = join(folder, "token");
    writeFileSync(token, "a token\n");
    const descriptor = openSync(token, "r");
    const input = KeptInput.read(["-"], {}, descriptor);
    closeSync(descriptor);
    const file = join(folder, "seen");
    /** What a worker has read before it was killed. */
    const live = async (isReady: "yes" | "no"): Promise<string> => {
      rmSync(file, { force: true });
      const worker = startWorker({ argv: [file, isReady], pipes, upgrade: "no", input, program });
      await expect
        .poll(() => existsSync(file) && worker.wasReady === (isReady === "yes"), { timeout: 10_000 })
        .toBe(true);
      worker.kill("SIGKILL");
      expect(await worker.ended).toEqual({ code: null, signal: "SIGKILL" });
      return readFileSync(file, "utf8");
    };
    expect(await live("no")).toBe("a token\n");
    expect(await live("no")).toBe("a token\n");
    expect(await live("yes")).toBe("a token\n");
    expect(await live("no")).toBe("");
  },
);

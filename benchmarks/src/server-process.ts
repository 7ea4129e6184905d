/** The server's side of a transport benchmark, in a process of its own: `fork(server-process, [subject])`. */
import type { BenchmarkPki } from "./certificates.js";
import { SUBJECTS } from "./subjects.js";

export type ServerRequest = { readonly serve: BenchmarkPki } | "usage";
export type ServerAnswer = { readonly port: number } | ServerUsage;
export interface ServerUsage {
  readonly cpuMs: number;
  readonly rssBytes: number;
}

process.on("message", (request: ServerRequest) => {
  void (async () => {
    if (request === "usage") {
      globalThis.gc?.();
      const { user, system } = process.cpuUsage();
      process.send!({
        cpuMs: (user + system) / 1000,
        rssBytes: process.memoryUsage.rss(),
      } satisfies ServerAnswer);
      return;
    }
    const subject = await SUBJECTS[process.argv[2]!]!();
    process.send!(await subject.serve(request.serve));
  })();
});
process.on("disconnect", () => process.exit());

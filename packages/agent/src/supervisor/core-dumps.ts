import { writeFileSync } from "node:fs";

/** Linux, core(5): no kind of this process's memory is dumped, nor of what it starts. Limits stay as they are. */
export function keepMemoryOutOfCoreDumps(): void {
  try {
    writeFileSync("/proc/self/coredump_filter", "0");
  } catch {
    // A kernel without core dumps has no such file.
  }
}

import { readFileSync } from "node:fs";

const PAGE_KIB = 4;

/** Resident memory of a process, in MiB. Linux only. */
export function residentMib(pid: number): number {
  return (Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_KIB) / 1024;
}

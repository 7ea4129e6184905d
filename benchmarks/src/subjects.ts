import type { Subject } from "./subject.js";

/** How to load each subject, ours first. Lazily: none pays for the others' code. */
export const SUBJECTS: Readonly<Record<string, () => Promise<Subject>>> = {
  "rk8s quic": async () => (await import("./subject-rk8s.js")).rk8sQuic,
  "@matrixai/quic classes": async () => (await import("./subject-classes.js")).matrixaiClasses,
  "node:tls": async () => (await import("./subject-tls.js")).nodeTls,
  "node:http2": async () => (await import("./subject-http2.js")).nodeHttp2,
};

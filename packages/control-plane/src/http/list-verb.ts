import { Server as HttpsServer } from "node:https";
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/** Verbs of Vault that Node's parser refuses (nodejs/node#59303), and the ones of equal length that stand in for them. */
const STANDS_FOR: Readonly<Record<string, string>> = { LIST: "LINK", SCAN: "LOCK" };
const VERB_BYTES = 5;
const REWRITES = Object.entries(STANDS_FOR).map(([verb, stand]) => ({
  verb: Buffer.from(`${verb} `),
  stand: Buffer.from(`${stand} `),
}));

/** What stands for `LIST` and `SCAN` in the methods of requests. */
export const LIST_METHOD = "LINK";
export const SCAN_METHOD = "LOCK";

/** What a client sent for a method that Node reports. */
export function verbOf(method: string): string {
  if (method === LIST_METHOD) return "LIST";
  return method === SCAN_METHOD ? "SCAN" : method;
}

/** Of node:http's connections; it has no types. The request that came last, undefined before the first. */
interface Parsed {
  readonly parser?: { readonly incoming?: IncomingMessage | null } | null;
}

/**
 * Let a server receive `LIST` and `SCAN`: at the beginning of a message, and nowhere else, they are overwritten in
 * place with `LINK` and `LOCK`. Call it before the server listens, after everything else that listens to connections.
 * Not handled: a `LIST` that follows another request in one chunk (pipelining), which Node answers with 400.
 */
export function acceptListVerb(server: Server): void {
  server.on(server instanceof HttpsServer ? "secureConnection" : "connection", rewriteVerbs);
}

type At = "message" | "header" | "body";

function rewriteVerbs(socket: Socket & Parsed): void {
  const parse = socket.listeners("data").at(-1) as ((chunk: Buffer) => void) | undefined;
  if (parse === undefined) return;
  socket.removeListener("data", parse);
  let at: At = "message";
  let held: Buffer | undefined;
  socket.on("data", (arrived: Buffer) => {
    let chunk = arrived;
    if (held !== undefined) {
      chunk = Buffer.concat([held, arrived]);
      held = undefined;
    }
    if (at === "message") {
      if (isPartOfVerb(chunk)) {
        held = Buffer.from(chunk);
        return;
      }
      rewrite(chunk);
    }
    const before = socket.parser?.incoming ?? undefined;
    parse.call(socket, chunk);
    at = whereAfter(at, before, socket.parser?.incoming ?? undefined);
  });
}

/** A chunk without a header's end leaves the parser in the header; a message that is complete leaves it before the next. */
function whereAfter(at: At, before: IncomingMessage | undefined, now: IncomingMessage | undefined): At {
  if (now !== undefined && now !== before) return now.complete ? "message" : "body";
  if (at === "body") return now === undefined || now.complete ? "message" : "body";
  return "header";
}

function isPartOfVerb(chunk: Buffer): boolean {
  if (chunk.length >= VERB_BYTES) return false;
  return REWRITES.some(({ verb }) => verb.subarray(0, chunk.length).equals(chunk));
}

function rewrite(chunk: Buffer): void {
  const first = chunk[0];
  // L and S: no other verb begins with either, but for the stand-ins themselves, SEARCH, SUBSCRIBE and SOURCE.
  if (first !== 0x4c && first !== 0x53) return;
  for (const { verb, stand } of REWRITES) {
    if (chunk.length >= VERB_BYTES && verb.equals(chunk.subarray(0, VERB_BYTES))) stand.copy(chunk);
  }
}

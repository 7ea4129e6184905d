import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { get, type RequestOptions } from "node:https";
import { type Finding, type Found, Walk } from "@rk8s/host/diagnosis";
import {
  ALPN,
  type Clock,
  LIMITS,
  PROTOCOL_VERSIONS,
  request,
  RksError,
  SERVER_NAME,
  type Transport,
} from "@rk8s/protocol";
import { SOCKET_BUFFER_BYTES } from "@rk8s/quic";
import { assertServerLeaf, decodePemCertificates } from "@rk8s/x509";
import { isWildcard, parseHostPort } from "../config/address.js";
import type { HostPort } from "../config/config.js";

/** How the running rks is, as its socket says. */
interface RunningRks {
  readonly pid: number;
  readonly version: string;
  readonly sealed: boolean;
  readonly unattendedStart: "ready" | "unusable" | "none";
  /** `host:port`, null while closed. */
  readonly quic: string | null;
  /** A URL, null while closed. */
  readonly http: string | null;
}

export interface ServiceWalkInit {
  /** Ask the socket. */
  readonly status: () => Promise<RunningRks>;
  readonly nodes: () => Promise<readonly { readonly name: string; readonly status: string }[]>;
  /** What is to be said of the cluster's root, of its intermediate and of the certificates of its store's members. */
  readonly caWarnings: () => Promise<readonly string[]>;
  readonly rootCertificateFile: string;
  /** Whether HTTPS has a certificate of its own instead of the cluster's; its issuer is then not looked at. */
  readonly hasOwnHttps: boolean;
}

export interface ServiceWalkPorts {
  readonly transport: Transport;
  readonly clock: Clock;
}

const HTTPS_TIMEOUT_MS = 5_000;
/** Ten thousand nodes, each with one file descriptor to spare; QUIC needs only one for all. */
const FEW_OPEN_FILES = 4_096;
const NAMES_SHOWN = 5;

/** Look at the rks that runs, from outside: its socket, its seal, QUIC, HTTPS, its nodes and what the system lets it have. */
export async function* walkService(
  init: ServiceWalkInit,
  ports: ServiceWalkPorts,
): AsyncGenerator<Finding, void, void> {
  const walk = new Walk();
  const running = await walk.check("process", async () => {
    const value = await init.status();
    return { detail: `version ${value.version}, pid ${value.pid}`, value };
  });
  await walk.check("limits", () => lookAtLimits(running!.pid));
  await walk.check("seal", () => lookAtSeal(running!));
  yield* walk.take();
  await walk.check("quic", () => greet(running!.quic, init.rootCertificateFile, ports));
  yield* walk.take();
  await walk.check("https", () => lookAtHttps(running!.http, init));
  await walk.check("authority", () => lookAtAuthority(init));
  await walk.check("nodes", () => lookAtNodes(init));
  yield* walk.take();
}

async function lookAtLimits(pid: number): Promise<Found<void>> {
  const limits = await readFile(`/proc/${pid}/limits`, "utf8").catch(() => "");
  const openFiles = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.NaN);
  if (openFiles < FEW_OPEN_FILES) {
    const detail = `rks may open only ${openFiles} files`;
    return { status: "warn", detail, remedy: "Raise LimitNOFILE of its unit to 65536." };
  }
  const largest = Number(await readFile("/proc/sys/net/core/rmem_max", "utf8").catch(() => "NaN"));
  if (largest < SOCKET_BUFFER_BYTES) {
    return {
      status: "warn",
      detail: `UDP receive buffers are at most ${largest} bytes here: bursts of a large fleet may be lost and repeated`,
      remedy: `Run \`sysctl -w net.core.rmem_max=${SOCKET_BUFFER_BYTES}\`, and start rks again.`,
    };
  }
  return { detail: "open files and UDP buffers are enough", value: undefined };
}

function lookAtSeal({ sealed, unattendedStart }: RunningRks): Found<void> {
  if (sealed) {
    throw new RksError("VAULT_SEALED", "the vault is sealed: agents are not served", {
      suggestion: "Open it with `rks unseal`.",
    });
  }
  if (unattendedStart === "unusable") {
    return {
      status: "warn",
      detail: "the vault is open, and the unseal keys kept for an unattended start do not open it",
      remedy: "Put the new unseal keys where the old ones are.",
    };
  }
  const next =
    unattendedStart === "ready" ? "the next start needs nobody" : "the next start waits for `rks unseal`";
  return { detail: `the vault is open; ${next}`, value: undefined };
}

/** Greet as an agent would: everything between this host's own loopback and the handlers works. */
async function greet(
  quic: string | null,
  rootFile: string,
  { transport, clock }: ServiceWalkPorts,
): Promise<Found<void>> {
  if (quic === null) throw new RksError("UNAVAILABLE", "rks serves no agents");
  const { host, port } = reachable(parseHostPort(quic));
  await using connection = await transport.dial({
    host,
    port,
    alpn: ALPN,
    serverName: SERVER_NAME,
    roots: decodePemCertificates(await readFile(rootFile)),
  });
  const [leaf] = connection.peerCertificates;
  if (leaf === undefined) throw new RksError("SERVER_UNTRUSTED", "rks presented no certificate");
  const { notAfter } = assertServerLeaf(leaf, { dnsName: SERVER_NAME, now: clock.now() });
  await request(
    connection,
    {
      type: "Hello",
      versions: [...PROTOCOL_VERSIONS],
      features: [],
      nonce: new Uint8Array(randomBytes(LIMITS.nonceBytes)),
    },
    "Welcome",
    { clock },
  );
  return {
    detail: `${quic} answers; its certificate is valid until ${new Date(notAfter).toISOString()}`,
    value: undefined,
  };
}

async function lookAtHttps(http: string | null, init: ServiceWalkInit): Promise<Found<void>> {
  if (http === null) return { status: "skip", detail: "no http_addr is configured" };
  const url = new URL("/readyz", http);
  const reached = reachable({ host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) });
  const options: RequestOptions = init.hasOwnHttps
    ? { rejectUnauthorized: false }
    : { ca: await readFile(init.rootCertificateFile), servername: SERVER_NAME };
  const status = await statusOf({ ...options, ...reached, path: url.pathname });
  if (status === 200) return { detail: `${http} is ready`, value: undefined };
  throw new RksError("UNAVAILABLE", `${url.href} answers with status ${status}`);
}

function statusOf(options: RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = get({ ...options, agent: false, timeout: HTTPS_TIMEOUT_MS }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${HTTPS_TIMEOUT_MS / 1000} s`)));
    asked.on("error", (cause) => {
      reject(
        new RksError("UNREACHABLE", `HTTPS at port ${options.port} does not answer: ${cause.message}`, {
          cause,
          suggestion: "Compare http_addr and http_tls of the config with what listens there.",
        }),
      );
    });
  });
}

async function lookAtAuthority({ caWarnings }: ServiceWalkInit): Promise<Found<void>> {
  const warnings = await caWarnings();
  if (warnings.length === 0) {
    return { detail: "nothing that people renew is near its end", value: undefined };
  }
  return {
    status: "warn",
    detail: warnings.join("; "),
    remedy: "Do what it says; docs/offline-root.md and docs/operations.md tell more.",
  };
}

async function lookAtNodes({ nodes: list }: ServiceWalkInit): Promise<Found<void>> {
  const nodes = await list();
  const away = nodes.filter(({ status }) => status !== "Ready");
  const detail = `${nodes.length - away.length} of ${nodes.length} nodes are Ready`;
  if (away.length === 0) return { detail, value: undefined };
  const names = away.slice(0, NAMES_SHOWN).map(({ name, status }) => `${name} (${status})`);
  return {
    status: "warn",
    detail: `${detail}; not ready: ${names.join(", ")}${away.length > NAMES_SHOWN ? " …" : ""}`,
    remedy: "Run `rkl doctor` on those hosts.",
  };
}

/** An address that stands for all is reached by loopback. */
function reachable({ host, port }: HostPort): HostPort {
  if (!isWildcard(host)) return { host, port };
  return { host: host.includes(":") ? "::1" : "127.0.0.1", port };
}

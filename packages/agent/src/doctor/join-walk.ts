import { randomBytes } from "node:crypto";
import { lookup } from "node:dns/promises";
import { type Finding, Walk } from "@rk8s/host/diagnosis";
import {
  ALPN,
  LIMITS,
  PROTOCOL_VERSIONS,
  request,
  RksError,
  SERVER_NAME,
  type JoinToken,
  type Message,
  type SocketAddress,
} from "@rk8s/protocol";
import { assertServerLeaf, parseCertificate, type Certificate } from "@rk8s/x509";
import { formatAddress, parseRksAddress } from "../bootstrap/address.js";
import { joinApplication } from "../bootstrap/join-application.js";
import { openConnection, type OpenedConnection } from "../bootstrap/open-connection.js";
import { createCertificateRequest } from "../identity/csr.js";
import { KeyPair } from "../identity/key-pair.js";
import {
  assertPinnedRoot,
  findPinnedRoot,
  loadRootCertificates,
  type TrustOptions,
} from "../identity/trust.js";
import type { AgentPorts } from "../ports.js";
import { ownNodeName } from "../bootstrap/enrolment.js";

export interface JoinWalkInit extends TrustOptions {
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  /** Undefined: what needs it is skipped. */
  readonly joinToken: JoinToken | undefined;
  readonly nodeName: string | undefined;
  readonly role: "node" | "operator";
}

/** Certificates are backdated by a minute; what is worse than half of that deserves a look. */
const WORRYING_SKEW_MS = 30_000;
/** Fields that nobody reads, to fill a datagram as large as any that is sent later. */
const FILLING_FEATURES = Array.from({ length: 32 }, (_, i) => `doctor-${i}`.padEnd(64, "-"));
const MTU_TIMEOUT_MS = 5_000;

/**
 * Walk a join up to the point where it would use the token: resolve, UDP path, server chain, pin, name, clock, greeting,
 * large datagrams, token with name and request. Every finding comes as soon as it is there; nothing is used up.
 */
export async function* walkJoin(
  init: JoinWalkInit,
  ports: AgentPorts,
  options: { readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<Finding, void, void> {
  const walk = new Walk();
  const { signal } = options;
  const address = await walk.check("address", () => {
    const value = parseRksAddress(init.rksAddress);
    return { detail: formatAddress(value), value };
  });
  await walk.check("resolve", () => resolve(address!));
  yield* walk.take();

  const chain = await walk.check("udp path", () => probe(address!, ports, signal));
  yield* walk.take();
  const leaf = await walk.check("clock", () => leafInItsTime(chain!, ports));
  await walk.check("name", () => {
    assertServerLeaf(chain![0]!, { dnsName: SERVER_NAME });
    return { detail: `the certificate is for "${SERVER_NAME}"`, value: leaf };
  });
  const roots = await walk.check("root", () => rootsOf(chain!, init, ports));
  yield* walk.take();

  const opened = await walk.check("greeting", () =>
    greet({ address: address!, roots: roots! }, ports, signal),
  );
  yield* walk.take();
  await using _ = opened?.connection;
  await walk.check("clock skew", () => skewOf(opened!, ports));
  await walk.check("mtu", () => largeDatagrams(opened!, ports, signal));
  yield* walk.take();
  if (init.joinToken === undefined) walk.skip("join token", "none was given");
  else
    await walk.check("join token", () =>
      mayJoin({ ...init, address: address!, roots: roots! }, ports, signal),
    );
  yield* walk.take();
}

async function resolve({ host }: SocketAddress) {
  try {
    const addresses = await lookup(host, { all: true });
    return { detail: addresses.map(({ address }) => address).join(", "), value: undefined };
  } catch (cause) {
    throw new RksError("UNREACHABLE", `"${host}" has no address: ${(cause as Error).message}`, {
      suggestion: "Check the name in --rks-address and this host's DNS, or give the IP address.",
    });
  }
}

async function probe(address: SocketAddress, ports: AgentPorts, signal: AbortSignal | undefined) {
  const started = ports.clock.monotonicMs();
  try {
    const value = await ports.transport.probe({ ...address, alpn: ALPN, serverName: SERVER_NAME, signal });
    const ms = Math.round(ports.clock.monotonicMs() - started);
    return { detail: `a QUIC server answers; two round trips took ${ms} ms`, value };
  } catch (reason) {
    const { code, message } = RksError.from(reason);
    throw new RksError(code, message, {
      suggestion: `Check that \`rks start\` runs there and that UDP port ${address.port} is open on the way (a firewall that lets TCP through is not enough).`,
    });
  }
}

/** The server's certificate, whose dates are the first thing that a wrong clock breaks. */
function leafInItsTime([der]: readonly Uint8Array[], { clock }: AgentPorts) {
  if (der === undefined) throw new RksError("SERVER_UNTRUSTED", "the server presented no certificate");
  const leaf = parseCertificate(der);
  const now = clock.now();
  if (now < leaf.notBefore) throw outOfTime(leaf, `only from ${iso(leaf.notBefore)} on`, now);
  if (now > leaf.notAfter) throw outOfTime(leaf, `until ${iso(leaf.notAfter)}`, now);
  return { detail: `it is ${iso(now)} here, within the dates of the server's certificate`, value: leaf };
}

function outOfTime({ serialNumber }: Certificate, valid: string, now: number): RksError {
  return new RksError(
    "CLOCK_SKEW",
    `the server's certificate "${serialNumber}" is valid ${valid}, here it is ${iso(now)}`,
    {
      suggestion:
        "Set this host's clock right (timedatectl set-ntp true); if it is right, look at that of rks.",
    },
  );
}

async function rootsOf(chain: readonly Uint8Array[], init: JoinWalkInit, { clock }: AgentPorts) {
  const roots = await loadRootCertificates(init);
  const pin = init.joinToken?.rootSpkiSha256;
  if (roots === undefined && pin === undefined) {
    throw new RksError("USAGE_INVALID", "neither a join token nor a root certificate says whom to trust", {
      suggestion: "Give --join-token-file or --root-cert-path.",
    });
  }
  if (roots !== undefined && pin !== undefined) assertPinnedRoot(roots, pin);
  if (roots !== undefined) return { detail: "the root certificate file fits the join token", value: roots };
  const root = findPinnedRoot(chain, { pin: pin!, nowMs: clock.now() });
  return {
    detail: `the server's root is the one that the join token pins, valid until ${iso(parseCertificate(root).notAfter)}`,
    value: [root],
  };
}

async function greet(
  init: { readonly address: SocketAddress; readonly roots: readonly Uint8Array[] },
  ports: AgentPorts,
  signal: AbortSignal | undefined,
) {
  const value = await openConnection(init, { ports, signal });
  return { detail: `the chain holds; rks speaks version ${value.welcome.version}`, value };
}

function skewOf({ welcome }: OpenedConnection, { clock }: AgentPorts) {
  const skewMs = clock.now() - Date.parse(welcome.serverTime);
  const detail = `this clock is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${skewMs < 0 ? "behind" : "ahead of"} that of rks`;
  if (Math.abs(skewMs) <= WORRYING_SKEW_MS) return { detail, value: undefined };
  return { status: "warn" as const, detail, remedy: "Set both clocks by NTP (timedatectl set-ntp true)." };
}

/** A greeting that fills whole datagrams: a path with a smaller MTU swallows them, and small ones pass. */
async function largeDatagrams(
  { connection }: OpenedConnection,
  { clock }: AgentPorts,
  signal: AbortSignal | undefined,
) {
  const nonce = new Uint8Array(randomBytes(LIMITS.nonceBytes));
  const versions = [...PROTOCOL_VERSIONS];
  const hello: Message<"Hello"> = { type: "Hello", versions, features: FILLING_FEATURES, nonce };
  try {
    await request(connection, hello, "Welcome", { clock, timeoutMs: MTU_TIMEOUT_MS, signal });
  } catch (reason) {
    const { code } = RksError.from(reason);
    throw new RksError(code, "small datagrams pass, large ones get lost", {
      suggestion: "Raise the MTU of the path to 1,400 bytes or more, or let ICMP through.",
    });
  }
  return { detail: "datagrams of 1,350 bytes pass", value: undefined };
}

/** Ask rks whether it would grant the join; a connection and nonces of its own, as in a join. */
async function mayJoin(
  init: JoinWalkInit & { readonly address: SocketAddress; readonly roots: readonly Uint8Array[] },
  ports: AgentPorts,
  signal: AbortSignal | undefined,
) {
  const { joinToken: token, nodeName, role } = init;
  using keyPair = KeyPair.create();
  const commonName = role === "node" ? (nodeName ?? ownNodeName()) : undefined;
  const csr = createCertificateRequest(keyPair, { commonName });
  const opened = await openConnection(init, { ports, signal });
  await using connection = opened.connection;
  const application = joinApplication(opened, { token: token!, role, csr, nodeName });
  try {
    await request(connection, { type: "CheckJoin", ...application }, "Ack", { clock: ports.clock, signal });
  } catch (reason) {
    const error = RksError.from(reason);
    if (error.code !== "MESSAGE_UNKNOWN") throw error;
    return { status: "skip" as const, detail: "this rks is too old to be asked without using the token" };
  }
  return { detail: `rks would let this ${role} in; the token was not used`, value: undefined };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

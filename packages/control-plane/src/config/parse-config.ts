import { dirname, resolve } from "node:path";
import { formatDuration, nearestWord, RksError, Secret } from "@rk8s/protocol";
import { LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { formatHostPort, isWildcard, parseHostPort } from "./address.js";
import { configFile, type ConfigFile, KNOWN_KEYS, SECTIONS_WITHOUT_EFFECT } from "./config-schema.js";
import type { ControlPlaneConfig, HostPort, HttpTlsConfig, SealConfig, StoreConfig } from "./config.js";
import { DEFAULT_STORE_PREFIX } from "./store-endpoint.js";

/** A config and what its author should know about it. */
export interface ParsedConfig {
  readonly config: ControlPlaneConfig;
  readonly warnings: readonly string[];
}

/** A problem and where in the file it is: `certificates.node_ttl`, or "" for the whole. */
interface Problem {
  readonly path: string;
  readonly text: string;
}

/**
 * Read the text of a config file: YAML to a complete config. Relative paths are relative to the folder of `file`.
 * @throws {RksError} CONFIG_INVALID with every problem at once, each with its path and, for an unknown key, the
 * nearest known one.
 */
export function parseConfig(text: string, file: string): ParsedConfig {
  const raw = parseYaml(text, file) ?? {};
  const read = configFile.safeParse(raw);
  const problems = read.success
    ? contradictions(read.data)
    : [...read.error.issues.flatMap(describe), ...contradictions(readableParts(raw))];
  if (!read.success || problems.length > 0) throw refused(file, problems);
  return { config: complete(read.data, dirname(resolve(file))), warnings: warningsOf(read.data) };
}

function parseYaml(text: string, file: string): unknown {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw refused(
      file,
      document.errors.map((error) => ({
        path: `line ${lines.linePos(error.pos[0]).line}`,
        text: lowerFirst(error.message),
      })),
    );
  }
  try {
    return document.toJS({ maxAliasCount: 16 });
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `${file}: more aliases than a config needs`, { cause });
  }
}

function complete(raw: ConfigFile, folder: string): ControlPlaneConfig {
  const { tls_config: tls, certificates, heartbeat } = raw;
  return {
    quicAddress: raw.addr ?? parseHostPort("127.0.0.1:50051"),
    httpAddress: completeHttpAddress(raw.http_addr),
    httpTls: completeHttpTls(raw.http_tls, folder),
    advertise: raw.advertise ?? [],
    trustDomain: raw.trust_domain ?? "rk8s.local",
    vaultFolder: resolve(folder, tls?.vault_folder ?? "rks-data"),
    keepDangerousFiles: tls?.keep_dangerous_files ?? false,
    seal: completeSeal(raw.seal, folder),
    certificates: {
      nodeTtlSeconds: certificates?.node_ttl ?? 3600,
      serverTtlSeconds: certificates?.server_ttl ?? 86_400,
      rootTtlSeconds: certificates?.root_ttl ?? 8760 * 3600,
      rootRotation: certificates?.root_rotation ?? "manual",
      rootKey: certificates?.root_key ?? "vault",
    },
    heartbeat: { intervalSeconds: heartbeat?.interval ?? 10, graceSeconds: heartbeat?.grace ?? 40 },
    store: completeStore(raw, folder),
  };
}

function completeStore({ xline_config: xline, sql_config: sql }: ConfigFile, folder: string): StoreConfig {
  const endpoints = xline?.endpoints ?? [];
  if (endpoints.length > 0) return { type: "etcd", endpoints, prefix: xline?.prefix ?? DEFAULT_STORE_PREFIX };
  if (sql?.url !== undefined) return { type: "sql", url: new Secret(sql.url) };
  if (sql?.url_file !== undefined) return { type: "sql", url: { file: resolve(folder, sql.url_file) } };
  return { type: "local" };
}

/** null is an address that was left empty: nothing is served there. */
function completeHttpAddress(address: ConfigFile["http_addr"]): HostPort | undefined {
  return address === undefined ? parseHostPort("127.0.0.1:8200") : (address ?? undefined);
}

function completeHttpTls(tls: ConfigFile["http_tls"], folder: string): HttpTlsConfig | undefined {
  if (tls === undefined) return undefined;
  return { certFile: resolve(folder, tls.cert_file), keyFile: resolve(folder, tls.key_file) };
}

function completeSeal(seal: ConfigFile["seal"], folder: string): SealConfig {
  return seal?.type === "keyfile"
    ? { type: "keyfile", keyFile: resolve(folder, seal.key_file!) }
    : { type: "shamir", shares: seal?.shares ?? 1, threshold: seal?.threshold ?? 1 };
}

/** The top-level keys that can be read, of a file where others cannot: their contradictions are told as well. */
function readableParts(raw: unknown): ConfigFile {
  const parts = {};
  for (const [key, value] of Object.entries(typeof raw === "object" && raw !== null ? raw : {})) {
    const read = configFile.safeParse({ [key]: value });
    if (read.success) Object.assign(parts, read.data);
  }
  return parts as ConfigFile;
}

/** What is wrong between keys that are each right by themselves. */
function contradictions(raw: ConfigFile): Problem[] {
  const problems: Problem[] = [];
  const refuse = (path: string, text: string): number => problems.push({ path, text });
  const { type = "shamir", shares = 1, threshold = 1, key_file: keyFile } = raw.seal ?? {};
  if (type === "keyfile") {
    if (keyFile === undefined) refuse("seal.key_file", 'expected a path, because seal.type is "keyfile"');
    if (raw.seal?.shares !== undefined) refuse("seal.shares", 'has no meaning with seal.type "keyfile"');
    if (raw.seal?.threshold !== undefined)
      refuse("seal.threshold", 'has no meaning with seal.type "keyfile"');
  } else {
    if (keyFile !== undefined) refuse("seal.key_file", 'has no meaning with seal.type "shamir"');
    if (threshold > shares)
      refuse("seal.threshold", `${threshold} shares are needed but only ${shares} exist`);
    else if (threshold === 1 && shares > 1) {
      refuse(
        "seal.threshold",
        `with ${shares} shares at least 2 must be needed, otherwise each one is the whole key`,
      );
    }
  }
  const { url, url_file: urlFile } = raw.sql_config ?? {};
  if (url !== undefined && urlFile !== undefined) refuse("sql_config", "give url or url_file, not both");
  if ((url ?? urlFile) !== undefined && (raw.xline_config?.endpoints ?? []).length > 0) {
    refuse("sql_config", "xline_config.endpoints names a store as well; leave one of them empty");
  }
  const { interval = 10, grace = 40 } = raw.heartbeat ?? {};
  if (grace <= interval) {
    refuse(
      "heartbeat.grace",
      `${formatDuration(grace)} must be longer than heartbeat.interval, ${formatDuration(interval)}`,
    );
  }
  return problems;
}

function warningsOf(raw: ConfigFile): string[] {
  const warnings: string[] = SECTIONS_WITHOUT_EFFECT.flatMap((name) =>
    Object.keys(raw[name] ?? {}).map((key) => `${name}.${key} has no effect yet`),
  );
  for (const key of ["username", "password", "subnet_lease_renew_margin"] as const) {
    if (raw.xline_config?.[key] !== undefined) warnings.push(`xline_config.${key} has no effect yet`);
  }
  for (const [name, address] of [
    ["addr", raw.addr],
    ["http_addr", raw.http_addr],
  ] as const) {
    if (address === undefined || address === null || (raw.advertise ?? []).length > 0) continue;
    if (!isWildcard(address.host) || (name === "http_addr" && raw.http_tls !== undefined)) continue;
    warnings.push(
      `${name} ${formatHostPort(address)} stands for every address of this host: name those that clients use in advertise`,
    );
  }
  const inClear = (raw.xline_config?.endpoints ?? []).filter((endpoint) => endpoint.startsWith("http:"));
  for (const endpoint of inClear) {
    warnings.push(`xline_config.endpoints: ${endpoint} is asked in clear, for trying things out only`);
  }
  if (raw.sql_config?.url !== undefined) {
    warnings.push("sql_config.url: whoever reads this file can read the store; better url_file");
  }
  if (raw.http_addr === null && raw.http_tls !== undefined) {
    warnings.push("http_tls has no effect: http_addr is empty");
  }
  return warnings;
}

function describe(issue: z.core.$ZodIssue): Problem[] {
  const path = issue.path.map(String).join(".");
  if (issue.code !== "unrecognized_keys") return [{ path, text: lowerFirst(issue.message) }];
  return issue.keys.map((key) => ({
    path: path === "" ? key : `${path}.${key}`,
    text: unknownKey(path, key),
  }));
}

/** Looks for the key in its own section first, then in all others: it may only be in the wrong place. */
function unknownKey(section: string, key: string): string {
  const here = nearestWord(key, KNOWN_KEYS[section] ?? []);
  if (here !== undefined) return `unknown key; did you mean "${here}"?`;
  for (const [other, keys] of Object.entries(KNOWN_KEYS)) {
    const there = nearestWord(key, keys);
    if (there !== undefined)
      return `unknown key; did you mean "${other === "" ? there : `${other}.${there}`}"?`;
  }
  return `unknown key; known here: ${(KNOWN_KEYS[section] ?? []).join(", ")}`;
}

function refused(file: string, problems: readonly Problem[]): RksError {
  const lines = problems.map(({ path, text }) => (path === "" ? text : `${path}: ${text}`));
  const message =
    lines.length === 1
      ? `${file}: ${lines[0]!}`
      : `${file} has ${lines.length} problems:\n  ${lines.join("\n  ")}`;
  return new RksError("CONFIG_INVALID", message, {
    suggestion: "Correct the file; `rks config init FILE` writes one that works, with every key explained.",
  });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

import { formatDuration, LIMITS, parseDuration, RksError } from "@rk8s/protocol";
import { z } from "zod";
import { MAX_NODE_TTL_SECONDS, MAX_SERVER_TTL_SECONDS } from "../pki/cluster-lifetimes.js";
import { isHost, parseHostPort } from "./address.js";
import { MAX_STORE_ENDPOINTS, parseStoreEndpoint, parseStorePrefix } from "./store-endpoint.js";

/** No lifetime in a certificate may pass the year 9999 (RFC 5280 §4.1.2.5); a century is plenty. */
const MAX_ROOT_TTL_SECONDS = 100 * 365 * 86_400;

/** `expected …, got …` for whatever is not of the right kind. */
function expected(what: string): { error: (issue: { input?: unknown }) => string } {
  return { error: (issue) => `expected ${what}, got ${show(issue.input)}` };
}

function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a section";
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
}

/** A text that `parse` turns into a value; its refusal becomes the problem's text. */
function parsed<T>(what: string, parse: (text: string) => T): z.ZodType<T> {
  return z.string(expected(what)).transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: RksError.from(error).message, input: text });
      return z.NEVER;
    }
  });
}

function duration(minimum: string, maxSeconds: number): z.ZodType<number> {
  return parsed("a duration like 1h30m", (text) => {
    const seconds = parseDuration(text);
    if (seconds < parseDuration(minimum) || seconds > maxSeconds) {
      const maximum = formatDuration(maxSeconds);
      throw new RksError("INPUT_INVALID", `duration "${text}" is not between ${minimum} and ${maximum}`);
    }
    return seconds;
  });
}

const flag = z.boolean(expected("true or false"));
const path = z.string(expected("a path")).min(1, "expected a path, got an empty text");
const anything = z.unknown().optional();

/** A section of the file; one that is there but empty (all its lines commented out) counts as absent. */
function section<S extends z.ZodRawShape>(shape: S): z.ZodType<z.output<z.ZodObject<S>> | undefined> {
  return z.preprocess((value) => value ?? undefined, z.strictObject(shape, expected("a section")).optional());
}

const shares = z.number(expected("a number")).int().min(1).max(255);

const SECTIONS = {
  tls_config: {
    enable: flag.refine((enabled) => enabled, "mutual TLS cannot be switched off; remove the key").optional(),
    vault_folder: path.optional(),
    keep_dangerous_files: flag.optional(),
  },
  http_tls: { cert_file: path, key_file: path },
  seal: {
    type: z.enum(["shamir", "keyfile"], expected('"shamir" or "keyfile"')).optional(),
    shares: shares.optional(),
    threshold: shares.optional(),
    key_file: path.optional(),
  },
  certificates: {
    node_ttl: duration("5s", MAX_NODE_TTL_SECONDS).optional(),
    server_ttl: duration("5s", MAX_SERVER_TTL_SECONDS).optional(),
    root_ttl: duration("30s", MAX_ROOT_TTL_SECONDS).optional(),
    root_rotation: z.enum(["manual", "auto"], expected('"manual" or "auto"')).optional(),
    root_key: z.enum(["vault", "offline"], expected('"vault" or "offline"')).optional(),
  },
  heartbeat: {
    interval: duration("1s", LIMITS.maxHeartbeatIntervalSeconds).optional(),
    grace: duration("1s", LIMITS.maxHeartbeatGraceSeconds).optional(),
  },
  xline_config: {
    endpoints: z
      .array(parsed("a URL", parseStoreEndpoint), expected("a list of URLs"))
      .max(MAX_STORE_ENDPOINTS)
      .nullish(),
    prefix: parsed("a key prefix", parseStorePrefix).optional(),
    username: anything,
    password: anything,
    subnet_lease_renew_margin: anything,
  },
  sql_config: {
    url: z.string(expected("a URL")).min(1, "expected a URL, got an empty text").optional(),
    url_file: path.optional(),
  },
  network_config: {
    Network: anything,
    SubnetMin: anything,
    SubnetMax: anything,
    SubnetLen: anything,
    ServiceCIDR: anything,
    ServiceSubnetLen: anything,
    EnableIPv4: anything,
    EnableIPv6: anything,
    EnableNFTables: anything,
    IPv6Network: anything,
    IPv6SubnetMin: anything,
    IPv6SubnetMax: anything,
    IPv6SubnetLen: anything,
    Backend: anything,
    BackendType: anything,
  },
  dns_config: { Port: anything },
} as const;

const SCALARS = {
  addr: parsed("host:port", parseHostPort).optional(),
  /** Undefined: the default; null: nowhere. */
  http_addr: parsed("host:port", (text) => (text === "" ? null : parseHostPort(text))).optional(),
  advertise: z
    .array(
      z.string(expected("a host name or address")).refine(isHost, {
        error: (issue) => `${show(issue.input)} is neither a host name nor an IP address`,
      }),
      expected("a list of host names and addresses"),
    )
    .max(64)
    .nullish(),
  trust_domain: z
    .string(expected("a name"))
    .regex(/^[a-z0-9._-]{1,255}$/, "expected lower-case letters, digits, dots, hyphens and underscores")
    .optional(),
} as const;

/** The config file as it is written: snake_case, durations as text, everything optional, nothing unknown. */
export const configFile = z.strictObject(
  {
    ...SCALARS,
    tls_config: section(SECTIONS.tls_config),
    http_tls: section(SECTIONS.http_tls),
    seal: section(SECTIONS.seal),
    certificates: section(SECTIONS.certificates),
    heartbeat: section(SECTIONS.heartbeat),
    xline_config: section(SECTIONS.xline_config),
    sql_config: section(SECTIONS.sql_config),
    network_config: section(SECTIONS.network_config),
    dns_config: section(SECTIONS.dns_config),
  },
  expected("a section"),
);

export type ConfigFile = z.output<typeof configFile>;

/** The keys that may stand in each section; "" is the top of the file. */
export const KNOWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  "": [...Object.keys(SCALARS), ...Object.keys(SECTIONS)],
  ...Object.fromEntries(Object.entries(SECTIONS).map(([name, shape]) => [name, Object.keys(shape)])),
};

/** Sections of rk8s' file that are read for their spelling only: nothing acts on them yet. */
export const SECTIONS_WITHOUT_EFFECT = ["network_config", "dns_config"] as const;

import { encodeMessage, RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { parseConfig, type ParsedConfig } from "./parse-config.js";
import { SAMPLE_CONFIG } from "./sample-config.js";

const parse = (text: string): ParsedConfig => parseConfig(text, "/etc/rks/config.yaml");

/** The message of the refusal, which is always CONFIG_INVALID. */
function refusalOf(text: string): string {
  try {
    parse(text);
  } catch (reason) {
    if (reason instanceof RksError && reason.code === "CONFIG_INVALID") return reason.message;
    throw reason;
  }
  throw new Error("the config was accepted");
}

const DEFAULTS = {
  quicAddress: { host: "127.0.0.1", port: 50_051 },
  httpAddress: { host: "127.0.0.1", port: 8200 },
  httpTls: undefined,
  advertise: [],
  trustDomain: "rk8s.local",
  vaultFolder: "/etc/rks/rks-data",
  keepDangerousFiles: false,
  seal: { type: "shamir", shares: 1, threshold: 1 },
  certificates: {
    nodeTtlSeconds: 3600,
    serverTtlSeconds: 86_400,
    rootTtlSeconds: 31_536_000,
    rootKey: "vault",
    rootRotation: "manual",
  },
  heartbeat: { intervalSeconds: 10, graceSeconds: 40 },
  store: { type: "local" },
};

test("the sample config says exactly the defaults and warns of nothing", () => {
  expect(parse(SAMPLE_CONFIG)).toEqual({ config: DEFAULTS, warnings: [] });
});

test.each([
  { name: "an empty file", text: "" },
  { name: "a file of comments", text: "# nothing\n" },
  { name: "sections whose lines are all commented out", text: "tls_config:\nseal:\nadvertise:\n" },
])("$name gives the defaults", ({ text }) => {
  expect(parse(text).config).toEqual(DEFAULTS);
});

test("what rk8s writes in its config file is accepted, with a warning for each key without effect", () => {
  const { config, warnings } = parse(`
addr: "10.0.0.5:50051"
xline_config: { endpoints: [], prefix: "/coreos.com/network", subnet_lease_renew_margin: 60 }
network_config: { Network: 10.1.0.0/16, SubnetLen: 24 }
tls_config: { enable: true, vault_folder: /var/lib/rks, keep_dangerous_files: true }
dns_config: { Port: 5300 }
`);
  expect(config).toMatchObject({
    quicAddress: { host: "10.0.0.5", port: 50_051 },
    vaultFolder: "/var/lib/rks",
    keepDangerousFiles: true,
  });
  expect(warnings).toEqual([
    "network_config.Network has no effect yet",
    "network_config.SubnetLen has no effect yet",
    "dns_config.Port has no effect yet",
    "xline_config.subnet_lease_renew_margin has no effect yet",
  ]);
});

test("endpoints name a store that speaks etcd, and say so when it is asked in clear", () => {
  const { config, warnings } = parse("xline_config: { endpoints: [https://a:1, b, http://127.0.0.1:2379] }");
  expect(config.store).toEqual({
    type: "etcd",
    endpoints: ["https://a:1", "https://b:2379", "http://127.0.0.1:2379"],
    prefix: "/rk8s",
  });
  expect(warnings).toEqual([
    "xline_config.endpoints: http://127.0.0.1:2379 is asked in clear, for trying things out only",
  ]);
});

test("a database's URL comes from a file, or from the config with a warning, and is not shown", () => {
  expect(parse("sql_config: { url_file: db.url }").config.store).toEqual({
    type: "sql",
    url: { file: "/etc/rks/db.url" },
  });
  const { config, warnings } = parse("sql_config: { url: 'postgresql://rks:hunter2@db/rks' }");
  expect(JSON.stringify(config)).not.toContain("hunter2");
  expect(warnings).toEqual(["sql_config.url: whoever reads this file can read the store; better url_file"]);
});

test("the slowest heartbeat is one that nodes accept", () => {
  const { heartbeat } = parse("heartbeat: { interval: 1h, grace: 24h }").config;
  const terms = {
    heartbeatIntervalSeconds: heartbeat.intervalSeconds,
    heartbeatGraceSeconds: heartbeat.graceSeconds,
    serverTime: "2026-01-01T00:00:00Z",
  };
  expect(encodeMessage({ type: "Registered", ...terms })).toBeInstanceOf(Uint8Array);
});

test("a key file is found relative to the config file", () => {
  expect(parse("seal: { type: keyfile, key_file: ../keys/unseal.key }").config.seal).toEqual({
    type: "keyfile",
    keyFile: "/etc/keys/unseal.key",
  });
});

test("the Vault API is served nowhere when its address is empty, and with files of one's own", () => {
  expect(parse('http_addr: ""').config.httpAddress).toBeUndefined();
  const { config } = parse("http_tls: { cert_file: https.pem, key_file: /run/https.key }");
  expect(config.httpTls).toEqual({ certFile: "/etc/rks/https.pem", keyFile: "/run/https.key" });
  expect(parse('http_addr: ""\nhttp_tls: { cert_file: a, key_file: b }').warnings).toEqual([
    "http_tls has no effect: http_addr is empty",
  ]);
});

test("a wildcard address for HTTPS is warned about unless its certificate is one's own", () => {
  expect(parse('http_addr: "0.0.0.0:8200"').warnings).toEqual([expect.stringContaining("http_addr 0.0.0.0")]);
  const own = "http_tls: { cert_file: a, key_file: b }";
  expect(parse(`http_addr: "0.0.0.0:8200"\n${own}`).warnings).toEqual([]);
});

test("a wildcard address without advertise is warned about", () => {
  expect(parse('addr: "0.0.0.0:50051"').warnings).toHaveLength(1);
  expect(parse('addr: "[::]:50051"\nadvertise: [rks.example]').warnings).toEqual([]);
});

test.each([
  { text: "adr: x", problem: 'adr: unknown key; did you mean "addr"?' },
  {
    text: "tls_config: { vault_foldr: x }",
    problem: 'tls_config.vault_foldr: unknown key; did you mean "vault_folder"?',
  },
  { text: "tlsConfig: {}", problem: 'tlsConfig: unknown key; did you mean "tls_config"?' },
  { text: "node_ttl: 1h", problem: 'node_ttl: unknown key; did you mean "certificates.node_ttl"?' },
  {
    text: "certificates: { leaf: 1h }",
    problem: "certificates.leaf: unknown key; known here: node_ttl, server_ttl, root_ttl, root_rotation",
  },
  { text: "addr: 50051", problem: "addr: expected host:port, got 50051" },
  { text: "addr: localhost", problem: 'addr: address "localhost" is not like' },
  { text: 'addr: "::1:50051"', problem: 'addr: address "::1:50051" is not like' },
  { text: 'addr: "127.0.0.1:65536"', problem: 'addr: address "127.0.0.1:65536" is not like' },
  { text: 'addr: "10.0.0.256:1"', problem: 'addr: address "10.0.0.256:1" is not like' },
  { text: 'advertise: ["a b"]', problem: 'advertise.0: "a b" is neither a host name nor an IP address' },
  { text: "tls_config: { vault_folder: 3 }", problem: "tls_config.vault_folder: expected a path, got 3" },
  { text: "tls_config: 3", problem: "tls_config: expected a section, got 3" },
  { text: "tls_config: { enable: false }", problem: "tls_config.enable: mutual TLS cannot be switched off" },
  {
    text: "xline_config: { endpoints: [http://a:2379] }",
    problem: 'xline_config.endpoints.0: "http://a:2379" would be asked in clear',
  },
  {
    text: 'xline_config: { endpoints: ["https://a:2379/x"] }',
    problem: 'xline_config.endpoints.0: "https://a:2379/x" is not like https://store-1:2379',
  },
  {
    text: 'xline_config: { prefix: "/rk8s/" }',
    problem: `xline_config.prefix: the store's prefix "/rk8s/" is not 1 to 64 bytes without a slash at the end`,
  },
  { text: 'xline_config: { prefix: "" }', problem: `xline_config.prefix: the store's prefix "" is not 1 to` },
  {
    text: `xline_config: { prefix: /${"é".repeat(32)} }`,
    problem: "xline_config.prefix: the store's prefix \"/éé",
  },
  {
    text: 'xline_config: { prefix: "/\\uD800" }',
    problem: "xline_config.prefix: storage key",
  },
  { text: "sql_config: { url: a, url_file: b }", problem: "sql_config: give url or url_file, not both" },
  {
    text: "sql_config: { url_file: b }\nxline_config: { endpoints: [a] }",
    problem: "sql_config: xline_config.endpoints names a store as well",
  },
  {
    text: "certificates: { node_ttl: 4s }",
    problem: 'certificates.node_ttl: duration "4s" is not between 5s and',
  },
  {
    text: "certificates: { node_ttl: 30d1s }",
    problem: 'certificates.node_ttl: duration "30d1s" is not between 5s and 30d',
  },
  {
    text: "certificates: { server_ttl: 91d }",
    problem: 'certificates.server_ttl: duration "91d" is not between 5s and 90d',
  },
  { text: "certificates: { server_ttl: 0s }", problem: 'certificates.server_ttl: duration "0s"' },
  {
    text: "certificates: { root_ttl: 29s }",
    problem: 'certificates.root_ttl: duration "29s" is not between 30s',
  },
  {
    text: "certificates: { node_ttl: 3600 }",
    problem: "certificates.node_ttl: expected a duration like 1h30m, got 3600",
  },
  { text: "certificates: { node_ttl: soon }", problem: 'certificates.node_ttl: duration "soon"' },
  {
    text: "heartbeat: { interval: 60s }",
    problem: "heartbeat.grace: 40s must be longer than heartbeat.interval, 1m",
  },
  {
    text: "heartbeat: { interval: 1h1s, grace: 2h }",
    problem: 'heartbeat.interval: duration "1h1s" is not between 1s and 1h',
  },
  {
    text: "heartbeat: { interval: 1h, grace: 25h }",
    problem: 'heartbeat.grace: duration "25h" is not between 1s and 1d',
  },
  { text: "http_addr: here", problem: 'http_addr: address "here" is not like' },
  { text: "http_tls: { cert_file: a }", problem: "http_tls.key_file: expected a path, got nothing" },
  { text: "http_tls: { cert_file: a, key_file: b, ca: c }", problem: "http_tls.ca: unknown key" },
  { text: "seal: { type: hsm }", problem: 'seal.type: expected "shamir" or "keyfile", got "hsm"' },
  { text: "seal: { type: keyfile }", problem: "seal.key_file: expected a path" },
  { text: "seal: { key_file: x }", problem: 'seal.key_file: has no meaning with seal.type "shamir"' },
  {
    text: "seal: { shares: 3, threshold: 4 }",
    problem: "seal.threshold: 4 shares are needed but only 3 exist",
  },
  { text: "seal: { shares: 3 }", problem: "seal.threshold: with 3 shares at least 2 must be needed" },
  { text: "seal: { shares: 256 }", problem: "seal.shares: " },
  { text: "trust_domain: Rk8s.Local", problem: "trust_domain: expected lower-case letters" },
  { text: "addr: a:1\naddr: b:1", problem: "line 2: map keys must be unique" },
  { text: "a: [1", problem: "line 1: " },
  { text: "- 1", problem: "expected a section, got a list" },
  { text: "hello", problem: 'expected a section, got "hello"' },
])("refuses $text", ({ text, problem }) => {
  expect(refusalOf(text)).toContain(`/etc/rks/config.yaml: ${problem}`);
});

test("all problems are told at once, each with its path", () => {
  const refusal = refusalOf("adr: x\naddr: 1\ntls_config: { enable: 7 }\nheartbeat: { interval: x }");
  expect(refusal.split("\n")).toEqual([
    "/etc/rks/config.yaml has 4 problems:",
    "  addr: expected host:port, got 1",
    "  tls_config.enable: expected true or false, got 7",
    expect.stringContaining('  heartbeat.interval: duration "x"'),
    '  adr: unknown key; did you mean "addr"?',
  ]);
});

test("contradictions are told together with what cannot be read", () => {
  const refusal = refusalOf("adr: x\ntls_config: { enable: false, vault_foldr: x }\nseal: { type: keyfile }");
  for (const path of ["adr: ", "tls_config.enable: ", "tls_config.vault_foldr: ", "seal.key_file: "]) {
    expect(refusal).toContain(`\n  ${path}`);
  }
});

test("a bomb of aliases is refused", () => {
  const levels = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
  expect(refusalOf(`a0: &a0 [x]\n${levels.join("\n")}`)).toContain("more aliases than a config needs");
});

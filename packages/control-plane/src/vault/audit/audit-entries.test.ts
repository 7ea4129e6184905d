import fc from "fast-check";
import { expect, test } from "vitest";

import { aLiveToken, aMount, anAuditedRequest } from "../testing/audited-request.js";
import { AuditEntries } from "./audit-entries.js";
import type { AuditedRequest, AuditedResponse } from "./request-audit.js";

const clock = { now: (): number => Date.parse("2026-01-02T03:04:05.678Z") };
const TOKEN = "hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

function entriesWith(
  init: { salt?: Uint8Array; isRaw?: boolean; hashAccessors?: boolean } = {},
): AuditEntries {
  return new AuditEntries({ salt: Buffer.alloc(32, 1), isRaw: false, hashAccessors: true, clock, ...init });
}

const entries = entriesWith();
const hash = (value: string): string => entries.hash(value);

function requestLine(request: AuditedRequest, from = entries): unknown {
  return JSON.parse(from.request(request));
}

function responseLine(
  response: Partial<AuditedResponse>,
  request = anAuditedRequest(),
  from = entries,
): unknown {
  return JSON.parse(from.response(request, { answer: undefined, error: undefined, ...response }));
}

const caller = {
  client_token: hash(TOKEN),
  accessor: hash("accessor-of-it"),
  display_name: "token-ci",
  policies: ["default", "issuer"],
  token_policies: ["default", "issuer"],
  metadata: { team: "a" },
  entity_id: "",
  token_type: "service",
  token_ttl: 3600,
  token_issue_time: "2027-01-15T08:00:00.000Z",
  num_uses: 0,
};
const mount = {
  mount_point: "pki/",
  mount_type: "pki",
  mount_accessor: "pki_4f21a9c0",
  mount_class: "secret",
};
const asked = {
  id: "5f0e6a50-0000-4000-8000-000000000001",
  operation: "update",
  ...mount,
  client_token: hash(TOKEN),
  client_token_accessor: hash("accessor-of-it"),
  namespace: { id: "root" },
  path: "pki/issue/web",
  data: { common_name: "www.example.com", ttl: "1h" },
  remote_address: "192.0.2.7",
};

test("a request is one line in the form of Vault's", () => {
  const line = entries.request(anAuditedRequest());
  expect(line.indexOf("\n")).toBe(line.length - 1);
  expect(JSON.parse(line)).toEqual({
    time: "2026-01-02T03:04:05.678Z",
    type: "request",
    auth: caller,
    request: asked,
  });
});

test("its response repeats it, with certificates in clear and the private key hashed", () => {
  const data = {
    certificate: "-----BEGIN CERTIFICATE-----",
    private_key: "-----BEGIN",
    expiration: 5,
    serial_number: "0a",
  };
  expect(responseLine({ answer: { data, warnings: ['the name "x" is short'] } })).toEqual({
    time: "2026-01-02T03:04:05.678Z",
    type: "response",
    auth: caller,
    request: asked,
    response: {
      ...mount,
      data: { ...data, private_key: hash("-----BEGIN") },
      warnings: ['the name "x" is short'],
    },
  });
});

test("a wrapping, a new token, a lease and a document are recorded without what they are worth", () => {
  const wrapped = {
    token: "hvs.wrap",
    accessor: "acc",
    ttl: 60,
    creation_time: "t",
    creation_path: "p",
    wrapped_accessor: "inner",
  };
  const auth = {
    client_token: "hvs.new",
    accessor: "new-acc",
    policies: ["a"],
    token_policies: ["a"],
    metadata: null,
    lease_duration: 60,
    renewable: true,
    entity_id: "e",
    token_type: "service",
    orphan: true,
    mfa_requirement: null,
    num_uses: 1,
  } as const;
  const answer = {
    auth,
    wrapInfo: wrapped,
    leased: { id: "pki/issue/web/1", ttlSeconds: 60, renewable: false },
    raw: { contentType: "application/pkix-crl", body: Buffer.from("crl") },
  };
  expect(responseLine({ answer }, anAuditedRequest({ wrapTtlSeconds: 60 }))).toMatchObject({
    request: { wrap_ttl: 60 },
    response: {
      auth: {
        client_token: hash("hvs.new"),
        accessor: hash("new-acc"),
        policies: ["a"],
        token_ttl: 60,
        num_uses: 1,
      },
      wrap_info: { token: hash("hvs.wrap"), accessor: hash("acc"), ttl: 60, wrapped_accessor: hash("inner") },
      secret: { lease_id: "pki/issue/web/1" },
      raw: { content_type: "application/pkix-crl", length: 3, body: hash("crl") },
    },
  });
});

test("a request without an accepted token has the hash of what was given, and an error", () => {
  const request = anAuditedRequest({
    token: undefined,
    mount: undefined,
    clientToken: "guess",
    path: "secret/x",
  });
  expect(responseLine({ error: 'permission denied for update on "secret/x"' }, request)).toMatchObject({
    auth: {},
    request: {
      client_token: hash("guess"),
      path: "secret/x",
      data: { common_name: hash("www.example.com") },
    },
    error: `permission denied for update on ${hash('"secret/x"')}`,
  });
  const line = requestLine({ ...request, clientToken: "", connection: {} });
  expect(line).not.toHaveProperty("request.client_token");
  expect(line).not.toHaveProperty("request.remote_address");
});

test("an error of a pki mount says which name was refused", () => {
  const error = 'common name "node-01" not allowed by this role';
  expect(responseLine({ error })).toMatchObject({ error });
});

test.each([
  { name: "nothing", keys: [], shown: { common_name: hash("www.example.com"), ttl: hash("1h") } },
  { name: "one field", keys: ["ttl"], shown: { common_name: hash("www.example.com"), ttl: "1h" } },
])("a mount tuned to $name in clear is obeyed", ({ keys, shown }) => {
  const tuned = aMount({
    path: "pki/",
    type: "pki",
    auditNonHmacRequestKeys: keys,
    auditNonHmacResponseKeys: ["a"],
  });
  expect(requestLine(anAuditedRequest({ mount: tuned }))).toMatchObject({ request: { data: shown } });
  const answer = { data: { a: "1", certificate: "2" } };
  expect(responseLine({ answer }, anAuditedRequest({ mount: tuned }))).toMatchObject({
    response: { data: { a: "1", certificate: hash("2") } },
  });
});

test("accessors are in clear where that was asked for, tokens never", () => {
  const shown = requestLine(anAuditedRequest(), entriesWith({ hashAccessors: false }));
  expect(shown).toMatchObject({
    auth: { accessor: "accessor-of-it", client_token: hash(TOKEN) },
    request: { client_token_accessor: "accessor-of-it", client_token: hash(TOKEN) },
  });
});

test("a raw device shows values and still no token", () => {
  const from = entriesWith({ isRaw: true });
  const request = anAuditedRequest({ mount: aMount({ path: "kv/", type: "kv" }), data: { value: "s3cret" } });
  expect(requestLine(request, from)).toMatchObject({
    auth: { client_token: hash(TOKEN), accessor: hash("accessor-of-it") },
    request: { data: { value: "s3cret" } },
  });
});

test("tokens that are used again keep their own names", () => {
  const other = { ...aLiveToken(), hash: "01" };
  const own = entriesWith();
  const shown = [aLiveToken(), other, aLiveToken(), other].map((token) =>
    requestLine(anAuditedRequest({ token, clientToken: `token ${token.hash}` }), own),
  );
  expect(shown.map((line) => (line as { auth: { client_token: string } }).auth.client_token)).toEqual(
    ["token 00", "token 01", "token 00", "token 01"].map(hash),
  );
});

test("the same value has one hash on a device and another on the next", () => {
  const other = entriesWith({ salt: Buffer.alloc(32, 2) });
  expect(entries.hash("a")).toBe(entriesWith().hash("a"));
  expect(other.hash("a")).not.toBe(entries.hash("a"));
});

test("no token and no value of a mount that is not pki is in any line, wherever a caller puts it", () => {
  const secret = fc.stringMatching(/^S![A-Za-z0-9 ]{8,30}$/);
  const data = fc.dictionary(
    fc.stringMatching(/^[a-z]{1,6}$/),
    fc.oneof(secret, fc.array(secret), fc.object({ values: [secret], key: fc.constant("k") })),
  );
  const token = fc.stringMatching(/^hvs\.[A-Za-z0-9_-]{43}$/);
  fc.assert(
    fc.property(data, data, token, token, secret, (sent, answered, clientToken, wrapping, quoted) => {
      const from = entriesWith();
      const request = anAuditedRequest({
        mount: aMount({ path: "kv/", type: "kv" }),
        clientToken,
        path: `kv/data/${clientToken}/${wrapping}`,
        data: { ...sent, token: wrapping },
      });
      const info = { token: wrapping, accessor: "x", ttl: 1, creation_time: "", creation_path: "" };
      const lines = [
        from.request(request),
        from.response(request, {
          answer: { data: answered, wrapInfo: info, warnings: [`"${quoted}" is odd`] },
          error: undefined,
        }),
        from.response(request, {
          answer: undefined,
          error: `expected a list, got ${JSON.stringify({ a: quoted })}`,
        }),
        from.response(request, { answer: undefined, error: `no token ${clientToken}` }),
      ];
      for (const line of lines) {
        expect(line).not.toContain("S!");
        expect(line).not.toContain(clientToken);
        expect(line).not.toContain(wrapping);
        expect(() => JSON.parse(line) as unknown).not.toThrow();
      }
    }),
  );
});

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";

import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";

import { aCertificate, type TestCertificate } from "../testing/certificates.js";
import { kubernetesConfig, type KubernetesConfig } from "./kubernetes-config.js";
import { TokenReviewer } from "./token-review.js";

const ACCOUNT = { name: "api", namespace: "prod", uid: "uid-1", secretName: "" };
const JWT = "aaa.bbb.ccc";
const USER = { username: "system:serviceaccount:prod:api", uid: "uid-1" };
const ca = aCertificate({ commonName: "k8s CA" });

interface Asked {
  readonly headers: IncomingMessage["headers"];
  readonly url: string;
  readonly body: unknown;
}

interface ApiServer extends AsyncDisposable {
  readonly config: KubernetesConfig;
  readonly asked: Asked[];
}

/** A Kubernetes API server that knows one path. */
async function anApiServer(
  answer: (response: ServerResponse) => void,
  certificate: TestCertificate = aCertificate({
    issuer: ca,
    ipAddresses: ["127.0.0.1"],
    extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"],
  }),
): Promise<ApiServer> {
  const asked: Asked[] = [];
  const server = createServer({ cert: certificate.pem, key: certificate.keyPem }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as unknown;
      asked.push({ headers: request.headers, url: request.url ?? "", body });
      answer(response);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    config: kubernetesConfig.parse({
      host: `https://127.0.0.1:${port}`,
      caCertificate: ca.pem,
      reviewerJwt: "",
      pemKeys: [],
      issuer: "",
      ignoreIssuer: true,
      disableLocalCaJwt: false,
    }),
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const json = (status: number, body: unknown) => (response: ServerResponse) => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
};

function review(server: ApiServer, more: Partial<KubernetesConfig> = {}, audience = ""): Promise<void> {
  const config = { ...server.config, ...more };
  return new TokenReviewer(new FakeClock()).review(JWT, { config, account: ACCOUNT, audience });
}

test("the API server is asked with the token itself, or with the reviewer's", async () => {
  await using server = await anApiServer(json(201, { status: { authenticated: true, user: USER } }));
  await review(server);
  await review(server, { reviewerJwt: "reviewer" }, "vault");
  expect(server.asked.map(({ url, body }) => ({ url, body }))).toEqual([
    {
      url: "/apis/authentication.k8s.io/v1/tokenreviews",
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token: JWT } },
    },
    {
      url: "/apis/authentication.k8s.io/v1/tokenreviews",
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token: JWT, audiences: ["vault"] },
      },
    },
  ]);
  expect(server.asked.map(({ headers }) => headers.authorization)).toEqual([
    `Bearer ${JWT}`,
    "Bearer reviewer",
  ]);
});

test.each([
  {
    name: "not authenticated",
    body: { status: { authenticated: false, error: "x" } },
    code: "PERMISSION_DENIED",
  },
  { name: "no user", body: { status: { authenticated: true } }, code: "PERMISSION_DENIED" },
  {
    name: "another user",
    body: { status: { authenticated: true, user: { ...USER, username: "admin" } } },
    code: "PERMISSION_DENIED",
  },
  {
    name: "another uid",
    body: { status: { authenticated: true, user: { ...USER, uid: "uid-2" } } },
    code: "PERMISSION_DENIED",
  },
  {
    name: "another audience",
    body: { status: { authenticated: true, user: USER, audiences: ["x"] } },
    code: "PERMISSION_DENIED",
  },
  { name: "no status", body: {}, code: "UNREACHABLE" },
  { name: "a list", body: [], code: "UNREACHABLE" },
  { name: "too much", body: { x: "x".repeat(300_000) }, code: "UNREACHABLE" },
])("an answer with $name is a refusal", async ({ body, code }) => {
  await using server = await anApiServer(json(200, body));
  await expect(review(server, {}, "vault")).rejects.toMatchObject({ code });
});

test.each([
  { name: "a redirect", status: 302, code: "UNREACHABLE" },
  { name: "a failure", status: 500, code: "UNREACHABLE" },
  { name: "a reviewer without rights", status: 403, code: "PERMISSION_DENIED" },
])("$name is a refusal, and nothing is followed", async ({ status, code }) => {
  await using server = await anApiServer((response) => {
    response.writeHead(status, { location: "https://127.0.0.1:1/" }).end("{}");
  });
  await expect(review(server)).rejects.toMatchObject({ code });
  expect(server.asked).toHaveLength(1);
});

test("an API server with a certificate by others, or for another name, is asked nothing", async () => {
  const answer = json(201, { status: { authenticated: true, user: USER } });
  await using server = await anApiServer(answer);
  const other = aCertificate({ commonName: "other" });
  await expect(review(server, { caCertificate: other.pem })).rejects.toMatchObject({
    code: "SERVER_UNTRUSTED",
  });
  await expect(review(server, { caCertificate: "" })).rejects.toMatchObject({ code: "SERVER_UNTRUSTED" });
  const named = { issuer: ca, dnsNames: ["k8s.example"], extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] };
  await using elsewhere = await anApiServer(answer, aCertificate(named));
  await expect(review(elsewhere)).rejects.toMatchObject({ code: "SERVER_UNTRUSTED" });
  await using client = await anApiServer(answer, aCertificate({ issuer: ca, ipAddresses: ["127.0.0.1"] }));
  await expect(review(client)).rejects.toMatchObject({ code: "SERVER_UNTRUSTED" });
  expect([server, elsewhere, client].flatMap(({ asked }) => asked)).toEqual([]);
});

test("an API server that is not there is said to be unreachable, without the token", async () => {
  const server = await anApiServer(json(200, {}));
  await server[Symbol.asyncDispose]();
  const reason: unknown = await review(server).catch((error: unknown) => error);
  expect(reason).toMatchObject({ code: "UNREACHABLE" });
  expect((reason as Error).cause).toBeUndefined();
});

test("an API server that does not answer is given up, and only so many logins wait for it", async () => {
  await using server = await anApiServer(() => undefined);
  const clock = new FakeClock();
  const reviewer = new TokenReviewer(clock);
  const expected = { config: server.config, account: ACCOUNT, audience: "" };
  const waiting = Array.from({ length: 32 }, () => reviewer.review(JWT, expected));
  await expect(reviewer.review(JWT, expected)).rejects.toMatchObject({ code: "BUSY" });
  clock.advance(10_000);
  const results = await Promise.allSettled(waiting);
  expect(
    new Set(
      results.map((result) => result.status === "rejected" && (result.reason as { code: string }).code),
    ),
  ).toEqual(new Set(["TIMED_OUT"]));
});

import { request } from "node:https";
import type { IncomingMessage } from "node:http";

import { type Clock, fromUtf8, RksError, utf8, withDeadline } from "@rk8s/protocol";
import { z } from "zod";

import type { KubernetesConfig } from "./kubernetes-config.js";
import { refused, type ServiceAccount } from "./service-account-token.js";

const DEADLINE_MS = 10_000;
/** An answer has 1–2 KB. */
const MAX_ANSWER_BYTES = 262_144;
/** Logins that wait for the API server; anybody can ask for one. */
const MAX_RUNNING = 32;

const review = z.object({
  status: z.object({
    authenticated: z.boolean().optional(),
    user: z.object({ username: z.string(), uid: z.string().optional() }).optional(),
    audiences: z.array(z.string()).optional(),
  }),
});

/** Asks a Kubernetes API server whose token it is (TokenReview). */
export class TokenReviewer {
  readonly #clock: Clock;
  #running = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Check that the token is valid and the account's. Nothing is followed: a redirect is a failure.
   * @throws {RksError} PERMISSION_DENIED when it is not; UNREACHABLE, SERVER_UNTRUSTED, TIMED_OUT when the API server cannot
   *   be asked, BUSY when too many ask.
   */
  async review(
    jwt: string,
    expected: {
      readonly config: KubernetesConfig;
      readonly account: ServiceAccount;
      /** Empty: that of the API server. */
      readonly audience: string;
    },
  ): Promise<void> {
    const { config, account, audience } = expected;
    if (this.#running >= MAX_RUNNING) {
      throw new RksError("BUSY", `${MAX_RUNNING} logins wait for the Kubernetes API server`, {
        suggestion: "Try again later.",
      });
    }
    this.#running += 1;
    try {
      const answer = await withDeadline((signal) => ask(jwt, config, audience, signal), {
        clock: this.#clock,
        timeoutMs: DEADLINE_MS,
        attempt: "the Kubernetes API server did not answer",
        suggestion: "Check kubernetes_host.",
      });
      assertReviewed(answer, account, audience);
    } finally {
      this.#running -= 1;
    }
  }
}

function assertReviewed(answer: unknown, account: ServiceAccount, audience: string): void {
  const parsed = review.safeParse(answer);
  if (!parsed.success) throw unreachable("gave an answer that is no TokenReview");
  const { authenticated, user, audiences } = parsed.data.status;
  if (authenticated !== true || user === undefined) throw refused("Kubernetes does not accept it");
  if (user.username !== `system:serviceaccount:${account.namespace}:${account.name}`) {
    throw refused("Kubernetes says that it is somebody else's");
  }
  if (user.uid !== undefined && user.uid !== account.uid) {
    throw refused("Kubernetes says that its service account was replaced");
  }
  // An API server that knows nothing of audiences names none; the claim was compared before.
  if (audience !== "" && audiences !== undefined && !audiences.includes(audience)) {
    throw refused("Kubernetes says that it is for another audience");
  }
}

async function ask(
  jwt: string,
  config: KubernetesConfig,
  audience: string,
  signal: AbortSignal,
): Promise<unknown> {
  const spec = { token: jwt, ...(audience === "" ? {} : { audiences: [audience] }) };
  const body = utf8(JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec }));
  const response = await send(config, jwt, body, signal);
  const { statusCode = 0 } = response;
  if (statusCode !== 200 && statusCode !== 201) {
    response.destroy();
    if (statusCode === 401 || statusCode === 403) {
      throw new RksError("PERMISSION_DENIED", `the Kubernetes API server refused to review (${statusCode})`, {
        suggestion: "Give the reviewer's service account the cluster role system:auth-delegator.",
      });
    }
    throw unreachable(`answered ${statusCode}`);
  }
  const bytes = await readAnswer(response);
  try {
    return JSON.parse(fromUtf8(bytes)) as unknown;
  } catch {
    throw unreachable("gave an answer that is no JSON");
  }
}

function send(
  config: KubernetesConfig,
  jwt: string,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${config.host}/apis/authentication.k8s.io/v1/tokenreviews`,
      {
        method: "POST",
        agent: false,
        signal,
        minVersion: "TLSv1.2",
        ...(config.caCertificate === "" ? {} : { ca: config.caCertificate }),
        headers: {
          authorization: `Bearer ${config.reviewerJwt === "" ? jwt : config.reviewerJwt}`,
          accept: "application/json",
          "content-type": "application/json",
          "content-length": body.byteLength,
        },
      },
      resolve,
    );
    sent.on("error", (reason) => reject(sendError(reason)));
    sent.end(body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > MAX_ANSWER_BYTES) throw unreachable(`gave an answer of more than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (reason) {
    throw reason instanceof RksError ? reason : sendError(reason);
  }
  return Buffer.concat(chunks);
}

/** Without the cause: what a request fails with may hold its headers. */
function sendError(reason: unknown): RksError {
  const { code = "no code" } = reason as NodeJS.ErrnoException;
  if (/CERT|SELF_SIGNED|UNABLE_TO|PURPOSE|ERR_TLS/.test(code)) {
    return new RksError(
      "SERVER_UNTRUSTED",
      `the Kubernetes API server's certificate is not trusted (${code})`,
      {
        suggestion: "Set kubernetes_ca_cert to the certificate authority of the API server.",
      },
    );
  }
  return unreachable(`cannot be reached (${code})`);
}

function unreachable(problem: string): RksError {
  return new RksError("UNREACHABLE", `the Kubernetes API server ${problem}`, {
    suggestion: "Check kubernetes_host and that the API server runs.",
  });
}

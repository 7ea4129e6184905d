import { type Logger, RksError } from "@rk8s/protocol";
import type { Exchange } from "./exchange.js";
import { type HttpAnswer, writeAnswer } from "./http-answer.js";
import { verbOf } from "./list-verb.js";
import type { Metrics } from "./metrics.js";

export interface AnswererInit {
  readonly listener: "socket" | "https";
  /** Aborted when the server closes; what is answered after that is the last answer of its connection. */
  readonly closing: AbortSignal;
}

/** Writes the answers of one listener and counts them. */
export class Answerer {
  readonly #init: AnswererInit;
  readonly #metrics: Metrics;
  readonly #logger: Logger;

  constructor(init: AnswererInit, ports: { readonly metrics: Metrics; readonly logger: Logger }) {
    this.#init = init;
    this.#metrics = ports.metrics;
    this.#logger = ports.logger;
  }

  /** Do the work and write its answer, or the one that `onError` makes of its failure. Never rejects. */
  async run(
    exchange: Exchange,
    work: () => Promise<HttpAnswer | "streamed">,
    onError: (reason: unknown) => HttpAnswer,
  ): Promise<void> {
    const startedAt = performance.now();
    try {
      const answer = await work();
      if (answer === "streamed") this.#count(exchange, exchange.response.statusCode, startedAt);
      else this.#write(exchange, answer, startedAt);
    } catch (reason) {
      this.fail(exchange, reason, onError, startedAt);
    }
  }

  /** Answer a failure. */
  fail(
    exchange: Exchange,
    reason: unknown,
    onError: (reason: unknown) => HttpAnswer,
    startedAt = performance.now(),
  ): void {
    const { request, response, route } = exchange;
    if (RksError.from(reason).code === "INTERNAL") {
      this.#logger.error("Request failed", { method: request.method, route, error: reason });
    }
    if (response.headersSent) response.destroy();
    else this.#write(exchange, onError(reason), startedAt);
  }

  #write(exchange: Exchange, answer: HttpAnswer, startedAt: number): void {
    const { request, response } = exchange;
    // A client that left does not hear it.
    if (!response.destroyed) {
      writeAnswer(request, response, answer, { isClosing: this.#init.closing.aborted });
    }
    this.#count(exchange, response.statusCode, startedAt);
  }

  #count({ request, route }: Exchange, status: number, startedAt: number): void {
    this.#metrics.answered({
      listener: this.#init.listener,
      route,
      method: verbOf(request.method ?? ""),
      status,
      durationMs: performance.now() - startedAt,
    });
  }
}

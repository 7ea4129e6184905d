import { type Finding, failure } from "./finding.js";

/** What a check found; `ok` with a detail when it is only text. */
export type Found<T> =
  { readonly detail: string; readonly value: T } | (Omit<Finding, "check"> & { readonly value?: T });

/**
 * A sequence of checks in which later ones need what earlier ones found: a check whose need was not met is skipped,
 * and says so, because a person reads the list from the top and mends the first thing first.
 */
export class Walk {
  readonly #findings: Finding[] = [];
  #failed: string | undefined;

  /** Look at one thing. What it throws is its failure. Undefined when it failed or an earlier check had. */
  async check<T>(name: string, look: () => Promise<Found<T>> | Found<T>): Promise<T | undefined> {
    if (this.#failed !== undefined) {
      this.skip(name, `needs "${this.#failed}"`);
      return undefined;
    }
    try {
      const { value, ...found } = await look();
      this.#findings.push({ check: name, status: "ok", ...found });
      if (this.#findings.at(-1)?.status === "fail") this.#failed = name;
      return value;
    } catch (reason) {
      this.#findings.push(failure(name, reason));
      this.#failed = name;
      return undefined;
    }
  }

  /** Note that a thing was not looked at. */
  skip(name: string, why: string): void {
    this.#findings.push({ check: name, status: "skip", detail: why });
  }

  /** What was found since it was asked last. */
  take(): readonly Finding[] {
    return this.#findings.splice(0);
  }
}

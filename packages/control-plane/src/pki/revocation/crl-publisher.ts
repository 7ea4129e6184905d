import { type Clock, RksError } from "@rk8s/protocol";
import { assembleCrl, buildTbsCertList } from "@rk8s/x509";
import { subjectKeyIdOf } from "../certificate-authority.js";
import type { Issuer } from "../issuer/issuer.js";
import type { IssuerStore } from "../issuer/issuer-store.js";
import { revocationSigning } from "../issuer/revocation-algorithm.js";
import { type CrlEntries, entriesSince } from "./crl-entries.js";
import type { CrlConfig } from "./crl-config.js";
import { crlIdOf, crlSignerFor } from "./crl-signer.js";
import type { RevocationStore } from "./revocation-store.js";

/** A signed certificate revocation list. */
export interface PublishedCrl {
  readonly der: Uint8Array;
  readonly number: number;
  /** Milliseconds. */
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /**
   * For conditional requests; undefined where another list may have had the same time or a later one, so that nobody is
   * told that nothing changed.
   */
  readonly lastModifiedMs: number | undefined;
}

/** Which of an issuer's two lists. */
export type CrlKind = "complete" | "delta";

interface Published extends PublishedCrl {
  readonly entries: CrlEntries;
  /** Of the configuration that it was made by. */
  readonly configVersion: number;
  readonly algorithm: string;
  /** Number of the complete list that a delta is to. */
  readonly base: number | undefined;
}

interface Lists {
  complete?: Published;
  delta?: Published;
  /** Of what is being made right now. */
  building?: Promise<void> | undefined;
  /** By the monotonic clock: nothing is signed anew before. */
  restUntilMs: number;
}

/** A list is signed again only after this many times as long as signing it took, so that readers cannot eat a core. */
const REST_FACTOR = 8;
/** Clocks of a cluster differ by less. A list of a time that has not come was made before the clock was put back. */
const MAX_SKEW_MS = 5 * 60_000;

/**
 * Signs certificate revocation lists when somebody asks for one that is not up to date, and keeps them until then: by
 * default a list that is read has every revocation that was acknowledged before it was asked for. With `auto_rebuild`
 * it has those of its last making, and is made again in time before it ends. Nothing runs in the background.
 */
export class CrlPublisher {
  readonly #issuers: IssuerStore;
  readonly #revocations: RevocationStore;
  readonly #config: CrlConfig;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  #lists = new Map<string, Lists>();

  constructor(parts: {
    readonly issuers: IssuerStore;
    readonly revocations: RevocationStore;
    readonly config: CrlConfig;
    readonly clock: Clock;
  }) {
    this.#issuers = parts.issuers;
    this.#revocations = parts.revocations;
    this.#config = parts.config;
    this.#clock = parts.clock;
  }

  /**
   * An issuer's list, up to date as the configuration wants it. Undefined when nobody can sign it, and for a delta when
   * there are none.
   * @throws {RksError} what the storage throws.
   */
  async read(issuer: Issuer, kind: CrlKind): Promise<PublishedCrl | undefined> {
    if (kind === "delta" && !this.#config.settings.enable_delta) return undefined;
    const lists = this.#listsOf(issuer);
    const { version } = await this.#revocations.entriesOf(crlIdOf(issuer.certificate));
    for (;;) {
      const signer = crlSignerFor(issuer, this.#issuers.state);
      const list = lists[kind];
      if (signer === undefined) return list !== undefined && this.#isValid(list) ? list : undefined;
      const due = this.#due(lists, signer, version);
      if (list !== undefined && due !== "complete" && due !== kind) return list;
      try {
        await this.#build(lists, signer, due ?? kind);
      } catch (error) {
        if (list !== undefined && this.#isValid(list) && list.entries.version >= version) return list;
        throw error;
      }
    }
  }

  /** Sign an issuer's list now, whatever the configuration says. Nothing happens when nobody can. */
  async rotate(issuer: Issuer, kind: CrlKind): Promise<void> {
    if (kind === "delta" && !this.#config.settings.enable_delta) return;
    const signer = crlSignerFor(issuer, this.#issuers.state);
    if (signer === undefined) return;
    const lists = this.#listsOf(issuer);
    while (lists.building !== undefined) await lists.building;
    await this.#build(lists, signer, kind === "delta" && lists.complete === undefined ? "complete" : kind);
  }

  /** When a list is made at the latest that has what is revoked now; undefined: at the next reading. Milliseconds. */
  nextRebuildMs(issuer: Issuer): number | undefined {
    const { auto_rebuild: isAutomatic, enable_delta: hasDelta } = this.#config.settings;
    const { complete, delta } = this.#listsOf(issuer);
    if (!isAutomatic || complete === undefined) return undefined;
    const completeMs = complete.nextUpdateMs - this.#config.graceMs;
    if (!hasDelta) return completeMs;
    return Math.min(completeMs, (delta ?? complete).thisUpdateMs + this.#config.deltaIntervalMs);
  }

  /** Forget every list; to be called when the vault is sealed. */
  close(): void {
    this.#closing.abort();
    this.#lists = new Map();
  }

  #listsOf(issuer: Issuer): Lists {
    const crlId = crlIdOf(issuer.certificate);
    let lists = this.#lists.get(crlId);
    if (lists === undefined) {
      lists = { restUntilMs: -Infinity };
      this.#lists.set(crlId, lists);
    }
    return lists;
  }

  /** Which list has to be made before one with the entries of `version` can be read. */
  #due(lists: Lists, signer: Issuer, version: number): CrlKind | undefined {
    const { complete, delta } = lists;
    const { auto_rebuild: isAutomatic, enable_delta: hasDelta } = this.#config.settings;
    if (complete === undefined || !this.#isCurrent(complete, signer)) return "complete";
    if (!isAutomatic) return complete.entries.version < version ? "complete" : undefined;
    if (!hasDelta) return undefined;
    if (delta === undefined || delta.base !== complete.number || !this.#isCurrent(delta, signer))
      return "delta";
    const isOld = this.#clock.now() >= delta.thisUpdateMs + this.#config.deltaIntervalMs;
    return isOld && delta.entries.version < version ? "delta" : undefined;
  }

  /** Whether a list can be served as far as time, configuration and signer go. */
  #isCurrent(list: Published, signer: Issuer): boolean {
    return (
      list.configVersion === this.#config.version &&
      list.algorithm === signer.revocationSignatureAlgorithm &&
      this.#isValid(list) &&
      this.#clock.now() < list.nextUpdateMs - this.#config.graceMs
    );
  }

  #isValid(list: Published): boolean {
    const now = this.#clock.now();
    return now < list.nextUpdateMs && list.thisUpdateMs <= now + MAX_SKEW_MS;
  }

  /** Make a list, or wait for the one that is being made. */
  async #build(lists: Lists, signer: Issuer, kind: CrlKind): Promise<void> {
    lists.building ??= this.#make(lists, signer, kind).finally(() => {
      lists.building = undefined;
    });
    await lists.building;
  }

  async #rest(ms: number): Promise<void> {
    try {
      await this.#clock.sleep(ms, { signal: this.#closing.signal });
    } catch (cause) {
      const suggestion = "Try again in a moment.";
      throw new RksError("UNAVAILABLE", "the mount is being closed", { cause, suggestion });
    }
  }

  async #make(lists: Lists, signer: Issuer, kind: CrlKind): Promise<void> {
    const restMs = lists.restUntilMs - this.#clock.monotonicMs();
    if (restMs > 0) await this.#rest(restMs);
    const crlId = crlIdOf(signer.certificate);
    const entries = await this.#revocations.entriesOf(crlId);
    const authority = await this.#issuers.authority(signer, "crl-signing");
    const base = kind === "delta" ? lists.complete : undefined;
    const added = base === undefined ? undefined : entriesSince(base.entries, entries);
    // What was taken out of the complete list since cannot be told in a delta: it takes a new complete one.
    const isComplete = base === undefined || added === undefined;
    const thisUpdateMs = wholeSeconds(this.#clock.now());
    const { number, isLatest } = await this.#revocations.nextNumber(crlId, thisUpdateMs);
    const began = this.#clock.monotonicMs();
    const nextUpdateMs = thisUpdateMs + this.#config.expiryMs;
    const options = revocationSigning(signer);
    const signatureAlgorithm = authority.signatureAlgorithm(options);
    const all = isComplete ? entries.shards.map(({ bytes }) => bytes) : added;
    const tbs = buildTbsCertList({
      signatureAlgorithm,
      issuer: signer.certificate.subject.der,
      thisUpdate: thisUpdateMs,
      nextUpdate: nextUpdateMs,
      crlNumber: number,
      authorityKeyId: subjectKeyIdOf(signer.certificate),
      baseCrlNumber: isComplete ? undefined : base.number,
      entries: this.#config.settings.disable ? [] : all,
    });
    const published: Published = {
      der: assembleCrl(tbs, signatureAlgorithm, authority.signBytes(tbs, options)),
      number,
      thisUpdateMs,
      nextUpdateMs,
      lastModifiedMs: isLatest ? thisUpdateMs : undefined,
      entries,
      configVersion: this.#config.version,
      algorithm: signer.revocationSignatureAlgorithm,
      base: isComplete ? undefined : base.number,
    };
    const ended = this.#clock.monotonicMs();
    lists.restUntilMs = ended + (ended - began) * REST_FACTOR;
    lists[isComplete ? "complete" : "delta"] = published;
  }
}

function wholeSeconds(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000;
}

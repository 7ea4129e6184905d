import { type Clock, fromHex, hex } from "@rk8s/protocol";
import { type Storage, untilCommitted } from "@rk8s/storage";
import { assembleCrl, buildTbsCertList, encodeRevokedCertificate } from "@rk8s/x509";
import { type CertificateAuthority, subjectKeyIdOf } from "./certificate-authority.js";
import type { ClusterRevocations } from "./cluster-revocation.js";

/** How long a list is good for; it is made anew with every revocation, and when half of this is over. */
const VALIDITY_MS = 24 * 3_600_000;
/** Making lists takes at most one part in so many of the time: whoever reads them chooses when. */
const REST_FACTOR = 10;
/** A list of a time that has not come was made before the clock was put back by more than this. */
const MAX_SKEW_MS = 300_000;
/** Written for each list, so that its number is never given again. */
const NUMBERED = "crl-number";

interface MadeList {
  readonly der: Uint8Array;
  /** Of the revocations that it was made from. */
  readonly version: number;
  readonly madeAt: number;
}

/** The lists of one issuer. */
interface Lists {
  made?: MadeList;
  making?: Promise<MadeList>;
  /** No list is made before; monotonic milliseconds. */
  restUntilMs: number;
}

/**
 * Signs the revocation lists of the cluster's CA when somebody reads one that is not up to date: a list that is read has
 * every revocation that was committed before (RFC 5280 §5).
 */
export class ClusterCrls {
  readonly #revocations: ClusterRevocations;
  readonly #barrier: Storage;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #lists = new Map<string, Lists>();

  constructor(parts: {
    readonly revocations: ClusterRevocations;
    readonly barrier: Storage;
    readonly prefix: string;
    readonly clock: Clock;
  }) {
    this.#revocations = parts.revocations;
    this.#barrier = parts.barrier;
    this.#prefix = parts.prefix;
    this.#clock = parts.clock;
  }

  /** An issuer's list, DER. @throws {RksError} what the storage throws. */
  async read(authority: CertificateAuthority): Promise<Uint8Array> {
    const keyId = hex(subjectKeyIdOf(authority.certificate));
    const lists = this.#lists.get(keyId) ?? { restUntilMs: -Infinity };
    this.#lists.set(keyId, lists);
    const version = await this.#revocations.version();
    for (;;) {
      if (lists.made !== undefined && lists.made.version >= version && this.#isFresh(lists.made)) {
        return lists.made.der;
      }
      lists.making ??= this.#make(authority, keyId, lists).finally(() => delete lists.making);
      lists.made = await lists.making;
    }
  }

  #isFresh({ madeAt }: MadeList): boolean {
    const now = this.#clock.now();
    return now < madeAt + VALIDITY_MS / 2 && madeAt <= now + MAX_SKEW_MS;
  }

  async #make(authority: CertificateAuthority, keyId: string, lists: Lists): Promise<MadeList> {
    const restMs = lists.restUntilMs - this.#clock.monotonicMs();
    if (restMs > 0) await this.#clock.sleep(restMs);
    const began = this.#clock.monotonicMs();
    const version = await this.#revocations.version();
    const entries: Uint8Array[] = [];
    for await (const { serialNumber, revokedAtMs, reason, issuerKeyId } of this.#revocations.list()) {
      const serial = fromHex(serialNumber);
      if (issuerKeyId !== keyId || serial === undefined) continue;
      entries.push(encodeRevokedCertificate({ serialNumber: serial, revocationTimeMs: revokedAtMs, reason }));
    }
    const number = await this.#nextNumber();
    const madeAt = this.#clock.now();
    const signatureAlgorithm = authority.signatureAlgorithm();
    const tbs = buildTbsCertList({
      signatureAlgorithm,
      issuer: authority.certificate.subject.der,
      thisUpdate: madeAt,
      nextUpdate: madeAt + VALIDITY_MS,
      crlNumber: number,
      authorityKeyId: subjectKeyIdOf(authority.certificate),
      entries,
    });
    const der = assembleCrl(tbs, signatureAlgorithm, authority.signBytes(tbs));
    const ended = this.#clock.monotonicMs();
    lists.restUntilMs = ended + (ended - began) * REST_FACTOR;
    return { der, version, madeAt };
  }

  /**
   * Above every number that was given (RFC 5280 §5.2.3). The time in milliseconds is above the revisions of a store, which
   * were the numbers once and begin anew in another store.
   */
  async #nextNumber(): Promise<number> {
    const key = this.#prefix + NUMBERED;
    return untilCommitted("the number of the next revocation list is being taken", async () => {
      const last = await this.#barrier.get(key);
      const given = last === undefined ? 0 : Number(Buffer.from(last.value).toString());
      const number = Math.max(given + 1, this.#clock.now());
      const write = { type: "put", key, value: Buffer.from(String(number)) } as const;
      const unchanged = { key, modRevision: last?.modRevision ?? 0 };
      return (await this.#barrier.transaction([unchanged], [write])).succeeded ? number : undefined;
    });
  }
}

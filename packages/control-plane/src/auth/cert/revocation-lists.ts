import { createHash } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { type CertificateList, decodePem, parseCrl, revokedCertificates } from "@rk8s/x509";
import { z } from "zod";

import { requiredText, text } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { roleName } from "../role-paths.js";
import { StoredRecords } from "../stored-records.js";
import type { ReadCertificate } from "./client-certificate.js";

/** All serial numbers are in memory. */
const MAX_LISTS = 16;
/** What one entry of the storage holds as base64. */
const MAX_LIST_BYTES = 1_000_000;

const storedList = z.object({ der: z.string() });

/**
 * The revocation lists that an operator gave a mount. Who gave one could write the roles as well: its signature and dates are
 * not checked, and it counts until it is replaced or deleted.
 */
export class RevocationLists {
  readonly #records: StoredRecords<z.infer<typeof storedList>>;
  /** Serial numbers by list and hash of the issuer's name; undefined until they are asked for. */
  #revoked: Promise<ReadonlyMap<string, ReadonlySet<string>>[]> | undefined;

  constructor(storage: Storage, prefix: string) {
    this.#records = new StoredRecords(storage, `${prefix}crls/`, storedList);
  }

  /** Whether one of the certificates stands in a list of its issuer. @throws {RksError} STORAGE_CORRUPT */
  async isAnyRevoked(certificates: readonly ReadCertificate[]): Promise<boolean> {
    this.#revoked ??= this.#load();
    const lists = await this.#revoked;
    return certificates.some(({ issuer, serialNumber }) => {
      const name = hashOf(issuer.der);
      return lists.some((list) => list.get(name)?.has(serialNumber) === true);
    });
  }

  /** Another process has changed them. */
  forget(): void {
    this.#revoked = undefined;
  }

  get paths(): readonly BackendPath[] {
    const records = this.#records;
    return [
      {
        pattern: "crls",
        operations: {
          list: operation({
            summary: "List the revocation lists.",
            handle: async () => {
              const keys = await records.names();
              return keys.length === 0 ? undefined : { data: { keys } };
            },
          }),
        },
      },
      {
        pattern: "crls/:name",
        operations: {
          read: operation({
            summary: "Read the serial numbers of a revocation list.",
            handle: async (request) => {
              const stored = await records.read(roleName(parameter(request, "name")));
              if (stored === undefined) return undefined;
              const crl = parseCrl(Buffer.from(stored.record.der, "base64"));
              const serials = [...revokedCertificates(crl)].map(({ serialNumber }) => [
                decimal(serialNumber),
                {},
              ]);
              return { data: { serials: Object.fromEntries(serials) as unknown } };
            },
          }),
          update: operation({
            summary: "Give a revocation list in PEM.",
            fields: z.object({ crl: requiredText({ maxCharacters: MAX_LIST_BYTES * 2 }), url: text("") }),
            handle: async (request) => {
              const { crl, url } = request.fields;
              await this.#put(roleName(parameter(request, "name")), crl, url);
              return undefined;
            },
          }),
          delete: operation({
            summary: "Delete a revocation list.",
            handle: async (request) => {
              const name = roleName(parameter(request, "name"));
              await records.storage.transaction([], [records.delete(name)]);
              this.#revoked = undefined;
              return undefined;
            },
          }),
        },
      },
    ];
  }

  async #put(name: string, pem: string, url: string): Promise<void> {
    if (url !== "") {
      throw new RksError("UNSUPPORTED", "revocation lists are not fetched", {
        suggestion: "Upload the list as crl whenever it changes.",
      });
    }
    const { der } = readList(pem);
    const names = await this.#records.names();
    if (names.length >= MAX_LISTS && !names.includes(name)) {
      throw new RksError("INPUT_INVALID", `there are ${MAX_LISTS} revocation lists already`, {
        suggestion: "Delete one that is not needed.",
      });
    }
    await this.#records.storage.transaction(
      [],
      [this.#records.put(name, { der: Buffer.from(der).toString("base64") })],
    );
    this.#revoked = undefined;
  }

  async #load(): Promise<ReadonlyMap<string, ReadonlySet<string>>[]> {
    try {
      const lists: ReadonlyMap<string, ReadonlySet<string>>[] = [];
      for (const name of await this.#records.names()) {
        const stored = await this.#records.read(name);
        if (stored === undefined) continue;
        const crl = parseCrl(Buffer.from(stored.record.der, "base64"));
        const serials = new Set([...revokedCertificates(crl)].map(({ serialNumber }) => serialNumber));
        lists.push(new Map([[hashOf(crl.issuer.der), serials]]));
      }
      return lists;
    } catch (reason) {
      this.#revoked = undefined;
      throw reason;
    }
  }
}

/** A serial number as Vault writes it. */
export function decimal(serialNumber: string): string {
  return BigInt(`0x${serialNumber}`).toString();
}

/** @throws {RksError} CRL_INVALID, INPUT_INVALID for one that is too long. */
function readList(pem: string): CertificateList {
  const [block] = decodePem(pem, { code: "CRL_INVALID", maxBytes: MAX_LIST_BYTES * 2 });
  if (block?.label !== "X509 CRL") {
    throw new RksError("CRL_INVALID", `field "crl" has no X509 CRL block`, {
      suggestion: "Send the list in PEM.",
    });
  }
  if (block.der.byteLength > MAX_LIST_BYTES) {
    throw new RksError(
      "INPUT_INVALID",
      `a revocation list of ${block.der.byteLength} bytes is longer than ${MAX_LIST_BYTES}`,
      { suggestion: "Use short-lived certificates, so that the list stays short." },
    );
  }
  const crl = parseCrl(block.der);
  // Read to the end, so that nothing wrong is found at a login.
  for (const revoked of revokedCertificates(crl)) if (revoked.serialNumber === "") break;
  return crl;
}

function hashOf(name: Uint8Array): string {
  return createHash("sha256").update(name).digest("base64");
}

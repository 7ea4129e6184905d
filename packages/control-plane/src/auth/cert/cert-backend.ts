import { type Clock, hex, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { nameValues, OID } from "@rk8s/x509";
import { z } from "zod";

import type { Answer, Backend, BackendFactory, JsonObject, MountInit } from "../../vault/backend.js";
import { flag, text } from "../../vault/field-types.js";
import { type BackendPath, operation, PathTable } from "../../vault/path-table.js";
import { toLoginGrant } from "../../vault/token/token-parameters.js";
import { type ReadRole, roleName, rolePaths } from "../role-paths.js";
import { StoredRecords } from "../stored-records.js";
import {
  type CertRole,
  certRole,
  describeRole,
  readRole,
  roleFields,
  trustedCertificates,
} from "./cert-role.js";
import { findPath, SignatureChecks } from "./certificate-path.js";
import {
  clientProblem,
  type PresentedChain,
  type ReadCertificate,
  readPresented,
  refusedCertificate,
} from "./client-certificate.js";
import { extensionText, fitsNameRules } from "./name-rules.js";
import { decimal, RevocationLists } from "./revocation-lists.js";

/** Each may be asked at a login that names none. */
const MAX_ROLES = 1000;

/** A role with its certificates read. */
interface ReadyRole {
  readonly name: string;
  readonly role: CertRole;
  readonly anchors: readonly ReadCertificate[];
}

/** A role that lets a client in, and the path from the client's certificate to what the role trusts. */
interface Match {
  readonly found: ReadyRole;
  readonly path: readonly ReadCertificate[];
}

/**
 * The `cert` login method: TLS clients log in with the certificate that they connected with. Paths, fields and answers are
 * Vault's; a certificate must say that it is for TLS clients unless the role names it itself.
 */
export function certLogin(ports: { readonly clock: Pick<Clock, "now"> }): BackendFactory {
  return (mount, storage) => Promise.resolve(new CertBackend(mount, storage, ports.clock));
}

class CertBackend implements Backend {
  readonly paths: PathTable;
  readonly #clock: Pick<Clock, "now">;
  readonly #records: StoredRecords<CertRole>;
  readonly #crls: RevocationLists;
  /** All roles by name, until one changes. */
  #roles: Promise<readonly ReadyRole[]> | undefined;

  constructor(mount: MountInit, storage: Storage, clock: Pick<Clock, "now">) {
    this.#clock = clock;
    this.#records = new StoredRecords(storage, `${mount.storagePrefix}certs/`, certRole);
    this.#crls = new RevocationLists(storage, mount.storagePrefix);
    this.paths = new PathTable([
      this.#loginPath(),
      configPath(),
      ...this.#crls.paths,
      ...rolePaths({
        folder: "certs",
        records: this.#records,
        fields: roleFields,
        read: (fields, stored) => this.#readRole(fields, stored),
        describe: describeRole,
        onChange: () => {
          this.#roles = undefined;
        },
      }),
    ]);
  }

  /** As `Backend.heard`. */
  heard(name: string): "forgotten" {
    if (name.startsWith("crls/")) this.#crls.forget();
    else this.#roles = undefined;
    return "forgotten";
  }

  /** The certificate of the login must still be one that the role lets in: in time, not revoked, trusted. */
  async renewLogin(renewal: JsonObject): Promise<void> {
    const kept = z.object({ role: z.string(), certificates: z.array(z.string()) }).parse(renewal);
    const presented = readPresented(kept.certificates.map((der) => Buffer.from(der, "base64")));
    const match = await this.#match(presented, kept.role);
    if (match !== undefined) return;
    throw new RksError("PERMISSION_DENIED", `role "${kept.role}" does not let this certificate in any more`, {
      suggestion: "Log in again with a certificate that is trusted.",
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #readRole(
    fields: z.output<typeof roleFields>,
    stored: CertRole | undefined,
  ): Promise<ReadRole<CertRole>> {
    const record = readRole(fields, stored);
    if (stored === undefined && (await this.#records.names()).length >= MAX_ROLES) {
      throw new RksError("INPUT_INVALID", `there are ${MAX_ROLES} roles already`, {
        suggestion: "Delete one that is not needed.",
      });
    }
    return { record };
  }

  #loginPath(): BackendPath {
    return {
      pattern: "login",
      operations: {
        update: operation({
          access: "anyone",
          summary: "Log in with the TLS client certificate of the connection.",
          fields: z.object({ name: text("") }),
          handle: async ({ fields, connection }) => {
            const presented = readPresented(connection.clientCertificates);
            const named = fields.name === "" ? undefined : roleName(fields.name);
            const match = await this.#match(presented, named);
            if (match !== undefined) return { login: grant(match) };
            const problem = clientProblem(presented.leaf, this.#clock.now(), false);
            if (problem !== undefined) throw refusedCertificate(problem);
            throw new RksError("INPUT_INVALID", "invalid certificate or no client certificate supplied", {
              suggestion: "Use a certificate that a role trusts and whose names it allows.",
            });
          },
        }),
      },
    };
  }

  /** The first role that lets the client in, of all or of the one that is named. */
  async #match(presented: PresentedChain, named: string | undefined): Promise<Match | undefined> {
    this.#roles ??= this.#load();
    const roles = await this.#roles;
    const nowMs = this.#clock.now();
    const checks = new SignatureChecks();
    const { leaf } = presented;
    for (const found of roles) {
      const { name, role, anchors } = found;
      if ((named !== undefined && name !== named) || !fitsNameRules(leaf, role.rules)) continue;
      const path = findPath(presented, anchors, { nowMs, checks });
      if (path === undefined || clientProblem(leaf, nowMs, path.length === 1) !== undefined) continue;
      const issued = path.length === 1 ? path : path.slice(0, -1);
      if (!(await this.#crls.isAnyRevoked(issued))) return { found, path };
    }
    return undefined;
  }

  async #load(): Promise<readonly ReadyRole[]> {
    try {
      const ready: ReadyRole[] = [];
      for (const name of await this.#records.names()) {
        const role = (await this.#records.read(name))?.record;
        if (role !== undefined) ready.push({ name, role, anchors: trustedCertificates(role.certificate) });
      }
      return ready;
    } catch (reason) {
      this.#roles = undefined;
      throw reason;
    }
  }
}

function grant({ found, path }: Match): NonNullable<Answer["login"]> {
  const { name, role } = found;
  const [leaf] = path;
  if (leaf === undefined) throw new TypeError("a path begins with the client's certificate");
  const [commonName = ""] = nameValues(leaf.subject, OID.commonName);
  const extensions = role.metadataExtensions.flatMap((oid) => {
    const value = extensionText(leaf, oid);
    return value === undefined ? [] : [[oid.replaceAll(".", "-"), value] as const];
  });
  const issued = path.length === 1 ? path : path.slice(0, -1);
  return toLoginGrant(role.token, {
    displayName: role.displayName || commonName || name,
    ...(commonName === "" ? {} : { aliasName: commonName }),
    metadata: {
      ...Object.fromEntries(extensions),
      authority_key_id: colons(leaf.authorityKeyId),
      cert_name: name,
      common_name: commonName,
      serial_number: decimal(leaf.serialNumber),
      subject_key_id: colons(leaf.subjectKeyId),
    },
    renewal: { role: name, certificates: issued.map(({ der }) => Buffer.from(der).toString("base64")) },
  });
}

function colons(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : (hex(bytes).match(/../g) ?? []).join(":");
}

/** Taken from clients that set it; what it says is how it is anyway, or has no effect and is warned of. */
function configPath(): BackendPath {
  return {
    pattern: "config",
    operations: {
      read: operation({
        summary: "Read what is always so.",
        handle: () => ({ data: { disable_binding: true, enable_identity_alias_metadata: true } }),
      }),
      update: operation({
        summary: "Nothing can be chosen; what has no effect is warned of.",
        fields: z.object({ disable_binding: flag(true), enable_identity_alias_metadata: flag(true) }),
        handle: ({ fields }) =>
          fields.disable_binding
            ? undefined
            : {
                warnings: [
                  "a renewal is not bound to the certificate of its connection: the certificate of the login is checked again",
                ],
              },
      }),
    },
  };
}

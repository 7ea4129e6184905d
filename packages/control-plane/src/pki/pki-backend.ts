import { type Clock, RksError } from "@rk8s/protocol";
import { decodePem, parseCertificateRequest } from "@rk8s/x509";
import type { Storage } from "../storage/storage.js";
import type {
  Backend,
  BackendFactory,
  Answer,
  JsonObject,
  MountInit,
  PathRequest,
} from "../vault/backend.js";
import { type Access, type PathOperation, PathTable } from "../vault/path-table.js";
import { CertificateAuthority, createRootCertificate } from "./certificate-authority.js";
import { encodeCertificate, encodePrivateKey } from "./certificate-format.js";
import { parseFields } from "../vault/field-types.js";
import {
  assertKeyAllowed,
  backdated,
  decideKey,
  decideLeaf,
  type IssuanceContext,
  keySpec,
} from "./issuance.js";
import { certificateWrite, issuerWrites, listNames, PKI_KEYS, readIssuer } from "./issuer-store.js";
import { createKeyPair, exportPkcs8, type KeyPair } from "./key-pair.js";
import { PUBLIC_PATHS, readPublic } from "./public-reads.js";
import { issueSchema, type NamesRequest, rootSchema, signSchema, unknownFieldWarnings } from "./requests.js";
import { parseRole, type PkiRole, roleData } from "./role.js";
import { formatSerialNumber } from "./serial-number.js";
import { assertProofOfPossession } from "./signing.js";
import { encodeSubject } from "./subject.js";

const ROLE_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$/;

/** The `pki` secrets engine: makes the backend of a mount. Paths, fields and answers are Vault's. */
export function pkiBackend(ports: { readonly clock: Clock }): BackendFactory {
  return async (mount, barrier) => {
    const issuer = await readIssuer(barrier, mount.storagePrefix);
    return new PkiBackend(mount, barrier, ports.clock, issuer);
  };
}

class PkiBackend implements Backend {
  readonly paths: PathTable;
  readonly #mount: MountInit;
  readonly #barrier: Storage;
  readonly #clock: Clock;
  #issuer: CertificateAuthority | undefined;

  constructor(mount: MountInit, barrier: Storage, clock: Clock, issuer: CertificateAuthority | undefined) {
    this.#mount = mount;
    this.#barrier = barrier;
    this.#clock = clock;
    this.#issuer = issuer;
    const one = (access: Access): PathOperation => ({
      access,
      summary: "Answer as Vault's engine does.",
      fields: undefined,
      handle: (request) => this.#handle(request),
    });
    const [open, own] = [one("anyone"), one("token")];
    this.paths = new PathTable([
      ...PUBLIC_PATHS.map((pattern) => ({ pattern, operations: { read: open } })),
      { pattern: "*path", operations: { read: own, update: own, delete: own, list: own } },
    ]);
  }

  async #handle(request: Omit<PathRequest, "fields">): Promise<Answer | undefined> {
    const path = request.path.replace(/\/$/, "");
    const [first = "", second, ...rest] = path.split("/");
    const write = request.operation === "create" || request.operation === "update";
    if (request.operation === "list") return this.#list(path);
    if (first === "roles" && second !== undefined && rest.length === 0) return this.#role(request, second);
    if (request.operation === "read") {
      return readPublic(path, {
        barrier: this.#barrier,
        prefix: this.#mount.storagePrefix,
        issuer: this.#issuer,
      });
    }
    if (write && (path === "root/generate/internal" || path === "root/generate/exported")) {
      return this.#generateRoot(request.data, path.endsWith("exported"));
    }
    if (request.operation === "delete" && path === "root") return this.#deleteRoot();
    if (write && first === "issue" && second !== undefined && rest.length === 0)
      return this.#issue(request.data, second);
    if (write && first === "sign" && second !== undefined && rest.length === 0)
      return this.#sign(request.data, second);
    throw new RksError(
      "UNSUPPORTED",
      `"${request.operation}" of "${this.#mount.path}${path.slice(0, 120)}" is not supported`,
      {
        suggestion: "Use root/generate, root, roles, issue, sign, ca, ca_chain, cert or certs.",
      },
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#issuer = undefined;
    return Promise.resolve();
  }

  async #list(path: string): Promise<Answer | undefined> {
    const { storagePrefix } = this.#mount;
    if (path !== "roles" && path !== "certs") return undefined;
    const folder = path === "roles" ? PKI_KEYS.roles : PKI_KEYS.certificates;
    const names = await listNames(this.#barrier, storagePrefix + folder);
    if (names.length === 0) return undefined;
    return { data: { keys: path === "roles" ? names : names.map(formatSerialNumber) } };
  }

  async #role(request: Omit<PathRequest, "fields">, name: string): Promise<Answer | undefined> {
    if (request.operation === "read") {
      const role = await this.#findRole(name);
      return role === undefined ? undefined : { data: roleData(role) };
    }
    const key = this.#roleKey(name);
    if (request.operation === "delete") {
      await this.#barrier.transaction([], [{ type: "delete", key }]);
      return undefined;
    }
    const role = parseRole(request.data);
    await this.#barrier.transaction([], [{ type: "put", key, value: Buffer.from(JSON.stringify(role)) }]);
    return { data: roleData(role) };
  }

  async #generateRoot(data: JsonObject, exported: boolean): Promise<Answer> {
    const request = parseFields(rootSchema, data, "root request");
    const warnings = unknownFieldWarnings(data, rootSchema);
    if (request.common_name === "") {
      throw new RksError("INPUT_INVALID", "a root needs a common name", { suggestion: "Give common_name." });
    }
    if (this.#issuer !== undefined) throw this.#rootExists();
    const { maxTtlSeconds, defaultTtlSeconds, storagePrefix } = this.#mount;
    const wanted = request.ttl || defaultTtlSeconds;
    const ttl = Math.min(wanted, maxTtlSeconds);
    if (ttl < wanted) {
      warnings.push(
        `TTL of ${wanted} seconds is longer than permitted maxTTL of ${maxTtlSeconds} seconds, so maxTTL is being used`,
      );
    }
    const keyPair = await createKeyPair(keySpec(request.key_type, request.key_bits));
    const now = this.#clock.now();
    const root = createRootCertificate(keyPair, {
      subject: encodeSubject(request, request.common_name),
      notBefore: backdated(now, request.not_before_duration),
      notAfter: now + ttl * 1000,
      pathLength: request.max_path_length < 0 ? undefined : Math.min(request.max_path_length, 255),
      signatureBits: request.signature_bits,
    });
    const pkcs8 = exportPkcs8(keyPair.privateKey);
    try {
      const writes = issuerWrites(storagePrefix, root.der, pkcs8);
      const comparisons = writes.map(({ key }) => ({ key, modRevision: 0 }));
      const record = certificateWrite(storagePrefix, root.serialNumber, { der: root.der, role: "" });
      const { succeeded } = await this.#barrier.transaction(comparisons, [...writes, record]);
      if (!succeeded) throw this.#rootExists();
    } finally {
      pkcs8.fill(0);
    }
    this.#issuer = new CertificateAuthority(root.der, keyPair.privateKey);
    const certificate = encodeCertificate(root.der, request.format);
    const secret = exported ? encodePrivateKey(keyPair.privateKey, request) : {};
    return {
      data: {
        certificate,
        issuing_ca: certificate,
        serial_number: formatSerialNumber(root.serialNumber),
        expiration: root.notAfter / 1000,
        ...secret,
      },
      warnings,
    };
  }

  async #deleteRoot(): Promise<undefined> {
    const { storagePrefix } = this.#mount;
    await this.#barrier.transaction(
      [],
      [
        { type: "delete", key: storagePrefix + PKI_KEYS.issuerCertificate },
        { type: "delete", key: storagePrefix + PKI_KEYS.issuerKey },
      ],
    );
    this.#issuer = undefined;
  }

  async #issue(data: JsonObject, roleName: string): Promise<Answer> {
    const request = parseFields(issueSchema, data, "issue request");
    const role = await this.#requireRole(roleName);
    const issuer = this.#requireIssuer();
    const { leaf, warnings } = decideLeaf(role, request, this.#context(roleName, issuer, undefined));
    const keyPair: KeyPair = await createKeyPair(decideKey(role, request));
    const issued = issuer.issue({ ...leaf, spki: keyPair.spki });
    await this.#record(role, roleName, issued);
    const secret = encodePrivateKey(keyPair.privateKey, request);
    const answer = this.#answer(issued, request, issuer);
    const certificate =
      request.format === "pem_bundle"
        ? `${secret.private_key}\n${String(answer["certificate"])}`
        : answer["certificate"];
    return {
      data: { ...answer, certificate, ...secret },
      warnings: [...warnings, ...unknownFieldWarnings(data, issueSchema)],
    };
  }

  async #sign(data: JsonObject, roleName: string): Promise<Answer> {
    const request = parseFields(signSchema, data, "sign request");
    const role = await this.#requireRole(roleName);
    const issuer = this.#requireIssuer();
    const csr = parseCertificateRequest(csrBytes(request.csr));
    assertProofOfPossession(csr);
    assertKeyAllowed(role, csr.publicKey, roleName);
    const { leaf, warnings } = decideLeaf(role, request, this.#context(roleName, issuer, csr));
    const issued = issuer.issue({ ...leaf, spki: csr.spki });
    await this.#record(role, roleName, issued);
    const answer = this.#answer(issued, request, issuer);
    return { data: answer, warnings: [...warnings, ...unknownFieldWarnings(data, signSchema)] };
  }

  #context(roleName: string, issuer: CertificateAuthority, csr: IssuanceContext["csr"]): IssuanceContext {
    const { defaultTtlSeconds, maxTtlSeconds } = this.#mount;
    const issuerNotAfter = issuer.certificate.notAfter;
    return { roleName, now: this.#clock.now(), defaultTtlSeconds, maxTtlSeconds, issuerNotAfter, csr };
  }

  async #record(
    role: PkiRole,
    roleName: string,
    issued: { readonly der: Uint8Array; readonly serialNumber: string },
  ): Promise<void> {
    if (role.no_store) return;
    const record = { der: issued.der, role: roleName };
    await this.#barrier.transaction(
      [],
      [certificateWrite(this.#mount.storagePrefix, issued.serialNumber, record)],
    );
  }

  #answer(
    issued: ReturnType<CertificateAuthority["issue"]>,
    request: NamesRequest,
    issuer: CertificateAuthority,
  ): JsonObject {
    const issuingCa = encodeCertificate(issuer.certificate.der, request.format);
    const chain = request.remove_roots_from_chain ? [] : [issuingCa];
    const certificate = encodeCertificate(issued.der, request.format);
    return {
      certificate: request.format === "pem_bundle" ? [certificate, ...chain].join("\n") : certificate,
      issuing_ca: issuingCa,
      ca_chain: chain,
      serial_number: formatSerialNumber(issued.serialNumber),
      not_before: issued.notBefore / 1000,
      expiration: issued.notAfter / 1000,
    };
  }

  async #findRole(name: string): Promise<PkiRole | undefined> {
    const entry = await this.#barrier.get(this.#roleKey(name));
    return entry === undefined
      ? undefined
      : parseRole(JSON.parse(new TextDecoder().decode(entry.value)) as JsonObject);
  }

  async #requireRole(name: string): Promise<PkiRole> {
    const role = await this.#findRole(name);
    if (role !== undefined) return role;
    throw new RksError("INPUT_INVALID", `unknown role: "${name}"`, {
      suggestion: `Write ${this.#mount.path}roles/${name} first.`,
    });
  }

  #requireIssuer(): CertificateAuthority {
    if (this.#issuer !== undefined) return this.#issuer;
    throw new RksError("INPUT_INVALID", `mount "${this.#mount.path}" has no root to sign with`, {
      suggestion: `Write ${this.#mount.path}root/generate/internal first.`,
    });
  }

  #rootExists(): RksError {
    return new RksError("ALREADY_EXISTS", `mount "${this.#mount.path}" has a root already`, {
      suggestion: `Delete ${this.#mount.path}root first if nothing depends on it.`,
    });
  }

  #roleKey(name: string): string {
    if (!ROLE_NAME.test(name)) {
      throw new RksError("INPUT_INVALID", `role name ${JSON.stringify(name.slice(0, 80))} is not allowed`, {
        suggestion: "Use letters, digits, underscores, inner hyphens and dots, at most 128.",
      });
    }
    return this.#mount.storagePrefix + PKI_KEYS.roles + name;
  }
}

/** The first request of a PEM text. @throws {RksError} CSR_INVALID. */
function csrBytes(pem: string): Uint8Array {
  const block = decodePem(pem, { code: "CSR_INVALID" }).find(({ label }) =>
    label.endsWith("CERTIFICATE REQUEST"),
  );
  if (block !== undefined) return block.der;
  throw new RksError("CSR_INVALID", 'field "csr" has no CERTIFICATE REQUEST block', {
    suggestion: "Send the request in PEM.",
  });
}

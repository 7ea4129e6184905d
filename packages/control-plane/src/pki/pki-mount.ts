import type { Clock } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { MountInit } from "../vault/backend.js";
import { ALONE, type Stewardship } from "../vault/members/stewardship.js";
import { CertificateStore } from "./certificate/certificate-store.js";
import { AccessConfig } from "./issuer/access-config.js";
import { IssuerStore } from "./issuer/issuer-store.js";
import type { KeyStore } from "./issuer/key-store.js";
import type { KeyMaker } from "./key-maker.js";
import { CrlConfig } from "./revocation/crl-config.js";
import { CrlPublisher } from "./revocation/crl-publisher.js";
import { RevocationStore } from "./revocation/revocation-store.js";
import { Tidy } from "./revocation/tidy.js";
import { RoleStore } from "./role/role-store.js";

/** What all PKI mounts of a process share. */
export interface PkiPorts {
  readonly clock: Clock;
  readonly keyMaker: KeyMaker;
  /** Where the serial numbers of leaves come from: 20 bytes. Default: random ones. */
  readonly createSerialNumber?: () => Uint8Array;
}

/** One mount of the PKI engine: what the modules that serve its paths work with. */
export interface PkiMount extends PkiPorts {
  /** Path, lifetimes and prefix; tuning a mount makes a new one. */
  readonly mount: MountInit;
  /** The barrier. Everything of the mount is below `mount.storagePrefix`. */
  readonly storage: Storage;
  readonly issuers: IssuerStore;
  readonly keys: KeyStore;
  readonly roles: RoleStore;
  readonly certificates: CertificateStore;
  readonly access: AccessConfig;
  readonly revocations: RevocationStore;
  readonly crlConfig: CrlConfig;
  readonly crls: CrlPublisher;
  readonly tidy: Tidy;
}

/** Of the mount's entries, those that nothing is kept of in memory. */
const UNKEPT = ["certs/", "cert-expiry/", "roles/", "tidy-state"];
/** And what the lists of revocations are made of. */
const REVOCATIONS = ["revoked/", "revoked-expiry/", "revoked-stamp", "crl-entries/", "crl-state/"];

/** Another process has written an entry of the mount; as `Backend.heard`. */
export function heardByMount(pki: PkiMount, name: string): "forgotten" | "outdated" {
  if (REVOCATIONS.some((prefix) => name.startsWith(prefix))) pki.revocations.forget();
  else if (!UNKEPT.some((prefix) => name.startsWith(prefix))) return "outdated";
  return "forgotten";
}

/** Read what a mount keeps in memory: issuers, public parts of keys, configuration; no certificates. @throws {RksError} STORAGE_CORRUPT. */
export async function openPkiMount(
  mount: MountInit,
  storage: Storage,
  ports: PkiPorts & { readonly stewardship?: Stewardship | undefined },
): Promise<PkiMount> {
  const { storagePrefix: prefix } = mount;
  const access = await AccessConfig.open(storage, prefix);
  const issuers = await IssuerStore.open(storage, prefix, { access, clock: ports.clock });
  const revocations = new RevocationStore(storage, prefix);
  const crlConfig = await CrlConfig.open(storage, prefix);
  const pki = {
    ...ports,
    mount,
    storage,
    access,
    issuers,
    keys: issuers.keys,
    roles: new RoleStore(storage, prefix),
    certificates: new CertificateStore(storage, prefix),
    revocations,
    crlConfig,
    crls: new CrlPublisher({ issuers, revocations, config: crlConfig, clock: ports.clock }),
  };
  return { ...pki, tidy: await Tidy.open(pki, ports.stewardship ?? ALONE) };
}

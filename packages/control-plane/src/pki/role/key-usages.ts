import { type KeyUsage, OID } from "@rk8s/x509";

/** Names of Go's crypto/x509 without their prefix, which Vault takes in any case. */
const KEY_USAGES: ReadonlyMap<string, KeyUsage> = new Map([
  ["digitalsignature", "digitalSignature"],
  ["contentcommitment", "nonRepudiation"],
  ["nonrepudiation", "nonRepudiation"],
  ["keyencipherment", "keyEncipherment"],
  ["dataencipherment", "dataEncipherment"],
  ["keyagreement", "keyAgreement"],
  ["certsign", "keyCertSign"],
  ["crlsign", "cRLSign"],
  ["encipheronly", "encipherOnly"],
  ["decipheronly", "decipherOnly"],
]);

const EXTENDED_KEY_USAGES: ReadonlyMap<string, string> = new Map([
  ["any", OID.anyExtendedKeyUsage],
  ["serverauth", OID.serverAuth],
  ["clientauth", OID.clientAuth],
  ["codesigning", OID.codeSigning],
  ["emailprotection", OID.emailProtection],
  ["ipsecendsystem", "1.3.6.1.5.5.7.3.5"],
  ["ipsectunnel", "1.3.6.1.5.5.7.3.6"],
  ["ipsecuser", "1.3.6.1.5.5.7.3.7"],
  ["timestamping", OID.timeStamping],
  ["ocspsigning", OID.ocspSigning],
  ["microsoftservergatedcrypto", "1.3.6.1.4.1.311.10.3.3"],
  ["netscapeservergatedcrypto", "2.16.840.1.113730.4.1"],
]);

/** Usages by name, each once; names that nobody knows are left out, as Vault does (see `unknownUsages`). */
export function parseKeyUsage(names: readonly string[]): KeyUsage[] {
  return known(names, KEY_USAGES);
}

/** Object identifiers of extended usages by name, each once; names that nobody knows are left out. */
export function parseExtendedKeyUsage(names: readonly string[]): string[] {
  return known(names, EXTENDED_KEY_USAGES);
}

/** A warning for each name that `parseKeyUsage` and `parseExtendedKeyUsage` leave out. */
export function unknownUsages(keyUsage: readonly string[], extendedKeyUsage: readonly string[]): string[] {
  return [
    ...unknown("key_usage", keyUsage, KEY_USAGES),
    ...unknown("ext_key_usage", extendedKeyUsage, EXTENDED_KEY_USAGES),
  ];
}

function known<T>(names: readonly string[], table: ReadonlyMap<string, T>): T[] {
  const values = names.map((name) => table.get(name.toLowerCase())).filter((value) => value !== undefined);
  return [...new Set(values)];
}

function unknown(field: string, names: readonly string[], table: ReadonlyMap<string, unknown>): string[] {
  return names
    .filter((name) => !table.has(name.toLowerCase()))
    .slice(0, 20)
    .map((name) => `${field} has the unknown name ${JSON.stringify(name.slice(0, 80))}, which is ignored`);
}

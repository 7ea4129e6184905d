import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { Answer } from "../../vault/backend.js";
import { text } from "../../vault/field-types.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import { hasAccessUrls } from "./access-points.js";
import { readPemBundle } from "./pem-bundle.js";

/** As long as any bundle may be; the bundle's own limit answers more clearly. */
const pem = text("", { maxCharacters: 1_048_576 });
const bundleFields = z.object({ pem_bundle: pem });
const certificateFields = z.object({ certificate: pem });

/** Bringing CAs along: `config/ca`, `issuers/import/cert`, `issuers/import/bundle`, `intermediate/set-signed`. */
export function importPaths(pki: PkiMount): BackendPath[] {
  const bundle = (pattern: string, keysAllowed: boolean, summary: string): BackendPath => ({
    pattern,
    operations: {
      update: operation({
        summary,
        fields: bundleFields,
        handle: ({ fields }) => importBundle(pki, fields.pem_bundle, { field: "pem_bundle", keysAllowed }),
      }),
    },
  });
  return [
    bundle("config/ca", true, "Import certificates and keys of CAs."),
    bundle("issuers/import/bundle", true, "Import certificates and keys of CAs."),
    bundle("issuers/import/cert", false, "Import certificates of CAs, without keys."),
    {
      pattern: "intermediate/set-signed",
      operations: {
        update: operation({
          summary: "Take the signed certificate of an intermediate whose key was made here.",
          fields: certificateFields,
          handle: ({ fields }) =>
            importBundle(pki, fields.certificate, { field: "certificate", keysAllowed: false }),
        }),
      },
    },
  ];
}

async function importBundle(
  pki: PkiMount,
  bundle: string,
  options: { readonly field: string; readonly keysAllowed: boolean },
): Promise<Answer> {
  if (bundle === "") {
    throw new RksError("INPUT_INVALID", `field "${options.field}" is empty`, {
      suggestion: "Send certificates in PEM.",
    });
  }
  const { certificates, privateKeys } = readPemBundle(bundle);
  if (privateKeys.length > 0 && !options.keysAllowed) {
    throw new RksError("INPUT_INVALID", "private keys found in the PEM bundle but not allowed by the path", {
      suggestion: "Use issuers/import/bundle, or leave the keys out.",
    });
  }
  const { keys, issuers, state, hadDefault } = await pki.issuers.change((change) => {
    const before = change.state.defaultIssuerId;
    const addedKeys = privateKeys.map((key) => change.addKey(key));
    const addedIssuers = certificates.map((der) => change.addIssuer(der));
    const withKey = addedIssuers
      .filter(({ existing }) => !existing)
      .map(({ entry }) => entry.id)
      .filter((id) => change.state.issuers.get(id)?.keyId !== "");
    const [first] = withKey;
    const follows = change.state.defaultFollowsLatest && withKey.length === 1;
    if (first !== undefined && (before === "" || follows)) change.setDefaults({ defaultIssuerId: first });
    return { keys: addedKeys, issuers: addedIssuers, state: change.state, hadDefault: before !== "" };
  });
  const keyOf = (id: string) => state.issuers.get(id)?.keyId ?? "";
  const imported = unique(issuers, false);
  const importedWithKey = imported.filter((id) => keyOf(id) !== "");
  const warnings: string[] = [];
  if (hadDefault && state.defaultFollowsLatest && importedWithKey.length > 1) {
    warnings.push("the default issuer is left as it was: several imported issuers have their keys here");
  }
  if (!hadDefault && importedWithKey.length > 1) {
    warnings.push(`several imported issuers have their keys here: "${state.defaultIssuerId}" is the default`);
  }
  const involved = new Set(issuers.map(({ entry }) => entry.id));
  if (involved.has(state.defaultIssuerId) && keyOf(state.defaultIssuerId) === "") {
    warnings.push(
      "the default issuer has no key here: import it, or choose another default to sign anything",
    );
  }
  if (!hasAccessUrls(pki.access.urls)) {
    warnings.push("no access points (AIA, CRL, OCSP) are configured: write config/urls before issuing");
  }
  return {
    data: {
      mapping: Object.fromEntries([...involved].map((id) => [id, keyOf(id)])),
      imported_keys: unique(keys, false),
      imported_issuers: imported,
      existing_keys: unique(keys, true),
      existing_issuers: unique(issuers, true),
    },
    warnings,
  };
}

/** Ids of what was there already or not; a bundle may have the same thing twice. */
function unique(
  added: readonly { readonly entry: { readonly id: string }; readonly existing: boolean }[],
  existing: boolean,
): string[] {
  const fresh = new Set(added.filter((one) => !one.existing).map(({ entry }) => entry.id));
  const old = added.filter((one) => one.existing).map(({ entry }) => entry.id);
  return existing ? [...new Set(old.filter((id) => !fresh.has(id)))] : [...fresh];
}

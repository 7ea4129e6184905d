import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { Answer } from "../../vault/backend.js";
import { flag, text } from "../../vault/field-types.js";
import { type BackendPath, operation, type PathOperation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import { accessUrlFields, assertUrl, changeAccessUrls } from "./access-url-fields.js";
import { DEFAULT_REFERENCE } from "./reference.js";

const issuersFields = z.object({ default: text(), default_follows_latest_issuer: flag() });
const keysFields = z.object({ default: text("") });
const urlsFields = z.object({ ...accessUrlFields, enable_templating: flag() });
const clusterFields = z.object({ path: text(), aia_path: text() });
/** What `root/rotate` named its issuer. */
const replaceFields = z.object({ default: text("next") });

/** `config/issuers`, `root/replace`, `config/keys`, `config/urls` and `config/cluster`. */
export function configPaths(pki: PkiMount): BackendPath[] {
  const { issuers, access } = pki;
  const path = (pattern: string, read: PathOperation, update: PathOperation): BackendPath => ({
    pattern,
    operations: { read, update },
  });
  return [
    path(
      "config/issuers",
      operation({ summary: "Read which issuer is the default.", handle: () => issuersAnswer(pki) }),
      operation({
        summary: "Choose the default issuer.",
        fields: issuersFields,
        handle: ({ fields }) => chooseIssuer(pki, fields.default, fields.default_follows_latest_issuer),
      }),
    ),
    {
      pattern: "root/replace",
      operations: {
        update: operation({
          summary: "Make a rotated root the default issuer.",
          fields: replaceFields,
          handle: ({ fields }) => chooseIssuer(pki, fields.default, undefined),
        }),
      },
    },
    path(
      "config/keys",
      operation({
        summary: "Read which key is the default.",
        handle: () => ({ data: { default: issuers.state.defaultKeyId } }),
      }),
      operation({
        summary: "Choose the default key.",
        fields: keysFields,
        handle: async ({ fields }) => {
          const defaultKeyId = await issuers.change((change) => {
            const { id } = pki.keys.require(chosen("key", fields.default));
            change.setDefaults({ defaultKeyId: id });
            return id;
          });
          return { data: { default: defaultKeyId } };
        },
      }),
    ),
    path(
      "config/urls",
      operation({ summary: "Read the access points.", handle: () => ({ data: { ...access.urls } }) }),
      operation({
        summary: "Change the access points of what is issued from now on.",
        fields: urlsFields,
        handle: async ({ fields }) => {
          const { enable_templating: enableTemplating } = fields;
          await access.setUrls((before) => changeAccessUrls(before, { ...fields, enableTemplating }));
          return { data: { ...access.urls }, warnings: templateWarnings(pki) };
        },
      }),
    ),
    path(
      "config/cluster",
      operation({
        summary: "Read where clients reach this mount.",
        handle: () => ({ data: { ...access.cluster } }),
      }),
      operation({
        summary: "Say where clients reach this mount.",
        fields: clusterFields,
        handle: async ({ fields }) => {
          for (const [name, value] of Object.entries(fields)) if (value) assertUrl(name, value);
          await access.setCluster((before) => ({
            path: fields.path ?? before.path,
            aia_path: fields.aia_path ?? before.aia_path,
          }));
          return { data: { ...access.cluster } };
        },
      }),
    ),
  ];
}

function issuersAnswer({ issuers }: PkiMount): Answer {
  const { defaultIssuerId, defaultFollowsLatest } = issuers.state;
  return { data: { default: defaultIssuerId, default_follows_latest_issuer: defaultFollowsLatest } };
}

async function chooseIssuer(
  pki: PkiMount,
  reference: string | undefined,
  follows: boolean | undefined,
): Promise<Answer> {
  const issuer = await pki.issuers.change((change) => {
    const isOnlyFollowing = reference === undefined && follows !== undefined;
    const found = isOnlyFollowing ? undefined : pki.issuers.require(chosen("issuer", reference ?? ""));
    change.setDefaults({
      ...(found === undefined ? {} : { defaultIssuerId: found.id }),
      ...(follows === undefined ? {} : { defaultFollowsLatest: follows }),
    });
    return found;
  });
  const warnings =
    issuer?.keyId === ""
      ? ["the default issuer has no key here: import it, or choose another default to sign anything"]
      : [];
  return { ...issuersAnswer(pki), warnings };
}

function chosen(what: "issuer" | "key", reference: string): string {
  if (reference !== "" && reference !== DEFAULT_REFERENCE) return reference;
  throw new RksError(
    "INPUT_INVALID",
    `invalid ${what} specification; must be non-empty and can't be 'default'`,
    {
      suggestion: `Name the ${what} by its name or id.`,
    },
  );
}

function templateWarnings({ access, issuers }: PkiMount): string[] {
  const [issuer] = issuers.state.issuers.values();
  try {
    access.urlsOf({ id: issuer?.id ?? "", accessUrls: undefined });
    return [];
  } catch (error) {
    return [`issuing will fail: ${error instanceof Error ? error.message : String(error)}`];
  }
}

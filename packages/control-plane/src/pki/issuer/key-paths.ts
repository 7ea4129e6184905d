import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { Answer, JsonObject } from "../../vault/backend.js";
import { count, integer, oneOf, text } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { keyIdentifier } from "../certificate-authority.js";
import { encodePrivateKey } from "../certificate-format.js";
import { keySpec } from "../key-spec.js";
import type { PkiMount } from "../pki-mount.js";
import { formatSerialNumber } from "../serial-number.js";
import type { IssuerKey } from "./issuer.js";
import { pageOf } from "./page.js";
import { readPemBundle } from "./pem-bundle.js";

const REF = "key_ref";
const listFields = z.object({ after: text(""), limit: count(0) });
const generateFields = z.object({
  key_name: text(""),
  key_type: oneOf("rsa", ["rsa", "ec", "ed25519"]),
  key_bits: integer(0),
});
const importFields = z.object({ key_name: text(""), pem_bundle: text("", { maxCharacters: 1_048_576 }) });

/** `keys`, `keys/generate/:type`, `keys/import` and `key/:key_ref`. */
export function keyPaths(pki: PkiMount): BackendPath[] {
  return [
    {
      pattern: "keys",
      operations: {
        list: operation({
          summary: "List the keys.",
          fields: listFields,
          handle: ({ fields }) => listKeys(pki, fields),
        }),
      },
    },
    {
      pattern: "keys/generate/:type",
      operations: {
        update: operation({
          summary: "Make a key.",
          fields: generateFields,
          handle: (request) => generateKey(pki, parameter(request, "type"), request.fields),
        }),
      },
    },
    {
      pattern: "keys/import",
      operations: {
        update: operation({
          summary: "Import a private key.",
          fields: importFields,
          handle: ({ fields }) => importKey(pki, fields),
        }),
      },
    },
    {
      pattern: `key/:${REF}`,
      operations: {
        read: operation({
          summary: "Read about a key; its private part is never read.",
          handle: (request) => {
            const key = pki.keys.find(parameter(request, REF));
            return key === undefined ? undefined : { data: keyData(key) };
          },
        }),
        update: operation({
          summary: "Rename a key.",
          fields: z.object({ key_name: text("") }),
          handle: async (request) => {
            const reference = parameter(request, REF);
            const key = await pki.issuers.change((change) =>
              change.renameKey(pki.keys.require(reference).id, request.fields.key_name),
            );
            return { data: keyData(key) };
          },
        }),
        delete: operation({
          summary: "Delete a key that no issuer has.",
          handle: (request) => deleteKey(pki, parameter(request, REF)),
        }),
      },
    },
  ];
}

function listKeys(
  pki: PkiMount,
  range: { readonly after: string; readonly limit: number },
): Answer | undefined {
  const { keys, defaultKeyId } = pki.issuers.state;
  const page = pageOf([...keys.keys()], range);
  if (page.length === 0) return undefined;
  const info = page.map((id) => [
    id,
    { key_name: keys.get(id)?.name ?? "", is_default: id === defaultKeyId },
  ]);
  return { data: { keys: page, key_info: Object.fromEntries(info) as JsonObject } };
}

async function generateKey(
  pki: PkiMount,
  type: string,
  fields: z.output<typeof generateFields>,
): Promise<Answer> {
  if (type !== "internal" && type !== "exported") {
    const isKms = type === "kms";
    throw new RksError(
      "INPUT_INVALID",
      isKms
        ? "keys in another key management system are not supported"
        : `${JSON.stringify(type.slice(0, 80))} is not a kind of key to make`,
      { suggestion: 'Use "internal" or "exported".' },
    );
  }
  const { privateKey } = await pki.keyMaker.create(keySpec(fields.key_type, fields.key_bits));
  const { entry } = await pki.issuers.change((change) =>
    change.addKey(privateKey, { name: fields.key_name }),
  );
  const secret =
    type === "exported"
      ? encodePrivateKey(privateKey, { format: "pem", private_key_format: "der" })
      : undefined;
  return { data: { ...keyData(entry), ...secret } };
}

async function importKey(pki: PkiMount, fields: z.output<typeof importFields>): Promise<Answer> {
  const { privateKeys, certificates } = readPemBundle(fields.pem_bundle);
  const [privateKey] = privateKeys;
  if (privateKey === undefined || privateKeys.length > 1 || certificates.length > 0) {
    throw new RksError("INPUT_INVALID", "the PEM bundle is refused: it is not one private key alone", {
      suggestion: "Import one private key at a time, or certificates with issuers/import/bundle.",
    });
  }
  const { entry, existing } = await pki.issuers.change((change) =>
    change.addKey(privateKey, { name: fields.key_name }),
  );
  const data = keyData(entry);
  if (!existing) return { data };
  return { data, warnings: ["the key was imported before; rename it with a write of key/:key_ref"] };
}

async function deleteKey(pki: PkiMount, reference: string): Promise<Answer | undefined> {
  return pki.issuers.change((change) => {
    const key = pki.keys.find(reference);
    if (key === undefined) return undefined;
    const user = [...change.state.issuers.values()].find(({ keyId }) => keyId === key.id);
    if (user !== undefined) {
      throw new RksError("INPUT_INVALID", `key "${key.id}" is in use by issuer "${user.id}"`, {
        suggestion: "Delete the issuer first.",
      });
    }
    const wasDefault = change.state.defaultKeyId === key.id;
    change.deleteKey(key.id);
    return wasDefault
      ? { warnings: [`key "${key.id}" was the default: name a key until config/keys has another one`] }
      : undefined;
  });
}

function keyData(key: IssuerKey): JsonObject {
  return {
    key_id: key.id,
    key_name: key.name,
    key_type: key.type,
    key_bits: key.bits,
    subject_key_id: formatSerialNumber(Buffer.from(keyIdentifier(key.spki)).toString("hex")),
  };
}

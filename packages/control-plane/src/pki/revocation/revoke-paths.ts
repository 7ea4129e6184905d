import { RksError } from "@rk8s/protocol";
import { decodePemCertificates } from "@rk8s/x509";
import { z } from "zod";
import { requiredText, text } from "../../vault/field-types.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import { assertPrivateKeyOf } from "./proof-by-key.js";
import { type Revocable, revocableByCertificate, revocableBySerialNumber, revoke } from "./revoke.js";

const MAX_PEM_CHARACTERS = 65_536;
const targetFields = {
  serial_number: text("", { maxCharacters: 200 }),
  certificate: text("", { maxCharacters: MAX_PEM_CHARACTERS }),
};
const revokeFields = z.object(targetFields);
const withKeyFields = z.object({ ...targetFields, private_key: requiredText() });

/** `revoke` and `revoke-with-key`. */
export function revokePaths(pki: PkiMount): BackendPath[] {
  return [
    {
      pattern: "revoke",
      operations: {
        update: operation({
          summary: "Revoke a certificate by its serial number or by itself.",
          fields: revokeFields,
          handle: async ({ fields }) => revoke(pki, await findRevocable(pki, fields)),
        }),
      },
    },
    {
      pattern: "revoke-with-key",
      operations: {
        update: operation({
          summary: "Revoke a certificate, proving by its private key that it is one's own.",
          fields: withKeyFields,
          handle: async ({ fields }) => {
            const revocable = await findRevocable(pki, fields);
            assertPrivateKeyOf(fields.private_key, revocable.certificate);
            return revoke(pki, revocable);
          },
        }),
      },
    },
  ];
}

async function findRevocable(
  pki: PkiMount,
  fields: { readonly serial_number: string; readonly certificate: string },
): Promise<Revocable> {
  const { serial_number: serialNumber, certificate } = fields;
  if ((serialNumber === "") === (certificate === "")) {
    const problem = serialNumber === "" ? "neither" : "both";
    throw new RksError("INPUT_INVALID", `${problem} of serial_number and certificate were given`, {
      suggestion: "Give serial_number, or certificate in PEM.",
    });
  }
  if (certificate === "") return revocableBySerialNumber(pki, serialNumber);
  const [der, ...more] = decodePemCertificates(certificate);
  if (der === undefined || more.length > 0) {
    throw new RksError("INPUT_INVALID", "field certificate holds more than one certificate", {
      suggestion: "Give only the one to be revoked.",
    });
  }
  return revocableByCertificate(pki, der);
}

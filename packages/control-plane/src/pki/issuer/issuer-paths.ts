import { z } from "zod";
import type { Answer } from "../../vault/backend.js";
import { count, text } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import { revokeIssuerCertificate } from "../revocation/revoke.js";
import { formatSerialNumber } from "../serial-number.js";
import type { Issuer } from "./issuer.js";
import {
  completeIssuerFields,
  issuerData,
  type IssuerFields,
  issuerFields,
  issuerSettings,
} from "./issuer-settings.js";
import { pageOf } from "./page.js";

const listFields = z.object({ after: text(""), limit: count(0) });
const REF = "issuer_ref";

/** `issuers`, `issuer/:issuer_ref` with its raw forms, and `issuer/:issuer_ref/revoke`. */
export function issuerPaths(pki: PkiMount): BackendPath[] {
  const { issuers } = pki;
  /** A public read of an issuer; nothing is there when there is no such issuer. */
  const raw = (form: "json" | "der" | "pem", toAnswer: (issuer: Issuer) => Answer): BackendPath => ({
    pattern: `issuer/:${REF}/${form}`,
    operations: {
      read: operation({
        access: "anyone",
        summary: `Read an issuer's certificate, ${form.toUpperCase()}.`,
        handle: (request) => {
          const issuer = issuers.find(parameter(request, REF));
          return issuer === undefined ? undefined : toAnswer(issuer);
        },
      }),
    },
  });
  const lastModifiedMs = () => issuers.state.changedAtMs;
  return [
    {
      pattern: "issuers",
      operations: {
        list: operation({
          access: "anyone",
          summary: "List the issuers.",
          fields: listFields,
          handle: ({ fields }) => listIssuers(pki, fields),
        }),
      },
    },
    raw("json", (issuer) => ({
      data: {
        certificate: issuers.pemOf(issuer),
        ca_chain: issuers.pemChainOf(issuer),
        issuer_id: issuer.id,
        issuer_name: issuer.name,
      },
    })),
    raw("der", (issuer) => ({
      data: { certificate: issuers.pemOf(issuer) },
      raw: {
        contentType: "application/pkix-cert",
        body: issuer.certificate.der,
        lastModifiedMs: lastModifiedMs(),
      },
    })),
    raw("pem", (issuer) => ({
      data: { certificate: issuers.pemOf(issuer) },
      raw: {
        contentType: "application/pem-certificate-chain",
        body: issuers.pemOf(issuer),
        lastModifiedMs: lastModifiedMs(),
      },
    })),
    {
      pattern: `issuer/:${REF}/revoke`,
      operations: {
        update: operation({
          summary: "Revoke an issuer: it signs no more certificates.",
          handle: (request) => revokeIssuer(pki, parameter(request, REF)),
        }),
      },
    },
    {
      pattern: `issuer/:${REF}`,
      operations: {
        read: operation({
          summary: "Read an issuer.",
          handle: (request) => {
            const issuer = issuers.find(parameter(request, REF));
            return issuer === undefined ? undefined : { data: issuerData(pki, issuer) };
          },
        }),
        update: operation({
          summary: "Write an issuer's settings; what is left out gets its default.",
          fields: issuerFields,
          handle: (request) => updateIssuer(pki, parameter(request, REF), request.fields, true),
        }),
        patch: operation({
          summary: "Change some of an issuer's settings.",
          fields: issuerFields,
          handle: (request) => updateIssuer(pki, parameter(request, REF), request.fields, false),
        }),
        delete: operation({
          summary: "Delete an issuer; its key stays.",
          handle: (request) => deleteIssuer(pki, parameter(request, REF)),
        }),
      },
    },
  ];
}

function listIssuers(
  pki: PkiMount,
  range: { readonly after: string; readonly limit: number },
): Answer | undefined {
  const { issuers, defaultIssuerId } = pki.issuers.state;
  const page = pageOf([...issuers.keys()], range);
  if (page.length === 0) return undefined;
  const info = page.map((id) => issuers.get(id)).filter((issuer) => issuer !== undefined);
  return {
    data: {
      keys: page,
      key_info: Object.fromEntries(
        info.map(({ id, name, certificate, keyId }) => [
          id,
          {
            issuer_name: name,
            is_default: id === defaultIssuerId,
            serial_number: formatSerialNumber(certificate.serialNumber),
            key_id: keyId,
          },
        ]),
      ),
    },
  };
}

async function updateIssuer(
  pki: PkiMount,
  reference: string,
  fields: IssuerFields,
  isWhole: boolean,
): Promise<Answer> {
  const issuer = await pki.issuers.change((change) => {
    const old = pki.issuers.require(reference);
    const given = isWhole ? completeIssuerFields(old, fields) : fields;
    return change.updateIssuer(old.id, issuerSettings(pki, old, given));
  });
  return { data: issuerData(pki, issuer), warnings: templateWarnings(pki, issuer) };
}

/** Templates that cannot be filled in would only be noticed by whoever issues next. */
function templateWarnings(pki: PkiMount, issuer: Issuer): string[] {
  try {
    pki.access.urlsOf(issuer);
    return [];
  } catch (error) {
    return [`issuing will fail: ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function revokeIssuer(pki: PkiMount, reference: string): Promise<Answer> {
  const issuer = await pki.issuers.change((change) => {
    const old = pki.issuers.require(reference);
    if (old.revokedAtMs !== 0) return old;
    const usage = old.usage.filter((one) => one !== "issuing-certificates");
    return change.updateIssuer(old.id, { revokedAtMs: Math.max(1, pki.clock.now()), usage });
  });
  await revokeIssuerCertificate(pki, issuer);
  return { data: issuerData(pki, issuer) };
}

async function deleteIssuer(pki: PkiMount, reference: string): Promise<Answer | undefined> {
  return pki.issuers.change((change) => {
    const issuer = pki.issuers.find(reference);
    if (issuer === undefined) return undefined;
    const wasDefault = change.state.defaultIssuerId === issuer.id;
    change.deleteIssuer(issuer.id);
    if (!wasDefault) return undefined;
    const warning = `issuer "${issuer.id}" was the default: nothing is issued without naming an issuer until config/issuers has another one`;
    return { warnings: [warning] };
  });
}

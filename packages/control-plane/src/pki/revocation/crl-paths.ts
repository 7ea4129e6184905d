import { RksError } from "@rk8s/protocol";
import { encodePem } from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import type { CrlKind, PublishedCrl } from "./crl-publisher.js";
import { crlIdOf } from "./crl-signer.js";

const DER = "application/pkix-crl";
const PEM = "application/x-pem-file";

/** How a list is answered: `json` has it as PEM in the data. */
type Form = "der" | "pem" | "json";

/**
 * Certificate revocation lists for everyone: the default issuer's as `crl` and `cert/crl`, each issuer's as
 * `issuer/:issuer_ref/crl`, in all their forms; and making them anew: `crl/rotate`, `crl/rotate-delta`.
 */
export function crlPaths(pki: PkiMount): BackendPath[] {
  const byDefault = (pattern: string, kind: CrlKind, form: Form, member: string): BackendPath => ({
    pattern,
    operations: {
      read: operation({
        access: "anyone",
        summary: `Read the default issuer's ${kind} revocation list, ${form.toUpperCase()}.`,
        handle: () => answerWith(pki, pki.issuers.find("default"), { kind, form, member }),
      }),
    },
  });
  const byIssuer = (end: string, kind: CrlKind, form: Form): BackendPath => ({
    pattern: `issuer/:issuer_ref/${end}`,
    operations: {
      read: operation({
        access: "anyone",
        summary: `Read an issuer's ${kind} revocation list, ${form.toUpperCase()}.`,
        handle: ({ parameters }) => {
          const issuer = pki.issuers.find(parameters["issuer_ref"] ?? "");
          return issuer === undefined ? undefined : answerWith(pki, issuer, { kind, form, member: "crl" });
        },
      }),
    },
  });
  const both: readonly (readonly [string, CrlKind])[] = [
    ["crl", "complete"],
    ["crl/delta", "delta"],
  ];
  const underCert: readonly (readonly [string, CrlKind])[] = [
    ["cert/crl", "complete"],
    ["cert/delta-crl", "delta"],
  ];
  return [
    notServed("issuer/:issuer_ref/resign-crls"),
    notServed("issuer/:issuer_ref/sign-revocation-list"),
    rotatePath(pki, "crl/rotate", "complete"),
    rotatePath(pki, "crl/rotate-delta", "delta"),
    ...both.flatMap(([path, kind]) => [
      byDefault(path, kind, "der", "crl"),
      byDefault(`${path}/pem`, kind, "pem", "crl"),
      byIssuer(path, kind, "json"),
      byIssuer(`${path}/der`, kind, "der"),
      byIssuer(`${path}/pem`, kind, "pem"),
    ]),
    ...underCert.flatMap(([path, kind]) => [
      byDefault(path, kind, "json", "certificate"),
      byDefault(`${path}/raw`, kind, "der", "certificate"),
      byDefault(`${path}/raw/pem`, kind, "pem", "certificate"),
    ]),
  ];
}

function rotatePath(pki: PkiMount, pattern: string, kind: CrlKind): BackendPath {
  const rotate = operation({
    summary: `Make every issuer's ${kind} revocation list anew.`,
    handle: async () => {
      for (const issuer of oneOfEachList(pki)) await pki.crls.rotate(issuer, kind);
      return { data: { success: true } };
    },
  });
  return { pattern, operations: { read: rotate, update: rotate } };
}

/** Lists made of what a caller says: an issuer signs only what was revoked here. */
function notServed(pattern: string): BackendPath {
  return {
    pattern,
    operations: {
      update: {
        access: "token",
        summary: "Not served: an issuer signs lists of what was revoked in this mount alone.",
        fields: undefined,
        handle: () => {
          throw new RksError(
            "INPUT_INVALID",
            "this engine signs no revocation list that was made elsewhere",
            {
              suggestion:
                "Revoke the certificates here, by revoke with certificate=@file for those issued elsewhere.",
            },
          );
        },
      },
    },
  };
}

function oneOfEachList(pki: PkiMount): Iterable<Issuer> {
  const { issuers } = pki.issuers.state;
  return new Map([...issuers.values()].map((issuer) => [crlIdOf(issuer.certificate), issuer])).values();
}

async function answerWith(
  pki: PkiMount,
  issuer: Issuer | undefined,
  how: { readonly kind: CrlKind; readonly form: Form; readonly member: string },
): Promise<Answer | undefined> {
  const { kind, form, member } = how;
  const crl = issuer === undefined ? undefined : await pki.crls.read(issuer, kind);
  const data = {
    // Millions of characters for a large list, which most readers of the DER form never look at.
    get [member]() {
      return crl === undefined ? "" : pemOf(crl);
    },
    ...(member === "certificate" ? { revocation_time: 0, revocation_time_rfc3339: "" } : {}),
  };
  if (form === "json") return crl === undefined ? undefined : { data };
  const contentType = form === "der" ? DER : PEM;
  if (crl === undefined) return { data, raw: { contentType, body: "" } };
  const body = form === "der" ? crl.der : pemOf(crl);
  const { lastModifiedMs } = crl;
  return {
    data,
    raw: { contentType, body, ...(lastModifiedMs === undefined ? {} : { lastModifiedMs }) },
  };
}

/** PEM of a list that is kept as long as the list; five megabytes take 50 ms. */
const pems = new WeakMap<PublishedCrl, string>();

function pemOf(crl: PublishedCrl): string {
  let pem = pems.get(crl);
  if (pem === undefined) {
    pem = encodePem("X509 CRL", crl.der).trimEnd();
    pems.set(crl, pem);
  }
  return pem;
}

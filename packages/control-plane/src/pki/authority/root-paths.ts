import { createPublicKey } from "node:crypto";
import type { z } from "zod";
import type { Answer } from "../../vault/backend.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { selfSign } from "../certificate-authority.js";
import { encodeCertificate, encodePrivateKey } from "../certificate-format.js";
import { encodeAccessPoints, hasAccessUrls } from "../issuer/access-points.js";
import { algorithmName } from "../issuer/revocation-algorithm.js";
import type { PkiMount } from "../pki-mount.js";
import { formatSerialNumber } from "../serial-number.js";
import { signatureAlgorithmOf } from "../signing.js";
import {
  assertModestSize,
  caExtensions,
  caLifetime,
  caNamesExtension,
  caSubject,
  requestedPathLength,
} from "./ca-certificate.js";
import { rootFields } from "./ca-fields.js";
import { caKey, keySource } from "./ca-key.js";
import { MISSING_ACCESS_URLS, NO_SUBJECT, PATH_LENGTH_ZERO } from "./ca-warnings.js";

/** Name that `root/rotate` gives the new issuer when the request gives none and nobody has it. */
const NEXT_ISSUER = "next";

/** Making and removing roots: `root/generate/:type`, `root/rotate/:type`, `issuers/generate/root/:type`, `root`. */
export function rootPaths(pki: PkiMount): BackendPath[] {
  const generate = (pattern: string, fallbackName = ""): BackendPath => ({
    pattern,
    operations: {
      update: operation({
        summary: "Make a key and a self-signed root certificate for it.",
        fields: rootFields,
        handle: (request) => {
          const source = keySource(parameter(request, "type"));
          return generateRoot(pki, { source, fields: request.fields, fallbackName });
        },
      }),
    },
  });
  return [
    generate("root/generate/:type"),
    generate("issuers/generate/root/:type"),
    generate("root/rotate/:type", NEXT_ISSUER),
    {
      pattern: "root",
      operations: {
        delete: operation({
          access: "sudo",
          summary: "Delete all issuers and all keys.",
          handle: async () => {
            await pki.issuers.change((change) => change.clear());
            const warning =
              "every issuer and every key of this mount is gone; `issuer/:ref` and `key/:ref` can be deleted one by one";
            return { warnings: [warning] };
          },
        }),
      },
    },
  ];
}

async function generateRoot(
  pki: PkiMount,
  init: {
    readonly source: ReturnType<typeof keySource>;
    readonly fields: z.output<typeof rootFields>;
    readonly fallbackName: string;
  },
): Promise<Answer> {
  const { source, fields, fallbackName } = init;
  const pathLength = requestedPathLength(fields.max_path_length);
  const subject = caSubject(fields);
  const extensions = [...caExtensions(fields, pathLength), ...caNamesExtension(fields, subject)];
  assertModestSize(subject, extensions);
  const { mount, clock, access } = pki;
  // Wrong requests cost no key: the dates, which count from when the key is there, are decided again below.
  caLifetime(fields, { mount, now: clock.now() });
  const { privateKey } = await caKey(pki, source, fields);
  const signing = { signatureBits: fields.signature_bits, usePss: fields.use_pss };
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const { notBefore, notAfter, warnings } = caLifetime(fields, { mount, now: clock.now() });
  const created = await pki.issuers.change((change) => {
    const { issuer_name, key_name: keyName } = fields;
    const isFree = [...change.state.issuers.values()].every(({ name }) => name !== fallbackName);
    const name = issuer_name === "" && isFree ? fallbackName : issuer_name;
    const root = selfSign(privateKey, {
      subject,
      spki,
      notBefore,
      notAfter,
      extensions: [...extensions, ...accessPoints(pki)],
      ...signing,
    });
    const { entry: key } = change.addKey(privateKey, { name: keyName });
    const { entry: added } = change.addIssuer(root.der, { name, latest: true });
    const algorithm = signatureAlgorithmOf(privateKey, signing);
    const issuer = change.updateIssuer(added.id, { revocationSignatureAlgorithm: algorithmName(algorithm) });
    change.write(
      ...pki.certificates.writes(root.serialNumber, { der: root.der, issuerId: issuer.id, role: "" }),
    );
    return { root, key, issuer };
  });
  const { root, key, issuer } = created;
  const certificate = encodeCertificate(root.der, fields.format);
  const secret = source === "exported" ? encodePrivateKey(privateKey, fields) : undefined;
  const bundle =
    secret !== undefined && fields.format === "pem_bundle"
      ? `${secret.private_key}\n${certificate}`
      : certificate;
  return {
    data: {
      certificate: bundle,
      issuing_ca: certificate,
      serial_number: formatSerialNumber(root.serialNumber),
      expiration: root.notAfter / 1000,
      issuer_id: issuer.id,
      issuer_name: issuer.name,
      key_id: key.id,
      key_name: key.name,
      ...secret,
    },
    warnings: [
      ...warnings,
      ...(issuer.certificate.subject.rdns.length === 0 ? [NO_SUBJECT] : []),
      ...(hasAccessUrls(access.urls) ? [] : [MISSING_ACCESS_URLS]),
      ...(pathLength === 0 ? [PATH_LENGTH_ZERO] : []),
      ...(fields.key_name !== "" && fields.key_name !== key.name
        ? [`key_name was ignored: the key is called ${JSON.stringify(key.name)} already`]
        : []),
    ],
  };
}

/** Those of the mount; a template cannot be filled in before the issuer has its id. */
function accessPoints({ access }: PkiMount): Uint8Array[] {
  return access.urls.enable_templating ? [] : encodeAccessPoints(access.urls);
}

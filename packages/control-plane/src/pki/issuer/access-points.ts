import { encodeAuthorityInfoAccess, encodeCrlDistributionPoints, encodeFreshestCrl } from "@rk8s/x509";
import type { AccessUrls } from "./issuer.js";

/** An absent set of access points. */
export const NO_ACCESS_URLS: AccessUrls = {
  issuing_certificates: [],
  crl_distribution_points: [],
  delta_crl_distribution_points: [],
  ocsp_servers: [],
  enable_templating: false,
};

/** Whether there is any URL at all. */
export function hasAccessUrls(urls: AccessUrls): boolean {
  return (
    urls.issuing_certificates.length > 0 ||
    urls.crl_distribution_points.length > 0 ||
    urls.delta_crl_distribution_points.length > 0 ||
    urls.ocsp_servers.length > 0
  );
}

/** Encode the extensions of RFC 5280 §4.2.2.1, §4.2.1.13 and §4.2.1.15 that the URLs make, without empty ones. */
export function encodeAccessPoints(urls: AccessUrls): Uint8Array[] {
  const extensions: Uint8Array[] = [];
  const { issuing_certificates: caIssuers, ocsp_servers: ocsp } = urls;
  if (caIssuers.length + ocsp.length > 0) {
    extensions.push(encodeAuthorityInfoAccess({ ocsp: [...ocsp], caIssuers: [...caIssuers] }));
  }
  if (urls.crl_distribution_points.length > 0) {
    extensions.push(encodeCrlDistributionPoints([...urls.crl_distribution_points]));
  }
  if (urls.delta_crl_distribution_points.length > 0) {
    extensions.push(encodeFreshestCrl([...urls.delta_crl_distribution_points]));
  }
  return extensions;
}

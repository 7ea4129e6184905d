/** Warnings about new CAs, for those who would find out much later. */
export const MISSING_ACCESS_URLS =
  "no access points (AIA, CRL, OCSP) are configured: certificates will not say where to find their issuer and its revocations; write config/urls, or the issuer's own, before issuing";
export const NO_SUBJECT =
  "the certificate has no subject: many TLS libraries refuse leaves of such an issuer; give common_name";
export const PATH_LENGTH_ZERO =
  "max_path_length is 0: the certificate cannot sign intermediate CAs, only leaves";

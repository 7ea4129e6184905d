import type { ClusterCa } from "../pki/cluster-ca.js";

/** What enrolment needs of the cluster's certificate authority. */
export type CertificateIssuer = Pick<
  ClusterCa,
  "prepareNodeCertificate" | "prepareOperatorCertificate" | "revocations" | "roots" | "trust"
>;

/** A signed certificate that exists as soon as its writes are committed; until then nobody may see it. */
export type PreparedCertificate = ReturnType<CertificateIssuer["prepareNodeCertificate"]>;

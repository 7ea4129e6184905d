import { ALPN, RksError, SERVER_NAME } from "@rk8s/protocol";
import { parseRksAddress } from "../bootstrap/address.js";
import { leadsToTrusted, type TrustedRoots } from "../identity/trusted-roots.js";
import type { AgentPorts } from "../ports.js";

/**
 * What it means that a node cannot verify its control plane. When nothing that is presented leads to one of the roots
 * that the node trusts, CA_UNTRUSTED: the root was tainted while the node was away, or somebody else answers there; only
 * an operator can tell. Else, or when it cannot be found out, the error itself.
 */
export async function explainUntrusted(
  error: RksError,
  node: { readonly nodeName: string; readonly rksAddress: string; readonly trust: TrustedRoots },
  { transport, signal }: Pick<AgentPorts, "transport"> & { readonly signal: AbortSignal },
): Promise<RksError> {
  if (error.code !== "SERVER_UNTRUSTED") return error;
  const { nodeName, rksAddress, trust } = node;
  const target = { ...parseRksAddress(rksAddress), alpn: ALPN, serverName: SERVER_NAME, signal };
  try {
    if (leadsToTrusted(await transport.probe(target), trust)) return error;
  } catch {
    return error;
  }
  return new RksError(
    "CA_UNTRUSTED",
    `the server at "${rksAddress}" leads to none of the roots that this node trusts (generation ${trust.generation})`,
    {
      suggestion: `Ask the operator whether the cluster's root was tainted; then run \`rks node rejoin ${nodeName}\` and start again with the token that it prints.`,
      cause: error,
    },
  );
}

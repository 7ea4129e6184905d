import { RksError } from "@rk8s/protocol";
import { isInNetwork } from "../vault/cidr.js";
import type { JoinCheck } from "./join-check.js";

/**
 * Refuse whoever comes from outside the network that the token is bound to. IPv4-mapped IPv6 counts as IPv4.
 */
export const cidrJoinCheck: JoinCheck = {
  name: "cidr",
  check({ token, remoteAddress }) {
    if (token.cidr === null || isInNetwork(remoteAddress.host, token.cidr)) return;
    throw new RksError(
      "JOIN_TOKEN_SCOPE",
      `join token "${token.id}" is only good from "${token.cidr}", not from "${remoteAddress.host}"`,
      {
        suggestion:
          "Join from that network, or ask for a token for this one: `rks gen join-token --cidr CIDR`.",
      },
    );
  },
};

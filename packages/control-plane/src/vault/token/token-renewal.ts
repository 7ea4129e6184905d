import { RksError } from "@rk8s/protocol";

import type { Answer } from "../backend.js";
import { isRenewable, toAuth } from "./token-answer.js";
import type { TokenEntry } from "./token-entry.js";
import { type MountTtls, renewedExpiry } from "./token-lifetime.js";
import type { LiveToken, TokenStore } from "./token-store.js";

/** The mount that a login came through. */
export interface LoginMount {
  readonly ttls: MountTtls;
  /** @throws {RksError} when the login may not go on. */
  readonly renewLogin: (renewal: Readonly<Record<string, unknown>>) => Promise<void>;
}

export interface RenewalPorts {
  readonly tokens: TokenStore;
  readonly clock: { now(): number };
  /** Of the mount `auth/token/`. */
  readonly ttls: () => MountTtls;
  /** By its accessor; undefined when it is not mounted any more. */
  readonly loginMount: (accessor: string) => LoginMount | undefined;
}

/**
 * Make a token live longer. Tokens of logins are asked about at their mount first. `secret` goes into the answer.
 * @throws {RksError} INPUT_INVALID when the token is not renewable, and what the mount refuses with.
 */
export async function renewToken(
  ports: RenewalPorts,
  token: LiveToken,
  secret: string,
  incrementSeconds: number,
): Promise<Answer> {
  const { tokens, clock } = ports;
  if (token.entry.type === "batch") throw notRenewable("batch tokens cannot be renewed");
  if (!isRenewable(token.entry)) throw notRenewable("the token is not renewable");
  const ttls = await mountOf(ports, token.entry);
  const nowMs = clock.now();
  const renewed = await tokens.setExpiry(token.hash, (current) =>
    renewedExpiry(current, incrementSeconds, ttls, nowMs),
  );
  if (renewed === undefined) throw notRenewable("token not found");
  const auth = toAuth(secret, renewed.entry, nowMs);
  const isCut = incrementSeconds > auth.lease_duration;
  const warning = `the lifetime of ${incrementSeconds} s that was asked for was cut to ${auth.lease_duration} s`;
  return { auth, warnings: isCut ? [warning] : [] };
}

async function mountOf(ports: RenewalPorts, { login }: TokenEntry): Promise<MountTtls> {
  if (login === undefined) return ports.ttls();
  const mount = ports.loginMount(login.mountAccessor);
  if (mount === undefined) throw notRenewable("the login method that made the token is not mounted any more");
  await mount.renewLogin(login.renewal ?? {});
  return mount.ttls;
}

function notRenewable(message: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion: "Make a new token." });
}

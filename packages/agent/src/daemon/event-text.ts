import type { AgentEvent } from "../agent-events.js";

/** An event as a line for people. */
export function eventText(event: AgentEvent): string {
  return `${event.time} ${(TEXTS[event.event] as (event: AgentEvent) => string)(event)}`;
}

type Texts = { readonly [E in AgentEvent["event"]]: (event: Extract<AgentEvent, { event: E }>) => string };

const TEXTS: Texts = {
  joined: ({ node, serial, notAfter }) => `joined as ${node}, certificate ${serial} valid until ${notAfter}`,
  resumed: ({ node, serial, notAfter }) =>
    `resumed as ${node}, certificate ${serial} valid until ${notAfter}; no token was needed`,
  recovered: ({ node, serial, notAfter }) =>
    `recovered as ${node} under a new key, certificate ${serial} valid until ${notAfter}; no token was needed`,
  recovery: ({ node, by }) => WAYS_BACK[by](node),
  connected: ({ rksAddress }) => `connected to ${rksAddress} by mutual TLS`,
  registered: ({ node }) => `registered as ${node}: the node is in service`,
  renewed: ({ serial, notAfter, generation }) =>
    `renewed: certificate ${serial}${generation === undefined ? "" : `, generation ${generation},`} valid until ${notAfter}`,
  trust: ({ generation }) => `trusts the cluster's roots of generation ${generation}`,
  clock: ({ pausedSeconds, shiftedSeconds }) =>
    shiftedSeconds === 0
      ? `the process stood still for ${pausedSeconds} s; what came due meanwhile is done now`
      : `time did not pass as it should: the process stood still for ${pausedSeconds} s, the clock moved by ${shiftedSeconds} s; renewing`,
  disconnected: ({ message, code }) => `disconnected: ${message} (${code})`,
  reconnecting: ({ delaySeconds, attempt, message, code }) =>
    `trying again in ${delaySeconds.toFixed(1)} s (attempt ${attempt}): ${message} (${code})`,
  pod: ({ namespace, name, phase, reason }) =>
    `pod ${namespace}/${name} is ${phase}${reason === undefined ? "" : ` (${reason})`}`,
  stopped: () => "stopped; pods go on running",
  error: ({ message, code }) => `${message} (${code})`,
};

/** What a node is told of its next reboot. */
const WAYS_BACK: Readonly<
  Record<Extract<AgentEvent, { event: "recovery" }>["by"], (node: string) => string>
> = {
  tpm: () => "after a reboot the node comes back by its TPM",
  "ssh-host-key": () => "after a reboot the node comes back by its SSH host key",
  grant: () => "after a reboot the node comes back by a grant of the control plane",
  no: (node) => `a reboot loses the node's key: rks node rejoin ${node} brings it back then`,
};

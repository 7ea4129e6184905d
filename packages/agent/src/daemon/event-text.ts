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
  connected: ({ rksAddress }) => `connected to ${rksAddress} by mutual TLS`,
  registered: ({ node }) => `registered as ${node}: the node is in service`,
  renewed: ({ serial, notAfter }) => `renewed: certificate ${serial} valid until ${notAfter}`,
  disconnected: ({ message, code }) => `disconnected: ${message} (${code})`,
  reconnecting: ({ delaySeconds, attempt, message, code }) =>
    `trying again in ${delaySeconds.toFixed(1)} s (attempt ${attempt}): ${message} (${code})`,
  pod: ({ namespace, name, phase, reason }) =>
    `pod ${namespace}/${name} is ${phase}${reason === undefined ? "" : ` (${reason})`}`,
  stopped: () => "stopped; pods go on running",
  error: ({ message, code }) => `${message} (${code})`,
};

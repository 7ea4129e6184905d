export { createAgent } from "./agent.js";
export type { Agent, CreateAgentOptions } from "./agent.js";
export type { AgentEvent, AgentEventBody } from "./agent-events.js";
export { requestCertificate } from "./bootstrap/request-certificate.js";
export type { RequestCertificateOptions } from "./bootstrap/request-certificate.js";
export type { EnrolmentOptions } from "./bootstrap/enrolment.js";
export { createCertificateRequest } from "./identity/csr.js";
export type { CertificateRequestInit } from "./identity/csr.js";
export { Identity } from "./identity/identity.js";
export type { CertificateExchange, IdentityInit } from "./identity/identity.js";
export { wipeStashed } from "./identity/identity-stash.js";
export type { IdentityStash, StashedIdentity, StashedKey } from "./identity/identity-stash.js";
export { importKeyPair, KeyPair } from "./identity/key-pair.js";
export type { KeyAlgorithm, KeyExporter } from "./identity/key-pair.js";
export type { TrustOptions } from "./identity/trust.js";
export type { AgentPorts, PortOptions } from "./ports.js";
export { connectOperator } from "./session/connect-operator.js";
export type { ConnectOperatorOptions } from "./session/connect-operator.js";
export { renewCertificate } from "./renewal/renew-certificate.js";
export type { RenewCertificateOptions } from "./renewal/renew-certificate.js";
export { connect } from "./session/connect.js";
export type { ConnectOptions } from "./session/connect.js";
export { RksConnection } from "./session/connection.js";
export type { BytesReply, Handler, HandlerContext, Handlers, Reply } from "./session/handlers.js";
export { createHostFacts } from "./session/host-facts.js";
export type { HostFactsInit } from "./session/host-facts.js";
export type { NodeFacts, NodeFactsContext } from "./session/node-facts.js";
export type { PodHost, PodKey, PodLogOptions, PodReport } from "./pods/pod-host.js";
export type {
  ContainerConfig,
  ContainerRecord,
  LogOptions,
  PodRuntime,
  RuntimeInfo,
  Sandbox,
  SandboxConfig,
} from "./runtime/pod-runtime.js";
export { openProcessRuntime } from "./runtime/process/process-runtime.js";
export type { ProcessRuntimeOptions } from "./runtime/process/process-runtime.js";
export { systemClock } from "@rk8s/host";
export type { Survival } from "./supervisor/link.js";
export { AGENT_VERSION } from "./version.js";
export { parseJoinToken, RksError, silentLogger } from "@rk8s/protocol";
export type { Clock, JoinToken, Logger, Transport } from "@rk8s/protocol";

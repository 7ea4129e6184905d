import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { clusterRoutes } from "../cluster-routes.js";
import { HTTP_LIMITS, type HttpLimits } from "../http-limits.js";
import { openHttpListener, serverOptions } from "../http-listener.js";
import { type HttpsServer, serveHttps, type ServerIdentity } from "../https-server.js";
import type { OperatorApi } from "../operator-api.js";
import type { HttpCaller } from "../route.js";
import { anApi, listenerPorts } from "./an-api.js";
import { anEchoVault, type EchoVault } from "./an-echo-vault.js";

/** The echo vault behind a listener. */
export interface HttpVault extends AsyncDisposable, EchoVault {
  readonly api: OperatorApi;
  readonly port: number;
}

export interface HttpVaultOptions {
  readonly caller?: HttpCaller;
  readonly limits?: Partial<HttpLimits>;
  readonly drainMs?: number;
  /** Parts of the API that are otherwise. */
  readonly api?: (echo: EchoVault) => Partial<OperatorApi>;
}

/** Without TLS, as on the socket but over TCP. */
export async function anHttpVault(options: HttpVaultOptions = {}): Promise<HttpVault> {
  const { echo, api } = await apiOf(options);
  const limits = { ...HTTP_LIMITS, ...options.limits };
  const server = createServer(serverOptions(limits));
  const listener = await openHttpListener(
    server,
    {
      listener: "socket",
      caller: options.caller ?? "nobody",
      routes: clusterRoutes(api),
      api,
      maxConnections: limits.maxHttpsConnections,
      maxPerAddress: limits.maxConnectionsPerAddress,
      drainMs: options.drainMs ?? 100,
    },
    listenerPorts(),
    () => new Promise((resolve) => server.listen(0, "127.0.0.1", resolve)),
  );
  const { port } = server.address() as AddressInfo;
  return { ...echo, api, port, [Symbol.asyncDispose]: () => close(listener, echo) };
}

/** Over HTTPS, as on `http_addr`. */
export async function anHttpsVault(
  identity: ServerIdentity,
  options: HttpVaultOptions = {},
): Promise<HttpVault & { readonly server: HttpsServer }> {
  const { echo, api } = await apiOf(options);
  const server = await serveHttps(
    {
      host: "127.0.0.1",
      port: 0,
      identity,
      routes: clusterRoutes(api),
      api,
      drainMs: options.drainMs ?? 100,
      limits: { ...HTTP_LIMITS, ...options.limits },
    },
    listenerPorts(),
  );
  return { ...echo, api, server, port: server.port, [Symbol.asyncDispose]: () => close(server, echo) };
}

async function apiOf(
  options: HttpVaultOptions,
): Promise<{ readonly echo: EchoVault; readonly api: OperatorApi }> {
  const echo = await anEchoVault();
  const { vault } = echo;
  const api = anApi({
    answer: (request) => vault.answer(request),
    sealStatus: () => vault.status(),
    ...options.api?.(echo),
  });
  return { echo, api };
}

async function close(listener: AsyncDisposable, echo: EchoVault): Promise<void> {
  await listener[Symbol.asyncDispose]();
  await echo[Symbol.asyncDispose]();
}

import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";

const CONFIG = { tls_config: { vault_folder: "./data", keep_dangerous_files: true } };

async function dial(cluster: Cluster, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { port } = new URL(cluster.httpAddress);
  const socket = connect({ host: "127.0.0.1", port: Number(port), rejectUnauthorized: false, ...options });
  await once(socket, "secureConnect");
  return socket;
}

/** Ask for something and read the answer, so that every ticket there is has arrived. */
async function ask(socket: TLSSocket): Promise<string> {
  socket.write("GET /v1/sys/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  let said = "";
  socket.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(socket, "close");
  return said;
}

test("HTTPS speaks TLS 1.2 and 1.3, shows the cluster's chain, and resumes nothing", async () => {
  await using cluster = await Cluster.start(CONFIG);
  const ca = await readFile(cluster.rootCertPath, "utf8");
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const options = { minVersion: version, maxVersion: version };
    // The chain is verified, and the name: both as any client does it.
    const first = await dial(cluster, { ...options, ca, rejectUnauthorized: true });
    expect(first.getProtocol()).toBe(version);
    const leaf = first.getPeerX509Certificate();
    expect(leaf?.subjectAltName).toContain("IP Address:127.0.0.1");
    expect(leaf?.issuerCertificate?.fingerprint256).toBe(new X509Certificate(ca).fingerprint256);
    const sessions: Buffer[] = [];
    first.on("session", (session: Buffer) => sessions.push(session));
    const own = first.getSession();
    expect(await ask(first)).toMatch(/^HTTP\/1\.1 200 /);
    for (const session of [...sessions, ...(own === undefined ? [] : [own])]) {
      const again = await dial(cluster, { ...options, session });
      expect(again.isSessionReused()).toBe(false);
      again.destroy();
    }
  }
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
  await expect(dial(cluster, old)).rejects.toBeInstanceOf(Error);
});

/** A server's certificate with its chain and key, from a PKI mount of the vault itself. */
async function aServerIdentity(
  api: VaultApi,
  name: string,
): Promise<{ readonly cert: string; readonly key: string }> {
  const made = await api.write("pki/issue/server", { common_name: name, ip_sans: "127.0.0.1" });
  return {
    cert: `${String(made["certificate"])}\n${String(made["issuing_ca"])}\n`,
    key: `${String(made["private_key"])}\n`,
  };
}

test("certificate files of one's own are used, and when they are replaced so are they, without a restart", async () => {
  await using cluster = await Cluster.start(CONFIG);
  const api = await vaultApi(cluster);
  await api.write("sys/mounts/pki", { type: "pki" });
  await api.write("pki/root/generate/internal", { common_name: "web root", key_type: "ec" });
  await api.write("pki/roles/server", { allow_any_name: true, key_type: "ec", ttl: "1h" });
  const [first, second] = [
    await aServerIdentity(api, "first.example.com"),
    await aServerIdentity(api, "second.example.com"),
  ];
  const ca = String((await api.read("pki/cert/ca"))["certificate"]);
  const folder = join(cluster.folder, "tls");
  await mkdir(folder);
  const files = { cert_file: join(folder, "server.pem"), key_file: join(folder, "server.key") };
  const put = async ({ cert, key }: { readonly cert: string; readonly key: string }): Promise<void> => {
    for (const [file, content] of [
      [files.cert_file, cert],
      [files.key_file, key],
    ] as const) {
      await writeFile(`${file}.new`, content, { mode: 0o600 });
      await rename(`${file}.new`, file);
    }
  };
  await put(first);
  await cluster.controlPlane.stop();
  const config = await readFile(cluster.configFile, "utf8");
  await writeFile(cluster.configFile, `${config}\nhttp_tls: ${JSON.stringify(files)}\n`);
  await cluster.startControlPlane();
  const { pid } = cluster.controlPlane;

  const servername = async (): Promise<string> => {
    const socket = await dial(cluster, { ca, rejectUnauthorized: true });
    const subject = socket.getPeerX509Certificate()?.subject ?? "";
    socket.destroy();
    return subject;
  };
  expect(await servername()).toBe("CN=first.example.com");
  const before = await dial(cluster, { ca, rejectUnauthorized: true });

  // Half of a pair, for as long as it takes to copy the other half.
  await writeFile(files.key_file, second.key);
  expect(await servername()).toBe("CN=first.example.com");
  await put(second);
  expect(await eventually(servername, (subject) => subject !== "CN=first.example.com")).toBe(
    "CN=second.example.com",
  );

  expect(await ask(before)).toMatch(/^HTTP\/1\.1 200 /);
  expect(cluster.controlPlane.pid).toBe(pid);
});

import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Files in PEM. */
export interface CertificateFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly privateKey: string;
}

/** The same, read. */
export interface PemCredentials {
  readonly ca: Uint8Array;
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** A certificate authority in a folder, made and run by the openssl command. Its keys are worth nothing. */
export class TestAuthority {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async create(folder: string): Promise<TestAuthority> {
    await mkdir(folder, { recursive: true });
    const authority = new TestAuthority(folder);
    await authority.#request("ca", "test CA", [
      "basicConstraints=critical,CA:TRUE",
      "keyUsage=critical,keyCertSign",
    ]);
    return authority;
  }

  /** A certificate for localhost and the loopback addresses, for both sides of TLS: members are each other's clients. */
  async server(name: string, hosts = "DNS:localhost,IP:127.0.0.1,IP:::1"): Promise<CertificateFiles> {
    return this.#issue(name, name, ["extendedKeyUsage=serverAuth,clientAuth", `subjectAltName=${hosts}`]);
  }

  async client(commonName: string): Promise<CertificateFiles> {
    return this.#issue(`client-${commonName}`, commonName, ["extendedKeyUsage=clientAuth"]);
  }

  /** A client's credentials as bytes. */
  async credentials(commonName: string): Promise<PemCredentials> {
    const files = await this.client(commonName);
    const [ca, certificate, privateKey] = await Promise.all([
      readFile(files.ca),
      readFile(files.certificate),
      readFile(files.privateKey),
    ]);
    return { ca, certificate, privateKey };
  }

  async #issue(file: string, commonName: string, extensions: readonly string[]): Promise<CertificateFiles> {
    await this.#request(
      file,
      commonName,
      ["basicConstraints=critical,CA:FALSE", ...extensions],
      ["-CA", this.#path("ca.pem"), "-CAkey", this.#path("ca.key")],
    );
    return {
      ca: this.#path("ca.pem"),
      certificate: this.#path(`${file}.pem`),
      privateKey: this.#path(`${file}.key`),
    };
  }

  async #request(
    file: string,
    commonName: string,
    extensions: readonly string[],
    signer: readonly string[] = [],
  ): Promise<void> {
    await run("openssl", [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "2",
      "-subj",
      `/CN=${commonName}`,
      "-keyout",
      this.#path(`${file}.key`),
      "-out",
      this.#path(`${file}.pem`),
      ...signer,
      ...extensions.flatMap((extension) => ["-addext", extension]),
    ]);
  }

  #path(file: string): string {
    return join(this.#folder, file);
  }
}

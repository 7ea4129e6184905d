import type { ServerProcess } from "./server-process.js";
import type { SqlServer } from "./sql-server.js";

export interface ServerLifeInit {
  readonly port: number;
  readonly process: ServerProcess;
  begin(): Promise<ServerProcess>;
  urlOf(database: string): string;
  createDatabase(name: string): Promise<void>;
  remove(): Promise<void>;
}

/** What both kinds of server do alike: databases with names of their own, dying and coming back. */
export class ServerLife implements SqlServer {
  readonly #init: ServerLifeInit;
  #process: ServerProcess | undefined;
  #databases = 0;

  constructor(init: ServerLifeInit) {
    this.#init = init;
    this.#process = init.process;
  }

  get port(): number {
    return this.#init.port;
  }

  async newDatabase(): Promise<string> {
    this.#databases += 1;
    const name = `rks_${this.#databases}`;
    await this.#init.createDatabase(name);
    return this.#init.urlOf(name);
  }

  urlBehind(url: string, port: number): string {
    return url.replace(`:${this.port}/`, `:${port}/`);
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
    this.#process = undefined;
  }

  async restart(): Promise<void> {
    this.#process ??= await this.#init.begin();
  }

  async pause(): Promise<void> {
    await this.#process?.pause();
  }

  async resume(): Promise<void> {
    await this.#process?.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#init.remove();
  }
}

import { printable, systemClock } from "@rk8s/host";
import { type CliIo, ReportedFailure } from "@rk8s/host/cli-io";
import { ERROR_CODES, isErrorCode, RksError } from "@rk8s/protocol";
import type { StoreConfig } from "../config/config.js";
import { DEFAULT_STORE_PREFIX } from "../config/store-endpoint.js";
import type { StoreBody } from "../http/storage-routes.js";
import {
  type PrintedMigration,
  type PrintedStoreStatus,
  storeReportAnswer,
  storeStatusAnswer,
} from "./answers.js";
import { ask } from "./ask.js";
import type { TargetArguments } from "./flags.js";
import { formatFields, printHint, printJson } from "./output.js";
import { findTarget, readConfigArgument } from "./target.js";

const LOOK_MS = 500;
/** Of a URL: `://USER:PASSWORD@`. */
const HAS_PASSWORD = /:\/\/[^/?#@]*:[^@]+@/;
/** Opening the other store, before the first answer. */
const START_TIMEOUT_MS = 60_000;
/** A million entries take half a minute. */
const VERIFY_TIMEOUT_MS = 3_600_000;
const STATUS_PATH = "/v1/rk8s/storage";

/** `rks storage status`. @throws {RksError} UNREACHABLE. */
export async function storageStatus(args: TargetArguments, io: CliIo): Promise<void> {
  const { data } = await ask(await findTarget(args, io), storeStatusAnswer, "GET", STATUS_PATH);
  if (args.json) printJson(io, data);
  else io.stdout(printable(formatFields(storeFields(data))));
}

/** Lines about the store, for people. */
export function storeFields({
  store,
  members,
  epoch,
  restoredFrom,
  gaveUp,
  movedTo,
  migration,
}: PrintedStoreStatus): [string, string][] {
  const fields: [string, string][] = [["storage", store]];
  if (members.length > 0) fields.push(["members", members.join(", ")]);
  if (gaveUp !== null) fields.push(["restored", `as of ${restoredFrom}, when ${gaveUp} was given up`]);
  else if (restoredFrom !== null) fields.push(["restored", `from the backup of ${restoredFrom}`]);
  if (movedTo !== null)
    fields.push(["moved to", `${movedTo}, by another rks: name that in the config, then start rks`]);
  if (epoch > 0) fields.push(["epoch", String(epoch)]);
  if (migration !== null) fields.push(["migration", describe(migration)]);
  return fields;
}

export interface MigrateArguments extends TargetArguments {
  readonly to: string;
}

/**
 * `rks storage migrate --to …`: begin, tell how it goes, wait for its end.
 * @throws {RksError} INPUT_INVALID, BUSY, ALREADY_EXISTS, STORAGE_FOREIGN, UNREACHABLE, VAULT_SEALED.
 */
export async function storageMigrate(args: MigrateArguments, io: CliIo): Promise<void> {
  const to = await storeNamed(args.to, io);
  const target = await findTarget(args, io, { timeoutMs: START_TIMEOUT_MS });
  let { data } = await ask(target, storeStatusAnswer, "POST", `${STATUS_PATH}/migrate`, to);
  for (let said = ""; ;) {
    const { migration } = data;
    if (migration === null || migration.phase === "done" || migration.phase === "failed") break;
    const line = describe(migration);
    if (line !== said) io.stderr(printable(`${line}\n`));
    said = line;
    await systemClock.sleep(LOOK_MS);
    ({ data } = await ask(target, storeStatusAnswer, "GET", STATUS_PATH));
  }
  if (args.json) printJson(io, data);
  else io.stdout(printable(formatFields(storeFields(data))));
  const error = data.migration?.error ?? null;
  if (error !== null) {
    io.stderr(printable(`rks: ${error.message}\n`));
    throw new ReportedFailure(ERROR_CODES[isErrorCode(error.code) ? error.code : "INTERNAL"].exit);
  }
  printHint(io, nextStep(to));
}

/** `rks storage verify`. @throws {RksError} STORAGE_CORRUPT when something is damaged, UNREACHABLE, VAULT_SEALED. */
export async function storageVerify(args: TargetArguments, io: CliIo): Promise<void> {
  const target = await findTarget(args, io, { timeoutMs: VERIFY_TIMEOUT_MS });
  const { data } = await ask(target, storeReportAnswer, "POST", `${STATUS_PATH}/verify`, {});
  if (args.json) printJson(io, data);
  else {
    io.stdout(`entries   ${data.entries}\nbytes     ${data.bytes}\ndamaged   ${data.damaged}\n`);
    for (const key of data.damagedKeys) io.stdout(printable(`  ${key}\n`));
  }
  if (data.damaged === 0) return;
  io.stderr(`rks: ${data.damaged} of ${data.entries} entries are not what the vault wrote\n`);
  printHint(io, "restore the newest backup with `rks storage restore FILE`");
  throw new ReportedFailure(ERROR_CODES.STORAGE_CORRUPT.exit);
}

/** The store that `--to` names. */
async function storeNamed(text: string, io: CliIo): Promise<StoreBody> {
  if (text === "local") return { type: "local" };
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text) ?? [];
  if (/^(postgres(ql)?|mysql|mariadb)$/i.test(scheme ?? "")) {
    if (HAS_PASSWORD.test(text)) {
      printHint(io, "other users can see command lines: better a config file with sql_config.url_file");
    }
    return { type: "sql", url: text };
  }
  if (/^https?$/i.test(scheme ?? "")) {
    return { type: "etcd", endpoints: text.split(","), prefix: DEFAULT_STORE_PREFIX };
  }
  // Never the whole text: there may be a password in it.
  if (scheme !== undefined) {
    throw new RksError("INPUT_INVALID", `--to begins with "${scheme}://", which is no kind of store`, {
      suggestion: "Say `--to local`, a config file, or a URL with https, postgres, mysql or mariadb.",
    });
  }
  const { config } = await readConfigArgument(text, io);
  return bodyOf(config.store, text);
}

function bodyOf(store: StoreConfig, file: string): StoreBody {
  if (store.type === "etcd") return { type: "etcd", endpoints: [...store.endpoints], prefix: store.prefix };
  if (store.type === "local") {
    throw new RksError("INPUT_INVALID", `"${file}" names no other store`, {
      suggestion: "Say `--to local` for the vault folder, or set xline_config.endpoints or sql_config there.",
    });
  }
  const { url } = store;
  return "file" in url ? { type: "sql-file", file: url.file } : { type: "sql", url: url.reveal() };
}

function describe({ phase, to, entries, parts, verified, error, pausedMs }: PrintedMigration): string {
  if (phase === "done")
    return `moved to ${to}: ${entries} entries, writes were held back for ${pausedMs ?? 0} ms`;
  if (error !== null && (phase === "waiting" || phase === "failed"))
    return `${phase}, to ${to}: ${error.message}`;
  const share = parts === 0 ? 0 : Math.floor((100 * verified) / parts);
  return `${phase}, to ${to}: ${entries} entries found, ${share} % the same in both`;
}

function nextStep({ type }: StoreBody): string {
  if (type === "local") {
    return "empty xline_config.endpoints and sql_config now: with them the next start moves the store there again";
  }
  const name =
    type === "etcd"
      ? "xline_config.endpoints and prefix to it"
      : "sql_config.url_file to a file with its URL";
  return `set ${name} now: a config that names the old store is refused`;
}

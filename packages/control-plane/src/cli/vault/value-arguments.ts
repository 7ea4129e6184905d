import type { Argv } from "yargs";
import type { Choose } from "../choose.js";
import { flag, required, vaultOptions, type VaultArguments, word, words } from "./vault-options.js";

const PATH = "Where: pki/issue/web";
const FIELDS = "name=value, name=@FILE, name=- (stdin), or all of them as @FILE.json or -";
const QUERY = "name=value";

type PathWords = VaultArguments & { path: string; data: string[] };

/** Flags of `rks read`, `list` and `delete`. */
function pathOptions<T>(command: Argv<T>): Argv<T & PathWords> {
  return vaultOptions(command).positional("path", required(PATH)).positional("data", words(QUERY));
}

/** Flags of `rks write`. */
function writeOptions<T>(command: Argv<T>): Argv<T & PathWords & { force: boolean }> {
  return vaultOptions(command)
    .positional("path", required(PATH))
    .positional("data", words(FIELDS))
    .option("force", { ...flag("Write without any field"), alias: "f" });
}

/** Flags of `rks unwrap`. */
function unwrapOptions<T>(command: Argv<T>): Argv<T & VaultArguments & { token: string | undefined }> {
  return vaultOptions(command).positional("token", word("The wrapping token; - reads stdin"));
}

/** `rks read`, `write`, `list`, `delete` and `unwrap`. */
export function valueCommands(parser: Argv, choose: Choose): Argv {
  return parser
    .command("read <path> [data..]", "Read from the vault", pathOptions, (args) =>
      choose(async (io) => (await import("./value-commands.js")).read(args, io)),
    )
    .command("write <path> [data..]", "Write to the vault", writeOptions, (args) =>
      choose(async (io) => (await import("./value-commands.js")).write(args, io)),
    )
    .command("list <path> [data..]", "List what is below a path of the vault", pathOptions, (args) =>
      choose(async (io) => (await import("./value-commands.js")).list(args, io)),
    )
    .command("delete <path> [data..]", "Delete from the vault", pathOptions, (args) =>
      choose(async (io) => (await import("./value-commands.js")).remove(args, io)),
    )
    .command("unwrap [token]", "Fetch a wrapped answer, once", unwrapOptions, (args) =>
      choose(async (io) => (await import("./value-commands.js")).unwrap(args, io)),
    );
}

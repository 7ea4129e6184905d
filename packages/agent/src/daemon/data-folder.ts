import { homedir, userInfo } from "node:os";
import { join } from "node:path";

/** Where an agent keeps what it has when nobody says: `/var/lib/rkl` as root, else the XDG state folder. */
export function dataFolderOf(env: Readonly<Record<string, string | undefined>>): string {
  if (process.getuid?.() === 0) return "/var/lib/rkl";
  const state = env["XDG_STATE_HOME"];
  if (state?.startsWith("/")) return join(state, "rkl");
  return join(env["HOME"] || homeFolder(), ".local", "state", "rkl");
}

function homeFolder(): string {
  try {
    return userInfo().homedir;
  } catch {
    return homedir();
  }
}

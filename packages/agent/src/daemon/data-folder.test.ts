import { afterEach, expect, test, vi } from "vitest";
import { dataFolderOf } from "./data-folder.js";

afterEach(() => void vi.restoreAllMocks());

test.each([
  { name: "root", uid: 0, env: { XDG_STATE_HOME: "/state", HOME: "/root" }, folder: "/var/lib/rkl" },
  { name: "a user with XDG_STATE_HOME", uid: 1000, env: { XDG_STATE_HOME: "/state" }, folder: "/state/rkl" },
  { name: "a user", uid: 1000, env: { HOME: "/home/ann" }, folder: "/home/ann/.local/state/rkl" },
  {
    name: "a relative XDG_STATE_HOME, which does not count",
    uid: 1000,
    env: { XDG_STATE_HOME: "state", HOME: "/h" },
    folder: "/h/.local/state/rkl",
  },
])("$name keeps its data in $folder", ({ uid, env, folder }) => {
  vi.spyOn(process, "getuid").mockReturnValue(uid);
  expect(dataFolderOf(env)).toBe(folder);
});

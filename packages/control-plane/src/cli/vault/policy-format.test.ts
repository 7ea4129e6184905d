import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parsePolicy } from "../../vault/policy/policy-parser.js";
import { runRks } from "../testing/run-rks.js";
import { formatPolicy } from "./policy-format.js";

const ROUGH = `# who issues


path "pki/issue/*" {
capabilities=["update"]   # { not a bracket
      allowed_parameters = {
"ttl" = []
    }
}
path "a" { capabilities = ["read"] }
path "b{c" {
policy   = "read" }
`;
const LAID_OUT = `# who issues

path "pki/issue/*" {
  capabilities = ["update"]   # { not a bracket
  allowed_parameters = {
    "ttl" = []
  }
}
path "a" { capabilities = ["read"] }
path "b{c" {
  policy = "read" }
`;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-fmt-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("a policy is indented, and its words and comments stay", () => {
  expect(formatPolicy(ROUGH)).toBe(LAID_OUT);
  expect(formatPolicy(LAID_OUT)).toBe(LAID_OUT);
});

test("fmt rewrites a file in place; --check changes nothing and fails", async () => {
  const file = join(folder, "p.hcl");
  await writeFile(file, ROUGH);
  const checked = await runRks(folder, ["policy", "fmt", "--check", "p.hcl"]);
  expect([checked.exit, await readFile(file, "utf8")]).toEqual([65, ROUGH]);
  expect(await runRks(folder, ["policy", "fmt", "p.hcl"])).toMatchObject({ exit: 0, stdout: "p.hcl\n" });
  expect(await readFile(file, "utf8")).toBe(LAID_OUT);
  expect((await runRks(folder, ["policy", "fmt", "-check", "p.hcl"])).exit).toBe(0);
  expect((await runRks(folder, ["policy", "fmt", "-"], { stdin: ROUGH })).stdout).toBe(LAID_OUT);
});

test("what is no policy is refused with its line, and left as it is", async () => {
  await writeFile(join(folder, "p.hcl"), 'path "a" {\n');
  const { exit, stderr } = await runRks(folder, ["policy", "fmt", "p.hcl"]);
  expect(exit).toBe(65);
  expect(stderr).toContain("policy line");
  expect(await readFile(join(folder, "p.hcl"), "utf8")).toBe('path "a" {\n');
});

test("whatever the blanks, a policy means the same afterwards, and once is enough", () => {
  const blank = fc.constantFrom("", " ", "\n", "  \n\t");
  const rule = fc
    .tuple(blank, blank, blank, fc.constantFrom("a", "b/{c", "d#e"))
    .map(([a, b, c, path]) => `path "${path}"${a}{${b}capabilities${a}=${c}["read",${b}"list"]${c}}\n`);
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 4 }), (rules) => {
      const text = rules.join("");
      const formatted = formatPolicy(text);
      expect(parsePolicy(formatted)).toEqual(parsePolicy(text));
      expect(formatPolicy(formatted)).toBe(formatted);
    }),
  );
});
